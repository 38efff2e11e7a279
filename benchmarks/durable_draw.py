"""A draw of one stored sample in a namespace, against the bare transaction that it cannot do without."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER, Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, in_turn, ratio, repeated

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


def run() -> Iterator[Row]:
    with new_cache() as cache:
        draw, key = drawer(cache)
        bare = Bare(cache)
        bare.begin_cursor(key)
        # Rounds so short that most have no checkpoint in them; the means have them all.
        times = in_turn({"draw": repeated(draw), "bare": repeated(bare.draw)}, rounds=300, number=100)
    mean, bare_mean = [statistics.fmean(times["draw"])], [statistics.fmean(times["bare"])]
    yield ratio("durable draw", times["draw"], "bare transaction", times["bare"], at_most=1.5)
    yield ratio("  its mean, with checkpoints", mean, "without checkpoints", bare_mean, at_most=None)
