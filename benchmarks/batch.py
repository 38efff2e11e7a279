"""A batch of 1,000 stored items, for each item."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, in_turn
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import Cache

ITEMS = [f"prompt {number}" for number in range(1000)]
NAMESPACE = "bench-batch"


def hits(cache: Cache, namespace: str | None, pool: int | None) -> Timed:
    """Ask for all items again and again, rewinding in between, which is not counted."""

    @cache.cached_llm(namespace=namespace, batch="prompts", pool=pool, name=f"batch {pool}", version=1)
    def generate(prompts: list[str]) -> list[str]:
        return [ANSWER] * len(prompts)

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            begin = time.perf_counter()
            generate(ITEMS)
            seconds += time.perf_counter() - begin
            if namespace is not None:
                cache.rewind(namespace)
        return seconds / len(ITEMS)

    timed(1)
    return timed


def run() -> Iterator[Row]:
    with new_cache() as cache:
        times = in_turn({"draw": hits(cache, NAMESPACE, None), "memo": hits(cache, None, 1)}, number=3, rounds=9)
    yield absolute("batch of 1,000 stored, each item", times["draw"], at_most=25, unit="µs")
    yield absolute("batch of 1,000 in a pool of one", times["memo"], at_most=10, unit="µs")
