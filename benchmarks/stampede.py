"""A thousand tasks that want one slot while the model takes 100 ms: calls, wall and processor time."""

from __future__ import annotations

import asyncio
import itertools
import time
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER
from benchmarks._caches import new_cache
from benchmarks._measure import Row, absolute, quiet, ratio
from benchmarks.async_misses import LATENCY, TASKS, at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

ROUNDS = 9


def run() -> Iterator[Row]:
    calls: list[float] = []
    walls: list[float] = []
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
            before, used = next(paid), time.process_time()
            with quiet():
                wall = runner.run(at_once(tasks))
            if turn:
                processor.append(time.process_time() - used)
                walls.append(wall)
                calls.append(next(paid) - before - 1.0)
    yield absolute("stampede of 1,000 tasks: calls", calls, at_most=1, unit="calls")
    yield ratio("stampede: wall", walls, "the model's latency", [LATENCY] * ROUNDS, at_most=1.5, unit="ms")
    yield absolute("stampede: processor time", processor, at_most=0.3, unit="s")
