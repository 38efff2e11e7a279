"""A hit through the lower door, each way, beside the hit of a decorated function."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Timed
    from memollm import Cache

SLOTS = 8
AT_MOST = 1.5
READERS = {"memo hit": {"pool": 1}, "durable draw": {"namespace": "bench", "pool": SLOTS}}


def ways(cache: Cache, options: dict[str, object]) -> dict[str, Timed]:
    """Return a hit of a decorated function, and through a door each way."""
    ask = cache.cached_llm(name="asked", version=1, **options)(lambda prompt: ANSWER)
    door = cache.door("drawn", version=1, **options)
    ask.draw(options["pool"], "x")
    door.draw("x", lambda: ANSWER, n=options["pool"])

    def hold() -> object:
        with door.hold("x") as held:
            return held.value

    return {
        "decorated": repeated(lambda: ask("x")),
        "draw": repeated(lambda: door.draw("x", lambda: ANSWER)),
        "hold": repeated(hold),
        "lookup": repeated(lambda: door.lookup("x")),
    }


def run() -> Iterator[Row | str]:
    for hit, options in READERS.items():
        with new_cache() as cache:
            times = in_turn(ways(cache, options))
        for way in ("draw", "hold", "lookup"):
            yield ratio(f"{hit}, {way} of a door", times[way], "decorated", times["decorated"], at_most=AT_MOST)
