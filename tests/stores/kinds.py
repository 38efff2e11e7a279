"""What tests of both kinds of servers need to know of each."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable


class Kind(NamedTuple):
    """A kind of server."""

    name: str
    server: Any
    store: type
    send: str
    """The store's method that brings requests to the server, and is called once for each round trip."""
    closed: str
    """A URL of a server that is not there, but for its port."""
    part: str
    """The parameter that names a cache of several on one server."""
    wrong_login: str
    wrong_database: str
    no_database: str
    direct: Callable[[int], str]
    """What a URL says so that the listening connection goes to a port by itself."""
    make_newer: Callable[[Any, str], None]
    """Let the store of a URL be one of a newer version."""
    not_away: list[Exception]
    """What the client says where no server is about to come."""


def postgres_kind(server: Any) -> Kind:
    """Tell what is to be known of PostgreSQL."""
    import psycopg

    from memollm.stores.postgres.store import PostgresStore

    def make_newer(server: Any, url: str) -> None:
        PostgresStore(url).opened()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"UPDATE {url.partition('schema=')[2]}.about SET version = 99".encode())

    return Kind(
        "postgresql",
        server,
        PostgresStore,
        "_fetched",
        "postgresql://me:hush@127.0.0.1:{}/db",
        "schema",
        server.url_at(server.port, user="memollm:hushed"),
        server.url_at(server.port, database="nothing"),
        "has no such database. Create it with createdb",
        "?direct=127.0.0.1:{}".format,
        make_newer,
        [
            psycopg.OperationalError("failed to resolve host 'nowhere': [Errno -2] Name or service not known"),
            psycopg.OperationalError('could not translate host name "nowhere" to address: Name or service not known'),
            psycopg.errors.ConnectionTimeout("connection timeout expired"),
        ],
    )


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def redis_kind(server: Any) -> Kind:
    """Tell what is to be known of Redis."""
    import redis

    from memollm.stores.redis.store import RedisStore

    def make_newer(server: Any, url: str) -> None:
        with server.client() as client:
            client.hset(f"{url.partition('prefix=')[2]}:{{books}}:about", "version", 99)

    return Kind(
        "redis",
        server,
        RedisStore,
        "_run",
        "redis://me:hush@127.0.0.1:{}/0",
        "prefix",
        server.url_at(server.port, password="hushed"),
        server.url.replace("/0", "/4000"),
        "has no such database",
        "".format,
        make_newer,
        [
            _caused(redis.ConnectionError("Error -2 connecting to nowhere:1."), socket.gaierror(-2, "not known")),
            _caused(redis.TimeoutError("Timeout connecting to server"), TimeoutError("timed out")),
        ],
    )
