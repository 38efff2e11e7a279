"""`.draw(1000, x)` of stored samples, for each sample."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, in_turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import Cache

SAMPLES = 1000
NAMESPACE = "bench-many"


def many(cache: Cache, pool: int | None = None) -> Timed:
    """Draw a thousand again and again, rewinding in between, which is not counted."""

    @cache.cached_llm(namespace=NAMESPACE, count="n", pool=pool, name="many", version=1)
    def ask(prompt: str, n: int = 1) -> list[str]:
        return [ANSWER] * n

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            begin = time.perf_counter()
            ask.draw(SAMPLES, "x")
            seconds += time.perf_counter() - begin
            cache.rewind(NAMESPACE)
        return seconds / SAMPLES

    timed(1)
    return timed


def run() -> Iterator[Row]:
    with new_cache() as cache:
        times = in_turn({"draw": many(cache), "pool": many(cache, SAMPLES)}, number=5, rounds=9)
    yield absolute(".draw(1000, x), each sample", times["draw"], at_most=3, unit="µs")
    yield absolute(".draw(1000, x), pool=1000", times["pool"], at_most=3, unit="µs")
