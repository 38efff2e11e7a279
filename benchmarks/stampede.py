"""A thousand tasks that want one slot while the model takes 100 ms: calls, wall, processor time, pauses of the loop."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, absolute, quiet, ratio
from benchmarks._model import ANSWER
from benchmarks.async_misses import LATENCY, watched

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 9
TASKS = 1000


def run() -> Iterator[Row]:
    calls: list[float] = []
    walls: list[float] = []
    pauses: list[float] = []
    processor: list[float] = []
    paid = itertools.count()

    async def model(prompt: str) -> str:
        next(paid)
        await asyncio.sleep(LATENCY)
        return ANSWER

    with new_cache() as cache, asyncio.Runner() as runner:
        ask = cache.cached_llm(pool=1)(model)
        for turn in range(ROUNDS + 1):
            tasks = [ask(f"prompt {turn}") for _ in range(TASKS)]
            before = next(paid)
            with quiet():
                begin = time.process_time()
                ran = runner.run(watched(tasks))
                used = time.process_time() - begin
            if turn:
                processor.append(used)
                walls.append(ran.wall)
                pauses.append(ran.pause)
                calls.append(next(paid) - before - 1.0)
    yield absolute("stampede of 1,000 tasks: calls", calls, at_most=1, unit="calls")
    yield ratio("stampede: wall", walls, "the model's latency", [LATENCY] * ROUNDS, at_most=1.5, unit="ms")
    yield absolute("stampede: processor time", processor, at_most=0.3, unit="s")
    yield absolute("stampede: worst pause of the event loop", pauses, unit="ms")
