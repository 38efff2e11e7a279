"""A draw of one stored sample from a Redis server, against an INCR by the same client."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._measure import in_turn, ratio, repeated
from benchmarks._model import ANSWER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

SERVER = "redis-server"
SLOTS = 8
PATIENCE = 20.0


def run() -> Iterator[Row | str]:
    if find_spec("redis") is None or shutil.which(SERVER) is None:
        yield "redis draw: the client redis or a redis-server not installed"
        return
    import redis

    from memollm import Cache

    with server() as port, redis.Redis(port=port) as client, Cache(f"redis://127.0.0.1:{port}") as cache:

        @cache.cached_llm(namespace="bench", pool=SLOTS, name="drawn", version=1)
        def ask(prompt: str) -> str:
            return ANSWER

        ask.draw(SLOTS, "x")
        contenders = {"draw": repeated(lambda: ask("x")), "bare": repeated(lambda: client.incr("bare"))}
        times = in_turn(contenders, rounds=151, number=20)
    yield ratio("stored draw from Redis", times["draw"], "INCR", times["bare"], at_most=2.5)


@contextmanager
def server() -> Iterator[int]:
    """Run a server on a port of loopback, whose file is in memory, so that no disk is measured."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]
    in_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=in_memory if in_memory.is_dir() else None) as folder:
        process = subprocess.Popen([SERVER, *options, "--dir", folder], stdout=subprocess.DEVNULL)
        try:
            wait_for(port)
            yield port
        finally:
            process.kill()
            process.wait()


def wait_for(port: int) -> None:
    """Wait until it answers."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.02)
        else:
            return
