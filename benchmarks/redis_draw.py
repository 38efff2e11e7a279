"""Draws of stored samples from a Redis server, against an INCR by the same client."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks import _server_draws
from benchmarks._servers import REDIS, redis_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measure import Row

KIND = _server_draws.Kind("Redis", __name__, "an INCR", 2.5)


def run() -> Iterator[Row | str]:
    if find_spec("redis") is None or shutil.which(REDIS) is None:
        yield "redis draw: the client redis or a redis-server is not installed"
        return
    with redis_server() as port:
        yield from _server_draws.rows(KIND, port)


def url(port: int) -> str:
    return f"redis://127.0.0.1:{port}"


@contextmanager
def bare(port: int) -> Iterator[Callable[[], object]]:
    """Give an INCR."""
    import redis

    with redis.Redis(port=port) as client:
        yield lambda: client.incr("bare")
