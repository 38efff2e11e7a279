"""One call with 10,000 stored samples against one with 10: a draw, ten at once, and all of them by `.peek`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _model
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, in_turn, ratio, repeated
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memollm import Cache

SMALL, LARGE = 10, 10_000
DRAWS = 500


class Figure(NamedTuple):
    """What is done with a call of so many samples, and how many samples that draws."""

    work: Callable[[], object]
    samples: int


def figures(cache: Cache, slots: int) -> dict[str, Figure]:
    """Fill a call and return what is done with it, each in a namespace of its own."""

    def decorated(**options: object):
        options |= {"pool": slots, "count": "n", "name": f"of {slots}", "version": 1}

        @cache.cached_llm(**options)
        def ask(prompt: str, n: int = 1) -> list[str]:
            return [ANSWER] * n

        return ask

    one, ten, shared = (decorated(namespace=f"{what} of {slots}") for what in ("one", "ten", "shared"))
    shared.draw(slots, _model.PROMPT)
    return {
        "durable draw": Figure(lambda: one(_model.PROMPT), 1),
        ".draw(10, x), each sample": Figure(lambda: ten.draw(10, _model.PROMPT), 10),
        ".peek(x), each sample": Figure(lambda: shared.peek(_model.PROMPT), slots),
    }


def timer(figure: Figure) -> Timed:
    """Time about as many samples a round, whatever one call draws."""
    timed = repeated(figure.work)
    calls = max(1, DRAWS // figure.samples)
    return lambda _: timed(calls) / calls / figure.samples


def run() -> Iterator[Row]:
    with new_cache() as cache:
        both = {slots: figures(cache, slots) for slots in (SMALL, LARGE)}
        works = {(name, slots): timer(figure) for slots, found in both.items() for name, figure in found.items()}
        times = in_turn(works, rounds=25, number=1)
    for name in both[SMALL]:
        yield ratio(name, times[name, LARGE], f"{SMALL} samples", times[name, SMALL], whose=f"{LARGE:,} samples")
