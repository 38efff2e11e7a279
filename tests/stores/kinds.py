"""What tests of both kinds of servers need to know of each."""

from __future__ import annotations

import socket
import threading
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

from servers import REDIS, PostgresServer, RedisServer, postgres_programs, require, until

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from contextlib import AbstractContextManager


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
    own_server: Callable[[], Any]
    """Make a server of its own, which a test may kill."""
    listening_apart: Callable[[Any], AbstractContextManager[None]]
    """Let what the listening thread does go to the server by itself, where a URL cannot say so."""
    hasty: str
    """What a URL says so that a process that was killed is known to be dead soon."""
    taken_for_dead: Callable[[Any, Any], AbstractContextManager[None]]
    """Let others take the process of a store for dead."""
    soon: str
    """What a URL says so that a server which says nothing is given up soon."""
    tries: int
    """How often a server that says nothing is connected to until it is given up, where nobody asks who it is."""
    asks_nobody: Callable[[Any], None]
    """Let nobody ask who answers where a server says nothing."""
    slow: Callable[[Any], AbstractContextManager[None]]
    """Let the server be slow to answer who begins, until that was told."""


def postgres_kind(server: Any) -> Kind:
    """Tell what is to be known of PostgreSQL."""
    import psycopg

    from memollm.stores.postgres import connections
    from memollm.stores.postgres.store import PostgresStore

    def make_newer(server: Any, url: str) -> None:
        PostgresStore(url).opened()
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute(f"UPDATE {url.partition('schema=')[2]}.about SET version = 99".encode())

    def own_server() -> PostgresServer:
        require(postgres_programs(), "a PostgreSQL server")
        return PostgresServer()

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
        own_server,
        lambda _: nullcontext(),
        "",
        postgres_taken_for_dead,
        "?connect_timeout=2",
        1,
        lambda patch: patch.setattr(connections, "refuse_foreign", lambda *_: None),
        postgres_slow,
    )


def terminate(server: Any, store: Any) -> None:
    """End the direct connection of a store at the server, as a network that is cut for long does."""
    import psycopg

    line = store.opened().line
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (line.connection.info.backend_pid,))


@contextmanager
def postgres_slow(patch: Any) -> Generator[None]:
    """Let the connection come about when it was told that it does not."""
    from memollm.stores import serving
    from memollm.stores.postgres import foreign
    from memollm.stores.postgres.connections import KeptConnection

    has_told, plain, tell = threading.Event(), KeptConnection.connect, serving.warn

    def connect(*args: Any, **options: Any) -> Any:
        assert has_told.wait(30)
        return plain(*args, **options)

    patch.setattr(foreign, "PATIENCE", 0.01)
    patch.setattr(serving, "warn", lambda *told: (tell(*told), has_told.set()))
    patch.setattr(KeptConnection, "connect", connect)
    yield


@contextmanager
def postgres_taken_for_dead(server: Any, store: Any) -> Generator[None]:
    """End the connection that has the lock of a store, which takes it again only after this."""
    import psycopg

    line = store.opened().line

    def is_dead() -> bool:
        return connection.execute("SELECT memollm.lives(%s, 0)", (line.owner,)).fetchone() == (False,)

    with mock.patch.object(line, "_come_back"):
        terminate(server, store)
        with psycopg.connect(server.url, autocommit=True) as connection:
            until(is_dead)
        # Its thread has let go of the connection, too.
        until(lambda: not line.is_up.is_set())
        yield
    line._come_back()


def _caused(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


def redis_kind(server: Any) -> Kind:
    """Tell what is to be known of Redis."""
    import redis

    from memollm.stores.redis import greeting
    from memollm.stores.redis.store import RedisStore

    def make_newer(server: Any, url: str) -> None:
        with server.client() as client:
            client.hset(f"{url.partition('prefix=')[2]}:{{books}}:about", "version", 99)

    def own_server() -> RedisServer:
        require(REDIS, "a Redis server")
        return RedisServer()

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
        own_server,
        redis_listening_apart,
        "?lease=0.5",
        redis_taken_for_dead,
        "?socket_timeout=0.05",
        2,
        lambda patch: patch.setattr(greeting, "refuse_a_stranger", lambda _: None),
        redis_slow,
    )


@contextmanager
def redis_slow(patch: Any) -> Generator[None]:
    """Let the first greeting be too short for the server."""
    import redis

    from memollm.stores.redis.connections import LentChannels

    plain, greetings = LentChannels.greet, iter([redis.TimeoutError("Timeout reading from socket")])

    def greet(channels: Any, *how: Any, **named: Any) -> None:
        for error in greetings:
            raise error
        plain(channels, *how, **named)

    patch.setattr(LentChannels, "greet", greet)
    yield


@contextmanager
def redis_listening_apart(server: Any) -> Generator[None]:
    """Let listening connections go to the server, whatever a URL says, and what their threads ask now and then."""
    from memollm.stores.redis import line
    from memollm.stores.redis.connections import LentChannels

    plain, made = line.Channel, []

    def past_proxies(address: Any) -> Any:
        return address._replace(options={**address.options, "port": server.port})

    def swift(channels: Any, _: float) -> Any:
        made.append(LentChannels(past_proxies(channels.listening())))
        return made[-1]

    listening = mock.patch.object(line, "Channel", lambda address: plain(past_proxies(address)))
    with listening, mock.patch.object(LentChannels, "swift", swift):
        yield
    for channels in made:
        channels.close()


@contextmanager
def redis_taken_for_dead(server: Any, store: Any) -> Generator[None]:
    """End the leases that a store has on calls; it does not say that it lives in the middle of this."""
    with mock.patch.object(store.opened().line, "_beat"), server.client() as client:
        for base in store._held_bases():
            client.hset(f"{base}:o", store.opened().owner, 1)
        yield
