"""What is measured of every server of samples: draws, bursts over a slow network, many processes, memo hits."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple, Protocol

from benchmarks import async_misses
from benchmarks._caches import new_cache
from benchmarks._delaying import delaying
from benchmarks._measure import Row, absolute, in_turn, quiet, ratio, repeated
from benchmarks._model import ANSWER
from benchmarks.durable_draw import SLOTS, drawer
from benchmarks.processes import draw_until
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from multiprocessing.connection import Connection

NAMED = "bench"
DELAY = 0.005
BURST = 200
BURSTS = 31
MANY = 2_000
MANY_TIMES = 5
PROCESSES = 8
ROUNDS = 3
SECONDS = 1.0


class Kind(NamedTuple):
    """A kind of server: its name, and the module of its benchmark, which says what the bare client does."""

    name: str
    module: str
    floor: str
    at_most: float


class Bare(Protocol):
    """The module of a benchmark."""

    def url(self, port: int) -> str:
        """Return the URL of a cache."""
        ...

    def bare(self, port: int) -> AbstractContextManager[Callable[[], object]]:
        """Give what the bare client does."""
        ...


def bare_of(kind: Kind) -> Bare:
    module: Bare = import_module(kind.module)
    return module


def rows(kind: Kind, port: int) -> Iterator[Row]:
    """Measure a server."""
    # Who shares a cache without a key is told how to make one, each time.
    os.environ.setdefault("MEMOLLM_SIGNING_KEY", "a key of benchmarks")
    yield from single(kind, port)
    yield from bursts(kind, port)
    yield from many(kind, port)
    yield from processes(kind, port)


def single(kind: Kind, port: int) -> Iterator[Row]:
    """One stored sample, and a memo hit beside that of a file."""
    with Cache(bare_of(kind).url(port)) as cache, new_cache() as own, bare_of(kind).bare(port) as bare:
        draw, _ = drawer(cache)
        times = in_turn({"draw": repeated(draw), "bare": repeated(bare)}, rounds=151, number=20)
        yield ratio(f"stored draw from {kind.name}", times["draw"], kind.floor, times["bare"], at_most=kind.at_most)
        hits = {"server": repeated(hit(cache)), "file": repeated(hit(own))}
        times = in_turn(hits)
    yield ratio(f"memo hit from {kind.name}", times["server"], "memo hit from SQLite", times["file"], at_most=1.2)


def hit(cache: Cache) -> Callable[[], object]:
    ask = cache.cached_llm(pool=1, name="hit", version=1)(lambda prompt: ANSWER)
    return lambda: ask("x")


def bursts(kind: Kind, port: int) -> Iterator[Row]:
    """200 draws asked at one time by tasks, over a network that takes 5 ms each way."""
    with delaying(port, DELAY) as slow, Cache(bare_of(kind).url(slow)) as cache, asyncio.Runner() as runner:

        @cache.cached_llm(namespace=NAMED, pool=SLOTS, name="burst", version=1)
        async def ask(prompt: str) -> str:
            return ANSWER

        for asked, prompts in (("of one call", 1), (f"of {BURST} calls", BURST)):
            runner.run(filled(ask, prompts))
            walls = [runner.run(burst(ask, prompts)) for _ in range(BURSTS + 1)][1:]
            yield absolute(f"{BURST} draws at once {asked}, 5 ms each way, {kind.name}", walls, unit="ms", at_most=30.0)


async def filled(ask, prompts: int) -> None:
    await asyncio.gather(*(ask.draw(SLOTS, f"{number}") for number in range(prompts)))


async def burst(ask, prompts: int) -> float:
    with quiet():
        return await async_misses.at_once([ask(f"{number % prompts}") for number in range(BURST)])


def many(kind: Kind, port: int) -> Iterator[Row]:
    """How long the event loop is held, by draws of what is stored and by the first of a program."""
    with asyncio.Runner() as runner:
        first, later = list[float](), list[float]()
        for _ in range(MANY_TIMES):
            with Cache(bare_of(kind).url(port)) as cache:

                @cache.cached_llm(namespace=NAMED, pool=SLOTS, name="many", version=1)
                async def ask(prompt: str) -> str:
                    return ANSWER

                for pauses in (first, later):
                    with quiet():
                        calls = [ask(f"{number % 100}") for number in range(MANY)]
                        pauses.append(runner.run(async_misses.watched(calls)).pause)
        for named, pauses in (("a program's first", first), ("", later)):
            figure = f"{MANY:,} draws at once from {kind.name}{named and ', ' + named}: worst pause of the event loop"
            yield absolute(figure, pauses, unit="ms", at_most=10.0)


def processes(kind: Kind, port: int) -> Iterator[Row]:
    """Let 8 processes draw what they can of one call, beside what they do with the bare client to one row."""
    with Cache(bare_of(kind).url(port)) as cache:
        drawer(cache)
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in range(PROCESSES)]
    workers = [context.Process(target=work, args=(kind, port, theirs), daemon=True) for _, theirs in ends]
    for worker in workers:
        worker.start()
    pipes = [ours for ours, _ in ends]
    counts: dict[str, list[float]] = {"memollm": [], "bare": []}
    try:
        for pipe in pipes:
            pipe.recv()
        for _ in range(ROUNDS):
            for way, rounds in counts.items():
                begin = time.monotonic() + 0.1
                for pipe in pipes:
                    pipe.send((way, begin))
                rounds.append(sum(pipe.recv() for pipe in pipes) / SECONDS)
    finally:
        for pipe, worker in zip(pipes, workers, strict=True):
            pipe.send(None)
            worker.join(10)
    figure = f"{PROCESSES} processes: draws a second from {kind.name}"
    yield ratio(figure, counts["memollm"], kind.floor, counts["bare"], unit="/s")


def work(kind: Kind, port: int, orders: Connection) -> None:
    """Draw one way or the other, from a given moment on, until told to stop."""
    with Cache(bare_of(kind).url(port)) as cache, bare_of(kind).bare(port) as bare:
        draw, _ = drawer(cache)
        orders.send(None)
        ways = {"memollm": draw, "bare": bare}
        while (order := orders.recv()) is not None:
            way, begin = order
            time.sleep(max(0.0, begin - time.monotonic()))
            orders.send(draw_until(begin + SECONDS, ways[way]).draws)
