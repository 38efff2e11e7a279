"""Each figure with 100,000 stored samples against 1,000: hits, draws, misses, opening, memory and size of the file."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers, draw_many, durable_draw, first_touch, new_process
from benchmarks._bare import Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, each, in_turn, ratio, repeated, repeated_async
from benchmarks._model import ANSWER
from benchmarks.miss import misser
from memollm import Cache
from memollm._types.calls import Call
from memollm._values.frame import HEAD

if TYPE_CHECKING:
    from collections.abc import Iterator

SMALL, LARGE = 1_000, 100_000
SLOTS = 10
ROUNDS = 9
NOBODYS = Call(bytes(16), "{}", "nobody")
"""A call that is not stored."""


def fill(cache: Cache, samples: int) -> None:
    """Store samples of calls that nobody asks for, straight into the tables."""
    with Bare(cache) as bare:
        insert(bare, samples)


def insert(bare: Bare, samples: int) -> None:
    bare.execute("BEGIN IMMEDIATE")
    many = bare.connection.executemany
    calls = range(1_000_000, 1_000_000 + samples // SLOTS)
    form = '{"arguments": {"prompt": "%d, and some words more"}, "name": "filler", "version": "1"}'
    many(
        "INSERT INTO call (id, key, function, form, made) VALUES (?, randomblob(16), 'filler', ?, 0.0)",
        ((call, form % call) for call in calls),
    )
    record = bytes(HEAD) + f'"{ANSWER}"'.encode()
    many(
        "INSERT INTO sample (call, slot, stored, record) VALUES (?, ?, 0.0, ?)",
        ((call, slot, record) for call in calls for slot in range(SLOTS)),
    )
    many("INSERT INTO cursor (reader, call, next) VALUES (1, ?, ?)", ((call, SLOTS) for call in calls))
    bare.execute("COMMIT")
    bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()


def opener(cache: Cache) -> Timed:
    """Open the file anew."""

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            anew = Cache(cache.store.files.database)
            begin = time.perf_counter()
            anew.store.peek(NOBODYS)
            seconds += time.perf_counter() - begin
            anew.close()
        return seconds

    return timed


def contenders(cache: Cache, runner: asyncio.Runner) -> dict[str, Timed]:
    """Return all figures of a cache, each for one call or sample."""
    draw, _ = durable_draw.drawer(cache)
    memo, fresh = cache.cached_llm(pool=1), misser(cache, namespace="bench")
    plain, coroutine = memo(_model.plain().function), memo(_model.coroutine().function)
    first_touch.fill(cache)
    return {
        "memo hit": each(repeated(lambda: plain("x")), 3000),
        "async hit": each(repeated_async(runner, lambda: coroutine("x")), 3000),
        "first touch": each(first_touch.toucher(cache), first_touch.CALLS - 1),
        "durable draw": each(repeated(draw), 1000),
        "draw many": draw_many.many(cache),
        "miss": each(repeated(fresh), 25),
        "opening": opener(cache),
    }


def figures(sizes: tuple[int, int]) -> dict[tuple[str, int], list[float]]:
    """Measure two sizes in turn: times, then the memory of a process that hits once, then the files."""
    with ExitStack() as stack:
        runner, caches = stack.enter_context(asyncio.Runner()), {}
        for size in sizes:
            cache = caches[size] = stack.enter_context(new_cache())
            cache.store.peek(NOBODYS)  # What makes the tables.
            fill(cache, size)
        # The file as it was filled, before anything else is stored in it.
        found = {("size of the file", size): [_bytes(cache)] for size, cache in caches.items()}
        pairs = {(figure, size): timed for size in sizes for figure, timed in contenders(caches[size], runner).items()}
        found |= in_turn(pairs, rounds=ROUNDS, number=1)
        for size, cache in caches.items():
            at = cache.store.files.folder
            new_process.store(_peers.MEMOLLM, at)
            hits = [new_process.one_hit(_peers.MEMOLLM, at) for _ in range(new_process.ROUNDS)]
            found["first hit of a process", size] = [hit["seconds"] for hit in hits]
            found["memory of a process", size] = [hit["resident"] or math.nan for hit in hits]
        return found


def _bytes(cache: Cache) -> float:
    return float(cache.store.files.database.stat().st_size)


UNITS_OF = {
    "opening": "ms",
    "first hit of a process": "ms",
    "memory of a process": "MB",
    "size of the file": "MB",
}


def compared(large: int, *, at_most: float | None, opening: float | None) -> Iterator[Row]:
    """Hold the figures of a large cache against those of a small one."""
    found, whose, floor = figures((SMALL, large)), f"{large:,} samples", f"{SMALL:,} samples"
    for figure in dict.fromkeys(figure for figure, _ in found):
        mine, theirs, unit = found[figure, large], found[figure, SMALL], UNITS_OF.get(figure, "µs")
        limit = None if figure in UNITS_OF else at_most
        yield ratio(figure, mine, floor, theirs, at_most=limit, unit=unit, whose=whose)
    if opening is not None:
        yield absolute("opening", found["opening", large], at_most=opening, unit="ms", whose=whose)


def run() -> Iterator[Row]:
    yield from compared(LARGE, at_most=None, opening=None)
