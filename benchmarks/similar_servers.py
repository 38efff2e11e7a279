"""Similar calls on servers: reading 100,000 vectors, a miss with them, and keeping up with what others add."""

from __future__ import annotations

import itertools
import secrets
import shutil
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from benchmarks._measure import Row, absolute
from benchmarks._servers import REDIS, postgres_programs, postgres_server, redis_server
from benchmarks.similar import VECTORS, directions, searched
from memollm import Cache, Embedder, Similar
from memollm._types.calls import Call
from memollm.stores.matching import StoredVector, every_vector, matching

if TYPE_CHECKING:
    from collections.abc import Iterator

TOGETHER = 1000
MISSES = 15
ADDED = 1000


def run() -> Iterator[Row | str]:
    if find_spec("redis") is None or shutil.which(REDIS) is None:
        yield "Redis: the client redis or a redis-server is not installed"
    else:
        with redis_server() as port:
            yield from measured(f"redis://127.0.0.1:{port}", "Redis")
    if find_spec("psycopg") is None or postgres_programs() is None:
        yield "PostgreSQL: the client psycopg or a PostgreSQL server is not installed"
    else:
        with postgres_server() as port:
            yield from measured(f"postgresql://bench@127.0.0.1:{port}/postgres", "PostgreSQL")


def measured(url: str, whose: str) -> Iterator[Row]:
    own = directions()
    similar = Similar("question", embed=Embedder(lambda text: next(own), name="random"), threshold=0.9)

    def answering(cache: Cache) -> Any:
        return cache.cached_llm(lambda question: "yes", pool=1, name="answer", version=1, similar=similar)

    with Cache(url) as cache:
        first = answering(cache)
        first("how?")
        kept, call = matching(cache.store), first._self_invocation(("how?",), {}).keyed()
        (known,) = kept.vectors_of(call)
        form, space = call.form, known.space
        numbers = itertools.count()

        def learn(n: int) -> None:
            for start in range(0, n, TOGETHER):
                calls = (with_text(form, f"number {next(numbers)}") for _ in range(min(TOGETHER, n - start)))
                kept.learn(*(StoredVector(call, space, next(own).tobytes()) for call in calls))

        yield absolute("storing 100,000 vectors", [took(lambda: learn(VECTORS))], unit="s", whose=whose)
        with Cache(url) as other:
            ask = answering(other)
            yield absolute("first search in a process", [took(lambda: ask("the first"))], unit="s", whose=whose)
            searched(other)
            misses = [took(lambda nth=nth: ask(f"miss {nth}")) for nth in range(MISSES)]
            yield absolute("a miss with 100,000 vectors", misses, unit="ms", at_most=60, whose=whose)
            last = max(number for number, _ in every_vector(matching(other.store), space.digest(form)))
            learn(ADDED)
            there = matching(other.store)
            yield absolute(
                f"reading {ADDED:,} that others added",
                [took(lambda: there.vectors(space.digest(form), last)) for _ in range(5)],
                unit="ms",
                whose=whose,
            )


def with_text(form: str, text: str) -> Call:
    """Make a call that differs from another in the text alone."""
    key = secrets.token_bytes(16)
    return Call(key, form.replace("how?", text), "answer")


def took(work: Any) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
