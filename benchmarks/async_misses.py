"""A thousand misses at once, of a coroutine function that takes 100 ms: the wall against those 100 ms."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER
from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

TASKS = 1000
LATENCY = 0.1


async def at_once(calls: list[Coroutine[object, object, object]]) -> float:
    """Await all of them together and return the seconds that took."""
    begin = time.perf_counter()
    await asyncio.gather(*calls)
    return time.perf_counter() - begin


async def model(prompt: str) -> str:
    await asyncio.sleep(LATENCY)
    return ANSWER


def run() -> Iterator[Row]:
    fresh = itertools.count()
    with new_cache() as cache, asyncio.Runner() as runner:
        ask = cache.cached_llm(namespace="bench")(model)

        def all_of(function: Callable[[str], Coroutine[object, object, object]]) -> float:
            return runner.run(at_once([function(f"prompt {next(fresh)}") for _ in range(TASKS)]))

        contenders = {"memollm": lambda _: all_of(ask), "bare": lambda _: all_of(model)}
        times = in_turn(contenders, rounds=5, number=1)
    latency = [LATENCY] * len(times["memollm"])
    yield ratio("1,000 async misses at once", times["memollm"], "the model's latency", latency, at_most=3, unit="ms")
    yield ratio("  the same tasks undecorated", times["bare"], "the model's latency", latency, at_most=None, unit="ms")
