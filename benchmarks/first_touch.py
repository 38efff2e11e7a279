"""The first touch of stored calls as in a new process: a new Cache and function a round, opening not counted."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

from benchmarks._bare import ANSWER, Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, in_turn, ratio
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLS = 1000


def memo(cache: Cache):
    """Decorate anew, as a new process would."""

    @cache.cached_llm(pool=1, name="touched", version=1)
    def ask(prompt: str, model: str = "m") -> str:
        return ANSWER

    return ask


def fill(cache: Cache) -> None:
    """Store the calls that are to be touched."""
    ask = memo(cache)
    for i in range(CALLS):
        ask(f"prompt {i}")


def toucher(cache: Cache) -> Timed:
    """Touch calls in a cache opened anew."""

    def touch(number: int) -> float:
        with Cache(cache.store.files.database) as anew:
            ask = memo(anew)
            ask("prompt 0")
            begin = time.perf_counter()
            for i in range(1, number + 1):
                ask(f"prompt {i}")
            return time.perf_counter() - begin

    return touch


def reader(bare: Bare) -> Timed:
    """Read the samples of calls by their primary key."""
    calls = [call for (call,) in bare.execute("SELECT id FROM call ORDER BY id LIMIT ?", (CALLS,)).fetchall()]

    def read(number: int) -> float:
        begin = time.perf_counter()
        for call in itertools.islice(calls, number):
            bare.read(call)
        return time.perf_counter() - begin

    return read


def run() -> Iterator[Row]:
    with new_cache() as cache:
        fill(cache)
        times = in_turn({"touch": toucher(cache), "read": reader(Bare(cache))}, number=CALLS - 1)
    yield ratio("first touch", times["touch"], "bare select and decode", times["read"], at_most=3)
