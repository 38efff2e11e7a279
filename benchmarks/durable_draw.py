"""A draw of one stored sample in a namespace, against the bare transaction that it cannot do without."""

from __future__ import annotations

import asyncio
import statistics
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _peers, async_hit
from benchmarks._bare import Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memollm import Cache

SLOTS = 8


def drawer(cache: Cache) -> tuple[Callable[[], object], str]:
    """Return a draw of a call whose pool is full, and its key."""

    @cache.cached_llm(namespace="bench", pool=SLOTS, name="drawn", version=1)
    def ask(prompt: str) -> str:
        return ANSWER

    ask.draw(SLOTS, "x")
    return lambda: ask("x"), ask.key("x")


def run() -> Iterator[Row | str]:
    yield from _peers.missing("durable draw", [_peers.CACHESAVER])
    with new_cache() as cache, asyncio.Runner() as runner, ExitStack() as stack:
        draw, key = drawer(cache)
        bare = stack.enter_context(Bare(cache))
        bare.begin_cursor(key)
        # Rounds so short that most have no checkpoint in them; the means have them all.
        times = in_turn({"draw": repeated(draw), "bare": repeated(bare.draw)}, rounds=1500, number=20)
        if _peers.CACHESAVER.installed:
            contenders = {
                "draw": repeated(draw),
                "peer": async_hit.contender(_peers.CACHESAVER, stack, runner),
            }
            beside = in_turn(contenders, rounds=45)
    mean, bare_mean = [statistics.fmean(times["draw"])], [statistics.fmean(times["bare"])]
    yield ratio("durable draw", times["draw"], "bare transaction", times["bare"], at_most=1.5)
    yield ratio("the mean of all draws, with checkpoints", mean, "bare, without checkpoints", bare_mean)
    if _peers.CACHESAVER.installed:
        yield ratio("draw in a namespace", beside["draw"], "CacheSaver, in memory only", beside["peer"])
