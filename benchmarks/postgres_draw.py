"""Draws of stored samples from a PostgreSQL server, against a bare synced UPDATE by the same client."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING

from benchmarks import _server_draws
from benchmarks._servers import postgres_programs, postgres_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._measure import Row

KIND = _server_draws.Kind("PostgreSQL", __name__, "a synced UPDATE", 1.5)


def run() -> Iterator[Row | str]:
    if find_spec("psycopg") is None or postgres_programs() is None:
        yield "postgres draw: the client psycopg or a PostgreSQL server is not installed"
        return
    with postgres_server() as port:
        yield from _server_draws.rows(KIND, port)


def url(port: int) -> str:
    return f"postgresql://bench@127.0.0.1:{port}/postgres"


@contextmanager
def bare(port: int) -> Iterator[Callable[[], object]]:
    """Give an UPDATE of a row, which is on disk when it returns."""
    import psycopg

    with psycopg.connect(url(port), autocommit=True) as connection:
        with suppress(psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
            connection.execute("CREATE TABLE bare (id integer PRIMARY KEY, next bigint NOT NULL)")
        connection.execute("INSERT INTO bare VALUES (1, 0) ON CONFLICT DO NOTHING")
        text = b"UPDATE bare SET next = next + 1 WHERE id = %s RETURNING next"
        yield lambda: connection.execute(text, (1,)).fetchone()
