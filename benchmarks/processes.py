"""1 to 16 processes that draw from one file, against bare `sqlite3` under the same file lock."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import durable_draw
from benchmarks._bare import Bare
from benchmarks._caches import new_cache
from benchmarks._measure import Row, Spread, absolute, ratio
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

PROCESSES = (1, 2, 4, 8, 16)
JUDGED = 8
ROUNDS = 3
SECONDS = 0.7


class Drawn(NamedTuple):
    """What one process got in one round."""

    draws: int
    worst: float


def draw_until(end: float, draw: Callable[[], object]) -> Drawn:
    draws, worst, now = 0, 0.0, time.monotonic()
    while now < end:
        begin = now
        draw()
        now = time.monotonic()
        worst = max(worst, now - begin)
        draws += 1
    return Drawn(draws, worst)


def work(path: Path, orders: Connection) -> None:
    """Draw one way or the other, from a given moment on, until told to stop."""
    with Cache(path) as cache, Bare(cache) as bare:
        draw, key = durable_draw.drawer(cache)
        bare.lock()
        bare.begin_cursor(key)
        orders.send(None)
        ways = {"memollm": draw, "bare": bare.draw_locked}
        while (order := orders.recv()) is not None:
            way, begin = order
            time.sleep(max(0.0, begin - time.monotonic()))
            orders.send(draw_until(begin + SECONDS, ways[way]))


def in_rounds(pipes: list[Connection]) -> dict[str, list[list[Drawn]]]:
    for pipe in pipes:
        pipe.recv()
    results: dict[str, list[list[Drawn]]] = {"memollm": [], "bare": []}
    for _ in range(ROUNDS):
        for way, rounds in results.items():
            begin = time.monotonic() + 0.1
            for pipe in pipes:
                pipe.send((way, begin))
            rounds.append([pipe.recv() for pipe in pipes])
    return results


def measure(path: Path, processes: int) -> dict[str, list[list[Drawn]]]:
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(processes)]
    workers = [context.Process(target=work, args=(path, theirs), daemon=True) for _, theirs in ends]
    for worker in workers:
        worker.start()
    pipes = [ours for ours, _ in ends]
    try:
        return in_rounds(pipes)
    finally:
        for pipe, worker in zip(pipes, workers, strict=True):
            pipe.send(None)
            worker.join(10)


def rows(processes: int, results: dict[str, list[list[Drawn]]]) -> Iterator[Row]:
    mine, bare = ([sum(one.draws for one in drawn) / SECONDS for drawn in results[way]] for way in results)
    worst = {way: [max(one.worst for one in drawn) for drawn in rounds] for way, rounds in results.items()}
    named = f"{processes} process{'es' if processes > 1 else ''}"
    at_least, at_most = (0.5, 100) if processes == JUDGED else (None, None)
    yield ratio(f"{named}: draws a second", mine, "bare, same lock", bare, at_least=at_least, unit="/s")
    yield absolute(f"{named}: worst wait", worst["memollm"], at_most=at_most, unit="ms")._replace(
        floor="bare, same lock", floor_measured=Spread.of(worst["bare"])
    )


def run() -> Iterator[Row]:
    found: list[Row] = []
    for processes in PROCESSES:
        with new_cache() as cache:
            durable_draw.drawer(cache)
            found += rows(processes, measure(cache.store.files.database, processes))
    yield from found
