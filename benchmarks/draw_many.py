"""`.draw(1000, x)` of stored samples, for each sample, against a bare select of the rows and `json.loads` of each."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from benchmarks import _model, _peers
from benchmarks._bare import HEAD, Bare
from benchmarks._caches import folder, new_cache
from benchmarks._measure import Row, Timed, each, in_turn, ratio
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm import Cache

SAMPLES = 1000
NAMESPACE = "bench-many"


def many(cache: Cache, pool: int | None = None) -> Timed:
    """Draw a thousand again and again, rewinding in between, which is not counted."""

    @cache.cached_llm(namespace=NAMESPACE, count="n", pool=pool, name="many", version=1)
    def ask(prompt: str, n: int = 1) -> list[str]:
        return [ANSWER] * n

    def timed(number: int) -> float:
        seconds = 0.0
        for _ in range(number):
            begin = time.perf_counter()
            ask.draw(SAMPLES, "x")
            seconds += time.perf_counter() - begin
            cache.rewind(NAMESPACE)
        return seconds / SAMPLES

    timed(1)
    return timed


def bare_many(bare: Bare) -> Timed:
    """Read the same rows, and decode each."""
    rows = "SELECT record FROM sample WHERE call = (SELECT max(call) FROM sample) ORDER BY slot"

    def timed(number: int) -> float:
        begin = time.perf_counter()
        for _ in range(number):
            values = [json.loads(record[HEAD:]) for (record,) in bare.execute(rows).fetchall()]
            assert len(values) == SAMPLES
        return (time.perf_counter() - begin) / SAMPLES

    return timed


def peers_many(stack: ExitStack, runner: asyncio.Runner) -> Timed:
    """Draw a thousand from CacheSaver, each time for a namespace of its own."""
    paid = _model.coroutine()
    ask = stack.enter_context(_peers.CACHESAVER.open(stack.enter_context(folder()), paid.function, runner))

    def timed(number: int) -> float:
        begin = time.perf_counter()
        for _ in range(number):
            runner.run(ask("x", model="m", n=SAMPLES))
        return (time.perf_counter() - begin) / SAMPLES

    timed(1)
    stack.enter_context(_peers.only_hits("CacheSaver", paid))
    return timed


def run() -> Iterator[Row | str]:
    yield from _peers.missing("draw many", [_peers.CACHESAVER])
    with new_cache() as cache, asyncio.Runner() as runner, ExitStack() as stack:
        contenders = {"draw": each(many(cache), 5), "pool": each(many(cache, SAMPLES), 5)}
        contenders["bare"] = each(bare_many(stack.enter_context(Bare(cache))), 5)
        if _peers.CACHESAVER.installed:
            contenders["CacheSaver"] = peers_many(stack, runner)
        times = in_turn(contenders, number=1, rounds=9)
    floor = "bare select and json.loads"
    yield ratio(".draw(1000, x), each sample", times["draw"], floor, times["bare"], at_most=2)
    yield ratio(".draw(1000, x), pool=1000", times["pool"], floor, times["bare"], at_most=2)
    if "CacheSaver" in times:
        yield ratio(".draw(1000, x), each sample", times["draw"], "CacheSaver, n=1000", times["CacheSaver"])
