"""How long a caller waits for a slot whose owner was killed, until its own call of the function begins."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks._measure import absolute
from benchmarks._servers import REDIS, postgres_programs, postgres_server, redis_server
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

DEEP = True
ROUNDS = 7
PATIENCE = 60.0
OWNER = """
import sys, time
from memollm import Cache

def ask(prompt):
    print("begun", flush=True)
    time.sleep(600)

Cache(sys.argv[1]).cached_llm(ask, name="ask", version=1, pool=1)(sys.argv[2])
"""


def run() -> Iterator[Row | str]:
    # A team's key, so that nothing is said of it.
    os.environ.setdefault("MEMOLLM_SIGNING_KEY", "0" * 64)
    with tempfile.TemporaryDirectory() as folder:
        yield of("SQLite", f"{folder}/cache")
    if find_spec("psycopg") is None or postgres_programs() is None:
        yield "take-over, PostgreSQL: the client psycopg or a PostgreSQL server is not installed"
    else:
        with postgres_server() as port:
            yield of("PostgreSQL", f"postgresql://bench@127.0.0.1:{port}/postgres")
    if find_spec("redis") is None or shutil.which(REDIS) is None:
        yield "take-over, Redis: the client redis or a redis-server is not installed"
    else:
        with redis_server() as port:
            yield of("Redis with lease=3", f"redis://127.0.0.1:{port}?lease=3")


def of(name: str, place: str) -> Row:
    return absolute(f"take-over, {name}", [takeover(place, f"round {nth}") for nth in range(ROUNDS)], unit="ms")


def takeover(place: str, prompt: str) -> float:
    """Kill who fills a slot, and tell how many seconds later another began to."""
    began: list[float] = []

    def ask(prompt: str) -> str:
        began.append(time.monotonic())
        return prompt

    owner = subprocess.Popen([sys.executable, "-c", OWNER, place, prompt], stdout=subprocess.PIPE)
    with owner, Cache(place) as cache:
        assert owner.stdout is not None
        assert owner.stdout.readline() == b"begun\n"
        waiting = threading.Thread(target=cache.cached_llm(ask, name="ask", version=1, pool=1), args=(prompt,))
        waiting.start()
        # Long enough that it waits, and at another moment of the lease each time.
        waiting.join(0.7 + 0.1 * (hash(prompt) % 10))
        assert not began
        owner.kill()
        killed = time.monotonic()
        waiting.join(PATIENCE)
    return began[0] - killed
