"""How long a caller waits for a slot whose owner was killed, until its own call of the function begins."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks._measure import absolute
from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measure import Row

DEEP = True
ROUNDS = 7
ROOT = Path(__file__).parents[1]
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
    for name, begun in (("PostgreSQL", postgres), ("Redis with lease=3", redis)):
        with begun() as url:
            yield of(name, url) if url else f"take-over, {name}: the client or the server is not installed"


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


@contextmanager
def postgres() -> Iterator[str | None]:
    servers = _servers()
    if servers is None or find_spec("psycopg") is None or not servers.postgres_programs():
        yield None
        return
    yield from _while_it_runs(servers.PostgresServer)


@contextmanager
def redis() -> Iterator[str | None]:
    servers = _servers()
    if servers is None or find_spec("redis") is None or not servers.REDIS:
        yield None
        return
    for url in _while_it_runs(servers.RedisServer):
        yield f"{url}?lease=3"


def _while_it_runs(make: Callable[[], Any]) -> Iterator[str]:
    server = make()
    try:
        yield server.start().url
    finally:
        server.stop()


def _servers() -> Any:
    """Return what starts servers for the tests, where pytest is installed as for these."""
    if find_spec("pytest") is None:
        return None
    sys.path.insert(0, str(ROOT / "tests"))
    try:
        import servers
    finally:
        sys.path.pop(0)
    return servers
