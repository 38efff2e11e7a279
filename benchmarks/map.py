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

    from benchmarks._measure import Timed
    from memollm import Cache

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


fresh = itertools.count()


def new_prompts() -> list[str]:
    return [f"prompt {next(fresh)}" for _ in range(ITEMS)]


def timed(work: Callable[[list[str]], object], prompts: Callable[[], list[str]]) -> Timed:
    def seconds(_: int) -> float:
        given = prompts()
        begin = time.perf_counter()
        work(given)
        return (time.perf_counter() - begin) / ITEMS

    return seconds


def contenders(cache: Cache, runner: asyncio.Runner, pool: ThreadPoolExecutor) -> dict[str, Timed]:
    """Return each way to do many items, over stored ones and over missing ones."""
    ask = cache.cached_llm(pool=1)(model)
    ask_plain = cache.cached_llm(pool=1, name="plain")(plain_model)
    stored = new_prompts()
    runner.run(ask.map(stored, progress=False))
    ask_plain.map(stored, progress=False)
    ways = {
        "": lambda prompts: runner.run(ask.map(prompts, progress=False, concurrency=TASKS)),
        " gathered": lambda prompts: runner.run(gathered(ask, prompts)),
    }
    plain_ways = {
        "": lambda prompts: ask_plain.map(prompts, progress=False, concurrency=THREADS),
        " pooled": lambda prompts: list(pool.map(ask_plain, prompts)),
    }
    return {
        f"{kind}{what}{how}": timed(work, prompts)
        for kind, each in (("", ways), ("plain ", plain_ways))
        for what, prompts in (("hits", lambda: stored), ("misses", new_prompts))
        for how, work in each.items()
    }


def run() -> Iterator[Row]:
    with new_cache() as cache, asyncio.Runner() as runner, ThreadPoolExecutor(THREADS) as pool:
        times = in_turn(contenders(cache, runner, pool), rounds=7, number=1)
    floor, pooled = "semaphore and gather", "thread pool"
    yield ratio("map, an item stored", times["hits"], floor, times["hits gathered"], at_most=1.5)
    yield ratio("map, an item missing", times["misses"], floor, times["misses gathered"], at_most=1.5)
    yield ratio("map of a plain function, stored", times["plain hits"], pooled, times["plain hits pooled"], at_most=1.5)
    yield ratio(
        "map of a plain function, missing", times["plain misses"], pooled, times["plain misses pooled"], at_most=1.5
    )
