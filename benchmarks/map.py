"""`.map` over many items of a coroutine function and a plain one: an item's overhead beside semaphore and gather."""

from __future__ import annotations

import asyncio
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

ITEMS = 1000
TASKS, THREADS = 64, 16


async def gathered(function: Callable[[str], Coroutine[object, object, object]], prompts: list[str]) -> list[object]:
    """Do what a program without `.map` does."""
    semaphore = asyncio.Semaphore(TASKS)

    async def one(prompt: str) -> object:
        async with semaphore:
            return await function(prompt)

    return await asyncio.gather(*map(one, prompts))


async def model(prompt: str) -> str:
    return ANSWER


def plain_model(prompt: str) -> str:
    return ANSWER


def run() -> Iterator[Row]:
    fresh = itertools.count()

    def new_prompts() -> list[str]:
        return [f"prompt {next(fresh)}" for _ in range(ITEMS)]

    with new_cache() as cache, asyncio.Runner() as runner, ThreadPoolExecutor(THREADS) as pool:
        ask = cache.cached_llm(pool=1)(model)
        ask_plain = cache.cached_llm(pool=1, name="plain")(plain_model)
        stored = new_prompts()
        runner.run(ask.map(stored, progress=False))
        ask_plain.map(stored, progress=False)

        def timed(work: Callable[[list[str]], object], prompts: Callable[[], list[str]]) -> Callable[[int], float]:
            def seconds(_: int) -> float:
                given = prompts()
                begin = time.perf_counter()
                work(given)
                return (time.perf_counter() - begin) / ITEMS

            return seconds

        def mapped(prompts: list[str]) -> object:
            return runner.run(ask.map(prompts, progress=False, concurrency=TASKS))

        def plain(prompts: list[str]) -> object:
            return ask_plain.map(prompts, progress=False, concurrency=THREADS)

        works = {
            "hits": timed(mapped, lambda: stored),
            "hits gathered": timed(lambda prompts: runner.run(gathered(ask, prompts)), lambda: stored),
            "misses": timed(mapped, new_prompts),
            "misses gathered": timed(lambda prompts: runner.run(gathered(ask, prompts)), new_prompts),
            "plain hits": timed(plain, lambda: stored),
            "plain hits pooled": timed(lambda prompts: list(pool.map(ask_plain, prompts)), lambda: stored),
            "plain misses": timed(plain, new_prompts),
            "plain misses pooled": timed(lambda prompts: list(pool.map(ask_plain, prompts)), new_prompts),
        }
        times = in_turn(works, rounds=7, number=1)
    floor, pooled = "semaphore and gather", "thread pool"
    yield ratio("map, an item stored", times["hits"], floor, times["hits gathered"], at_most=1.5)
    yield ratio("map, an item missing", times["misses"], floor, times["misses gathered"], at_most=1.5)
    yield ratio("map of a plain function, stored", times["plain hits"], pooled, times["plain hits pooled"], at_most=1.5)
    yield ratio(
        "map of a plain function, missing", times["plain misses"], pooled, times["plain misses pooled"], at_most=1.5
    )
