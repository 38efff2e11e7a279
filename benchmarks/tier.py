"""Draws with a tier before a server beside draws without one, over a network of 5 ms each way."""

from __future__ import annotations

import os
import random
import shutil
import time
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from benchmarks import _server_draws, postgres_draw, redis_draw
from benchmarks._caches import folder
from benchmarks._delaying import counting, delaying
from benchmarks._measure import Row, absolute, in_turn, quiet, ratio, repeated
from benchmarks._server_draws import DELAY
from benchmarks._servers import REDIS, postgres_programs, postgres_server, redis_server
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

TEXTS = 20
"""How many calls a process reads for the first time, in each round."""
ROUNDS = 11
DRAWS = 51
RECORD = 100_000
LARGE = 1_000_000
FLOOR = "a round trip of the bare client"


class Server(NamedTuple):
    """A kind of server, and how one is run."""

    kind: _server_draws.Kind
    running: Callable[[], AbstractContextManager[int]]

    def url(self, port: int, where: str = "") -> str:
        """Return the URL of a cache of its own."""
        named = "schema" if self.kind is postgres_draw.KIND else "prefix"
        return _server_draws.bare_of(self.kind).url(port) + (where and f"?{named}={where}")


def run() -> Iterator[Row | str]:
    os.environ.setdefault("MEMOLLM_SIGNING_KEY", "a key of benchmarks")
    if find_spec("psycopg") is None or postgres_programs() is None:
        yield "tier: the client psycopg or a PostgreSQL server is not installed"
    else:
        yield from rows(Server(postgres_draw.KIND, postgres_server))
    if find_spec("redis") is None or shutil.which(REDIS) is None:
        yield "tier: the client redis or a redis-server is not installed"
    else:
        yield from rows(Server(redis_draw.KIND, redis_server))


def rows(server: Server) -> Iterator[Row | str]:
    with server.running() as port, delaying(port, DELAY) as slow, folder() as here:
        yield from memo_hits(server, slow, here)
        yield from draws(server, slow, here)
        yield from sent(server, port, here)
        if find_spec("obstore") is None:
            yield "tier: the client obstore is not installed"
        else:
            yield from bucket(server, port, slow, here)


def answer(size: int) -> str:
    """Return what does not become smaller."""
    return random.Random(size).randbytes(size).hex()[:size]


def memo(cache: Cache, size: int = RECORD) -> Callable[[str], str]:
    return cache.cached_llm(pool=1, name="memo", version=1)(lambda prompt: answer(size))


def drawn(cache: Cache, size: int = RECORD) -> Callable[[], object]:
    ask = cache.cached_llm(namespace="bench", pool=2, name="drawn", version=1)(lambda prompt: answer(size))
    ask.draw(2, "x")
    return lambda: ask("x")


def memo_hits(server: Server, port: int, here: Path) -> Iterator[Row]:
    """Read, as a new process does, what another of the machine has read."""
    texts, url = [f"text {number}" for number in range(TEXTS)], server.url(port)
    ways: dict[str, str | None] = {"with": str(here / "hits"), "without": None}
    with Cache(url, tier=ways["with"]) as cache:
        for text in texts:
            memo(cache)(text)
    times: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, tier in ways.items():
            times[way].append(first_read(url, tier, texts))
    figure = f"memo hit of a new process from {server.kind.name}, with a tier"
    yield ratio(figure, times["with"], "without a tier", times["without"], unit="ms")


def first_read(url: str, tier: str | None, texts: list[str]) -> float:
    """Return the seconds for a call of those that this process has not read, once it is connected."""
    with Cache(url, tier=tier) as cache:
        ask = memo(cache)
        ask(texts[0])
        with quiet():
            begin = time.perf_counter()
            for text in texts[1:]:
                ask(text)
            return (time.perf_counter() - begin) / (len(texts) - 1)


def draws(server: Server, port: int, here: Path) -> Iterator[Row]:
    """Draw in a namespace what the tier holds."""
    url = server.url(port)
    with (
        Cache(url, tier=here / "draws") as near,
        Cache(url) as far,
        _server_draws.bare_of(server.kind).bare(port) as bare,
    ):
        ways = {"with": repeated(drawn(near)), "without": repeated(drawn(far)), "bare": repeated(bare)}
        times = in_turn(ways, rounds=DRAWS, number=1)
    for way in ("with", "without"):
        figure = f"draw of a 100 kB text from {server.kind.name}, {way} a tier"
        yield ratio(figure, times[way], FLOOR, times["bare"], unit="ms")


def sent(server: Server, port: int, here: Path) -> Iterator[Row]:
    """Count what the server sends for such a draw."""
    for way, tier in (("with", here / "sent"), ("without", None)):
        with counting(port) as (counted, told), Cache(server.url(counted), tier=tier) as cache:
            draw, each = drawn(cache), list[float]()
            for _ in range(DRAWS):
                before = told()
                draw()
                each.append(told() - before)
        yield absolute(f"what {server.kind.name} sends for a draw of a 100 kB text, {way} a tier", each, unit="bytes")


def bucket(server: Server, port: int, slow: int, here: Path) -> Iterator[Row]:
    """Draw what stands in a bucket, on a machine that has had it and on one that has not."""
    with bucket_tier() as tier, ExitStack() as stack:
        url, plain = server.url(slow, "large"), server.url(slow, "plain")
        cache = stack.enter_context(Cache(url, tier=f"{tier}&local={here / 'there'}"))
        far = stack.enter_context(Cache(plain))
        bare = stack.enter_context(_server_draws.bare_of(server.kind).bare(slow))
        ways = {"had": repeated(drawn(cache, LARGE)), "far": repeated(drawn(far, LARGE)), "bare": repeated(bare)}
        times = in_turn(ways, rounds=DRAWS, number=1)
        news = [new_machine(url, f"{tier}&local={here / f'new{number}'}") for number in range(ROUNDS)]
    named = f"draw of a 1 MB text from {server.kind.name}"
    yield ratio(f"{named} and a bucket, had before", times["had"], FLOOR, times["bare"], unit="ms")
    yield absolute(f"{named} and a bucket, the first of a machine", news, unit="ms")
    yield ratio(f"{named} without a tier", times["far"], FLOOR, times["bare"], unit="ms")


@contextmanager
def bucket_tier() -> Iterator[str]:
    """Give a bucket that is as far away as the server."""
    from memollm.testing import FakeS3

    with FakeS3() as s3:
        before = {name: os.environ.get(name) for name in s3.environment}
        os.environ.update(s3.environment)
        try:
            with delaying(int(s3.url.rpartition(":")[2]), DELAY) as slow:
                yield f"s3://bench/tier?endpoint=http://127.0.0.1:{slow}"
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def new_machine(url: str, tier: str) -> float:
    """Return the seconds for a draw of what no program of the machine has had, once it is connected."""
    with Cache(url, tier=tier) as cache:
        memo(cache, 10)("warm")
        ask = cache.cached_llm(namespace="bench", pool=2, name="drawn", version=1)(lambda prompt: answer(LARGE))
        with quiet():
            begin = time.perf_counter()
            ask("x")
            return time.perf_counter() - begin
