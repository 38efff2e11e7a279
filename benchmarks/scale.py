"""The figures with 1,000,000 stored samples against those with 1,000, and what opening takes (`--deep` only)."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import draw_many, durable_draw, first_touch, miss
from benchmarks._bare import ANSWER, Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Timed, absolute, in_turn, ratio, repeated
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

DEEP = True
SMALL, LARGE = 1_000, 1_000_000
SLOTS = 10
FIGURES = ("durable draw", "first touch", "draw many", "miss")


def fill(cache: Cache, samples: int) -> None:
    """Store samples of calls that nobody asks for, straight into the tables."""
    bare = Bare(cache)
    bare.execute("BEGIN IMMEDIATE")
    many = bare.connection.executemany
    calls = range(1_000_000, 1_000_000 + samples // SLOTS)
    form = '{"arguments": {"prompt": "%d, and some words more"}, "name": "filler", "version": "1"}'
    many(
        "INSERT INTO call VALUES (?, randomblob(16), 'filler', ?, 0.0)",
        ((call, form % call) for call in calls),
    )
    record = f'"{ANSWER}"'.encode()
    many(
        "INSERT INTO sample VALUES (?, ?, 0.0, ?)",
        ((call, slot, record) for call in calls for slot in range(SLOTS)),
    )
    many("INSERT INTO cursor VALUES (1, ?, ?)", ((call, SLOTS) for call in calls))
    bare.execute("COMMIT")
    bare.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    bare.connection.close()


def opener(cache: Cache) -> Timed:
    """Open the file anew."""

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            anew = Cache(cache.store.files.database)
            begin = time.perf_counter()
            anew.store.epoch()
            seconds += time.perf_counter() - begin
            anew.close()
        return seconds

    return timed


def contenders(cache: Cache) -> dict[str, Timed]:
    draw, _ = durable_draw.drawer(cache)
    first_touch.fill(cache)
    timed = (
        each(repeated(draw), 1000),
        each(first_touch.toucher(cache), first_touch.CALLS - 1),
        draw_many.many(cache),
        each(repeated(miss.misser(cache, namespace="bench")), 25),
    )
    return dict(zip(FIGURES, timed, strict=True))


def each(timed: Timed, number: int) -> Timed:
    """Make so many calls one turn, and give the time of each."""
    return lambda _: timed(number) / number


def run() -> Iterator[Row]:
    with ExitStack() as stack:
        small, large = (stack.enter_context(new_cache()) for _ in range(2))
        pairs = {}
        for size, cache in {SMALL: small, LARGE: large}.items():
            cache.store.epoch()
            fill(cache, size)
            pairs.update({(figure, size): timed for figure, timed in contenders(cache).items()})
            pairs["opening", size] = opener(cache)
        times = in_turn(pairs, rounds=9, number=1)
    for figure in FIGURES:
        mine, floor = times[figure, LARGE], times[figure, SMALL]
        yield ratio(f"{figure}, 1,000,000 samples", mine, "1,000 samples", floor, at_most=1.5)
    yield absolute("opening, 1,000,000 samples", times["opening", LARGE], at_most=20, unit="ms")
