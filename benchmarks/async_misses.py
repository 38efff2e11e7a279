"""1,000 and 10,000 misses at once of a model that takes 100 ms: the wall, and the worst pause of the event loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._caches import new_cache
from benchmarks._measure import Row, quiet, ratio
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    Ask = Callable[[str], Coroutine[object, object, object]]

ROUNDS = 5
SIZES = {1000: 2.0, 10_000: None}
"""How many tasks, and how many times the model's latency they may take."""
LATENCY = 0.1
TICK = 0.001


class Run(NamedTuple):
    """How long the tasks took together, and the longest that the event loop was late meanwhile."""

    wall: float
    pause: float


async def at_once(calls: list[Coroutine[object, object, object]]) -> float:
    """Await all of them together and return the seconds that took."""
    begin = time.perf_counter()
    await asyncio.gather(*calls)
    return time.perf_counter() - begin


async def ticker() -> float:
    """Wake up every millisecond until cancelled, and return how late the latest was."""
    worst = 0.0
    try:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(TICK)
            worst = max(worst, time.perf_counter() - begin - TICK)
    except asyncio.CancelledError:
        return worst


async def watched(calls: list[Coroutine[object, object, object]]) -> Run:
    """Await all of them with a ticker beside them."""
    ticking = asyncio.create_task(ticker())
    await asyncio.sleep(0)
    wall = await at_once(calls)
    await asyncio.sleep(0)
    ticking.cancel()
    return Run(wall, await ticking)


async def model(prompt: str) -> str:
    await asyncio.sleep(LATENCY)
    return ANSWER


def in_rounds(runner: asyncio.Runner, ask: Ask, tasks: int) -> dict[str, list[Run]]:
    """Let both ways run in turn; the first round warms up and is left out."""
    fresh = itertools.count()
    results: dict[str, list[Run]] = {"memollm": [], "bare": []}
    for turn in range(ROUNDS + 1):
        for way, function in (("memollm", ask), ("bare", model)):
            with quiet():
                ran = runner.run(watched([function(f"{tasks} prompt {next(fresh)}") for _ in range(tasks)]))
            if turn:
                results[way].append(ran)
    return results


def rows(tasks: int, at_most: float | None, results: dict[str, list[Run]]) -> Iterator[Row]:
    walls, pauses = ({way: [ran[at] for ran in rounds] for way, rounds in results.items()} for at in (0, 1))
    figure, latency, undecorated = f"{tasks:,} async misses at once", [LATENCY] * ROUNDS, "the same, undecorated"
    yield ratio(figure, walls["memollm"], "the model's latency", latency, at_most=at_most, unit="ms")
    yield ratio(figure, walls["memollm"], undecorated, walls["bare"], unit="ms")
    figure = f"{tasks:,} at once: worst pause of the event loop"
    yield ratio(figure, pauses["memollm"], undecorated, pauses["bare"], unit="ms")


def run() -> Iterator[Row]:
    for tasks, at_most in SIZES.items():
        with new_cache() as cache, asyncio.Runner() as runner:
            results = in_rounds(runner, cache.cached_llm(namespace="bench")(model), tasks)
        yield from rows(tasks, at_most, results)
