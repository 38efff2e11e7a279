"""A chunk that passes through a live stream, and a replayed one, against the bare generator."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memollm import Cache

CHUNKS = 10_000


def chunks(prompt: str) -> Iterator[str]:
    for _ in range(CHUNKS):
        yield "chunk"


def each_chunk(stream: Callable[[str], Iterator[str]], after: Callable[[], object] = lambda: None) -> Timed:
    """Time the chunks after the first, without the end, where the stream is stored; that is `miss`."""

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            running = stream("x")
            next(running)
            begin = time.perf_counter()
            for _ in range(CHUNKS - 1):
                next(running)
            seconds += time.perf_counter() - begin
            running.close()
            after()
        return seconds / (CHUNKS - 1)

    return timed


def live(cache: Cache) -> Timed:
    return each_chunk(cache.cached_llm(namespace="bench-live", name="live", version=1)(chunks))


def replayed(cache: Cache) -> Timed:
    stream = cache.cached_llm(pool=1, name="replayed", version=1)(chunks)
    list(stream("x"))
    return each_chunk(stream)


def run() -> Iterator[Row]:
    with new_cache() as cache:
        times = in_turn(
            {"bare": each_chunk(chunks), "live": live(cache), "replayed": replayed(cache)}, number=3, rounds=9
        )
    over = [mine - bare for mine, bare in zip(times["live"], times["bare"], strict=True)]
    yield absolute("a chunk passing through, over the bare generator", over, at_most=5, unit="µs")
    yield absolute("a chunk replayed", times["replayed"], at_most=1, unit="µs")
