"""Hits of a coroutine function against hits of a plain one, memoized and drawn in a namespace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER
from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated, repeated_async

if TYPE_CHECKING:
    from collections.abc import Iterator

SLOTS = 8


def plain(prompt: str) -> str:
    return ANSWER


async def coroutine(prompt: str) -> str:
    return ANSWER


def run() -> Iterator[Row]:
    with new_cache() as cache, asyncio.Runner() as runner:
        memo, drawn = cache.cached_llm(pool=1), cache.cached_llm(pool=SLOTS, namespace="bench")
        memo_plain, memo_async, drawn_plain, drawn_async = memo(plain), memo(coroutine), drawn(plain), drawn(coroutine)
        drawn_plain.draw(SLOTS, "x")
        runner.run(drawn_async.draw(SLOTS, "x"))
        times = in_turn(
            {
                "memo": repeated(lambda: memo_plain("x")),
                "memo async": repeated_async(runner, lambda: memo_async("x")),
                "drawn": repeated(lambda: drawn_plain("x")),
                "drawn async": repeated_async(runner, lambda: drawn_async("x")),
            }
        )
    yield ratio("async memo hit", times["memo async"], "sync memo hit", times["memo"], at_most=1.5)
    yield ratio("async durable draw", times["drawn async"], "sync durable draw", times["drawn"], at_most=1.5)
