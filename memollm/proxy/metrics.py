"""What a proxy tells of itself, in the text format of Prometheus."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from memollm.errors import StoreError
from memollm.integrations._figures import FIGURES, amounts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memollm import Cache, DrawEvent

    Told = Iterable[Any] | None

TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
PROMPT: Final = 5.0
"""Seconds in which the cache is to answer; whoever scrapes waits 10 by default."""
UNITS: Final = {"cost": "cost_dollars"}
KINDS: Final = (("hit", "hits"), ("shared", "shared"), ("made", "made"))
OF_CACHE: Final = (
    ("memollm_cache_calls_total", "paid", "Calls of models that returned."),
    ("memollm_cache_failed_total", "failed", "Calls of models that raised."),
)
OF_MONEY: Final = (
    ("memollm_cache_spent_dollars_total", "spent", "cost", "Dollars that calls have cost, as far as that is known."),
    ("memollm_cache_spent_input_tokens_total", "spent", "input_tokens", "Tokens that went in."),
    ("memollm_cache_spent_output_tokens_total", "spent", "output_tokens", "Tokens that came out."),
    ("memollm_cache_unpriced_total", "spent", "unpriced", "Calls whose cost nobody knows."),
    ("memollm_cache_saved_dollars_total", "saved", "cost", "Dollars that stored samples would have cost again."),
)


class CacheCounts:
    """Asks the cache for what it counts, once at a time; a store that is away keeps nobody waiting for long."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._asked: asyncio.Future[Told] | None = None

    async def told(self) -> Told:
        """Return it, or None where the store is away."""
        if self._asked is None or self._asked.done():
            self._asked = asyncio.ensure_future(asyncio.to_thread(self._ask))
        # Whoever goes on waiting for the store is asked by the next, too.
        done, _ = await asyncio.wait((self._asked,), timeout=PROMPT)
        return self._asked.result() if done else None

    def _ask(self) -> Told:
        try:
            return self._cache.stats()
        except StoreError:
            return None


class Metrics:
    """What this worker counts."""

    def __init__(self) -> None:
        self.answers: Counter[str] = Counter()
        """Answers by where they came from: "hit", "paid", "shared", "passed", "refused" or "left"."""
        self.statuses: Counter[int] = Counter()
        self.under_way = 0
        self._amounts: dict[str, dict[str, float]] = {figure.name: {} for figure in FIGURES}
        """Of samples that were given, as `count_draws` of the integrations counts them, by labels."""

    def given(self, draws: Iterable[DrawEvent]) -> None:
        """Count samples that a client was given."""
        for event in draws:
            for figure, labels, amount in amounts_of(event):
                amounts, label = self._amounts[figure], _labelled(labels)
                amounts[label] = amounts.get(label, 0) + amount

    def text(self, counted: Told) -> str:
        """Write what this worker has counted, and what the cache has, over all processes and all time, if it tells."""
        is_up = [("", int(counted is not None))]
        told = [
            *self._of_worker(),
            *self._of_draws(),
            *_series("memollm_cache_up", "gauge", "Whether the store of the cache answers.", is_up),
            *_of_cache(counted or ()),
        ]
        return "\n".join([*told, ""])

    def _of_draws(self) -> Iterator[str]:
        worker = f'worker="{os.getpid()}"'
        for figure in FIGURES:
            name = f"memollm_{UNITS.get(figure.name, figure.name)}_total"
            amounts = [(f"{worker},{labels}", amount) for labels, amount in sorted(self._amounts[figure.name].items())]
            yield from _series(name, "counter", figure.text, amounts)

    def _of_worker(self) -> Iterator[str]:
        worker = f'worker="{os.getpid()}"'
        answers = [(f'{worker},answer="{kind}"', number) for kind, number in sorted(self.answers.items())]
        yield from _series(
            "memollm_proxy_answers_total", "counter", "Answers of this worker, by their source.", answers
        )
        statuses = [(f'{worker},status="{status}"', number) for status, number in sorted(self.statuses.items())]
        yield from _series("memollm_proxy_responses_total", "counter", "Responses of this worker.", statuses)
        yield from _series("memollm_proxy_requests", "gauge", "Requests under way.", [(worker, self.under_way)])


def _of_cache(counted: Iterable[Any]) -> Iterator[str]:
    """Write what the cache counts; where it tells nothing, no number stands for what is not known."""
    stats = [(_labelled({"function": each.name}), each) for each in counted]
    draws = [(f'{labels},kind="{kind}"', getattr(each, name)) for labels, each in stats for kind, name in KINDS]
    yield from _series("memollm_cache_draws_total", "counter", "Samples that were given.", draws)
    for name, which, what in OF_CACHE:
        yield from _series(name, "counter", what, [(labels, getattr(each, which)) for labels, each in stats])
    for name, of, which, what in OF_MONEY:
        numbers: list[tuple[str, Any]] = [(labels, getattr(getattr(each, of), which)) for labels, each in stats]
        yield from _series(name, "counter", what, numbers)


def _series(name: str, kind: str, what: str, numbers: Iterable[tuple[str, float]]) -> Iterator[str]:
    yield f"# HELP {name} {what}"
    yield f"# TYPE {name} {kind}"
    yield from (f"{name}{f'{{{labels}}}' if labels else ''} {number:.12g}" for labels, number in numbers)


def _labelled(labels: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(label)}"' for name, label in labels.items())


def _escaped(label: str) -> str:
    return label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
