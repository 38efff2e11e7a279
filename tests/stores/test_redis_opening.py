"""Opening a Redis store: what URLs say, what is refused and how, and what is shown of a password."""

import itertools
import socket
import threading
from contextlib import suppress

import pytest
from servers import REDIS, RedisServer, require, require_redis

require_redis()

from redis import exceptions

from memollm import Cache, OptionError
from memollm._types.calls import Want
from memollm.errors import StoreReadOnly, StoreRefused, StoreUnavailable
from memollm.stores import serving
from memollm.stores.redis import connections, greeting, opening, strangers
from memollm.stores.redis.address import address_of
from memollm.stores.redis.connections import WAITS, Channel, LentChannels
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import Hand, call

pytestmark = pytest.mark.usefixtures("team_key")


def refused(url, error=StoreRefused):
    """Return what is said of a store that cannot be opened; nothing of it shows a password."""
    store = RedisStore(url)
    with pytest.raises(error) as raised:
        Hand(store, Want(call(), "reader", 1, None))
    store.close()
    assert "hush" not in f"{raised.value}{store!r}"
    return str(raised.value)


@pytest.fixture
def configured(redis):
    """Set what a server is configured with, for a test."""
    before = {}

    def set_to(**options):
        with redis.client() as client:
            for name, value in options.items():
                setting = name.replace("_", "-")
                before.setdefault(setting, client.config_get(setting)[setting])
                client.config_set(setting, value)
        return redis.fresh()

    yield set_to
    with redis.client() as client:
        for setting, value in before.items():
            client.config_set(setting, value)


# URLs.


def test_what_a_url_says():
    """Parameters of ours are read, and all others are the client's."""
    address = address_of("rediss://me:hush@host:7000/2?lease=3&prefix=p&pool=2&durability=second&ssl_ca_certs=/ca")
    assert (address.lease, address.prefix, address.pool, address.may_lose_a_second) == (3.0, "p@2", 2, True)
    assert (address.options["host"], address.options["db"], address.options["ssl_ca_certs"]) == ("host", 2, "/ca")
    assert "hush" not in repr(address)


@pytest.mark.parametrize(("url", "said"), [("redis://", "names no server"), ("redis://host/abc", "no database")])
def test_a_wrong_place_is_refused(url, said):
    """What names no server, or no database of it, is one sentence."""
    with pytest.raises(OptionError, match=said):
        Cache(url)


def test_a_server_that_reads_its_files_is_waited_for(redis, monkeypatch):
    """While it loads it does not say yet that it keeps an append-only file, and it is waited for as one that starts."""
    found, loading, told = opening._info, [{"loading": "1", "aof_enabled": "0"}] * 2, []
    monkeypatch.setattr(opening, "_info", lambda *asked: {**found(*asked), **(loading.pop() if loading else {})})
    monkeypatch.setattr(serving, "warn", lambda text, _: told.append(text))
    store = RedisStore(redis.fresh())
    assert store.peek(call()) == {}
    store.close()
    assert not loading
    assert len(told) == 1
    assert "it still reads its files" in told[0]


def test_a_parameter_that_the_client_does_not_know(redis):
    """What the client does not know is refused as the user's own."""
    assert "there is no parameter speed=." in refused(f"{redis.url}?speed=7", OptionError)
    said = refused(f"{redis.url}?leese=3", OptionError)
    assert said.endswith("there is no parameter leese=. Did you mean lease=?")


# What is refused.


def test_a_server_that_evicts_is_refused(configured):
    """Cursors that are evicted would give positions again (P1): the setting to change is named."""
    url = configured(maxmemory_policy="allkeys-lru")
    said = refused(url)
    assert "maxmemory-policy allkeys-lru" in said
    assert "CONFIG SET maxmemory-policy noeviction" in said


def test_a_server_that_evicts_only_what_expires_is_used(configured):
    """Nothing that counts expires."""
    with Cache(configured(maxmemory_policy="volatile-lru")) as cache:
        assert cache.cached_llm(lambda: 1, name="ask", version=1)() == 1


def test_a_server_without_a_file_is_refused(configured):
    """What is in memory alone is lost by a crash (P7)."""
    said = refused(configured(appendonly="no"))
    assert "CONFIG SET appendonly yes" in said


@pytest.mark.parametrize(
    ("options", "accepted"),
    [
        ({"appendfsync": "everysec"}, "?durability=second"),
        ({"appendfsync": "no"}, None),
        ({"no_appendfsync_on_rewrite": "yes"}, None),
    ],
)
def test_a_server_that_does_not_sync_is_refused(configured, monkeypatch, options, accepted):
    """A power cut must lose nothing, unless a second of it is accepted (P7)."""
    monkeypatch.setattr(opening, "OLDEST_THAT_WAITS", (99, 0))
    url = configured(**options)
    assert "Set: CONFIG SET appendfsync always" in refused(url)
    if accepted is None:
        assert "CONFIG SET appendfsync always" in refused(f"{url}?durability=second")
    else:
        with Cache(url + accepted) as cache:
            assert cache.cached_llm(lambda: 1, name="ask", version=1)() == 1


def test_a_server_that_syncs_now_and_then_is_waited_for(configured, monkeypatch):
    """Where a server can tell that it has synced, every draw and every fill waits for that (P7)."""
    monkeypatch.setattr(opening, "OLDEST_THAT_WAITS", (6, 2))
    asked, told, plain = [], iter([[1, 0], [0, 0]]), Channel.ask

    def ask(wire, commands):
        commands = list(commands)
        waits = commands[-1:] == [WAITS]
        answers = plain(wire, commands[:-1] if waits else commands)
        asked.append(waits)
        return [*answers, next(told, [1, 0])] if waits else answers

    monkeypatch.setattr(Channel, "ask", ask)
    store = RedisStore(configured(appendfsync="everysec"))
    try:
        hand = Hand(store, Want(call(), "reader", 1, None))
        hand.fill(b"zero")
        assert hand.settle().void == ()
        assert Hand(store, Want(call(), "reader", 1, None)).at == [1]
        assert sum(asked) >= 4
    finally:
        store.close()


def test_a_server_that_can_tell_is_asked():
    """Redis from 7.2 on and Valkey are waited for by a command of their own (P7)."""
    server, numbers = RedisServer(appendfsync="everysec"), itertools.count()
    try:
        with server.start().client() as client:
            if b"waitaof" not in client.command_list():
                pytest.skip("needs a server that knows WAITAOF")
            with Cache(server.url) as cache:
                ask = cache.cached_llm(namespace="a", name="ask", version=1)(lambda: next(numbers))
                assert [ask(), ask()] == [0, 1]
            assert client.info("commandstats")["cmdstat_waitaof"]["calls"] >= 4
    finally:
        server.stop()


def test_no_password(redis):
    """Who gives none is told the same."""
    assert "refuses this user" in refused(f"redis://127.0.0.1:{redis.port}")


def test_another_kind_of_server():
    """What answers like no Redis server is told apart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as client:
                client.recv(100)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        said = refused(f"redis://me:hush@127.0.0.1:{listener.getsockname()[1]}/0")
        answering.join(30)
    assert "is no Redis or Valkey server" in said


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_the_port_of_postgresql_is_told_at_once(postgres, scheme, monkeypatch):
    """PostgreSQL closes without a word on what it does not know; nobody waits for it as for a server that is away."""
    monkeypatch.setattr(serving, "warn", lambda *_: pytest.fail("it waits"))
    assert "is a PostgreSQL server, and no Redis" in refused(f"{scheme}://me:hush@127.0.0.1:{postgres.port}/0")


@pytest.fixture
def listening():
    """Let something answer connections, each in a thread, while a test runs."""
    listeners = []

    def listen(answer):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def talk(client):
            with suppress(OSError), client:
                client.settimeout(30)
                answer(client)

        def take():
            with suppress(OSError):
                while True:
                    threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

        threading.Thread(target=take, daemon=True).start()
        return f"redis://me:hush@127.0.0.1:{listener.getsockname()[1]}/0"

    yield listen
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_a_server_that_waits_for_the_rest_of_a_request_is_told(listening):
    """An HTTP server may say nothing to what it does not know; it is asked what it knows."""

    def answer(client):
        said = client.recv(100)
        while said and not said.endswith(b"\r\n\r\n"):
            said = client.recv(100)
        if said:
            client.sendall(b"HTTP/1.0 404 Not Found\r\n\r\n")

    assert "is an HTTP server, and no Redis" in refused(f"{listening(answer)}?socket_timeout=0.2")


def test_who_says_nothing_at_all_is_said_to(listening, monkeypatch):
    """What is unknown of whoever takes connections is not guessed."""

    def answer(client):
        while client.recv(100):
            pass

    monkeypatch.setattr(strangers, "WITHIN", 0.05)
    monkeypatch.setattr(serving, "warn", lambda text, _: told.append(text))
    told = []
    said = refused(f"{listening(answer)}?socket_timeout=0.05", StoreUnavailable)
    assert "says nothing: a server that is busy or stopped, or one of another kind." in said
    assert len(told) == 1
    assert "says nothing so far" in told[0]
    assert "10 seconds at most, or as socket_connect_timeout= in the URL says" in told[0]


def test_a_server_that_is_slow_to_greet_is_waited_for(redis, monkeypatch):
    """A server that was asked who it is, because it took its time, is one that keeps samples."""
    asked, plain = [], greeting.refuse_a_stranger
    monkeypatch.setattr(greeting, "refuse_a_stranger", lambda address: asked.append(address) or plain(address))

    greetings, greet = iter([exceptions.TimeoutError("Timeout reading from socket")]), LentChannels.greet

    def say_nothing(channels, *within, **hurries):
        for error in greetings:
            raise error
        greet(channels, *within, **hurries)

    monkeypatch.setattr(serving, "warn", lambda *_: None)
    monkeypatch.setattr(LentChannels, "greet", say_nothing)
    with Cache(redis.fresh()) as cache:
        assert cache.store.peek(call()) == {}
    assert len(asked) == 1


@pytest.mark.parametrize(("scheme", "other"), [("rediss", "redis"), ("valkeys", "valkey")])
def test_a_server_without_tls(redis, scheme, other, monkeypatch):
    """Who would speak TLS to a server that does not is told so, and what to write."""
    monkeypatch.setattr(greeting, "GREETING_BY_TLS", 0.05)
    said = refused(redis.url.replace("redis://", f"{scheme}://"))
    assert f"does not speak TLS at this port. Begin the URL with {other}://, or name the port" in said


def test_a_server_that_is_slow_to_speak_tls(listening, monkeypatch):
    """Who says nothing to anybody may speak TLS all the same, and is waited for as any other server is."""
    monkeypatch.setattr(strangers, "WITHIN", 0.05)
    monkeypatch.setattr(greeting, "GREETING_BY_TLS", 0.05)
    monkeypatch.setattr(connections, "GREETING", 0.06)
    came = []

    def answer(client):
        came.append(client)
        while client.recv(1000):
            pass

    url = listening(answer).replace("redis://", "rediss://")
    assert "No encrypted connection" in refused(url, StoreUnavailable)
    # Two greetings, and two questions who is there.
    assert len(came) == 4


def test_something_else_under_the_names(redis):
    """What somebody else keeps under these names is left as it is."""
    url = redis.fresh()
    with redis.client() as client:
        client.set("memollm:{books}:about", "mine")
    assert "Choose another ?prefix=" in refused(url)


def test_a_replica_is_refused(redis):
    """What takes no writes is no store."""
    require(REDIS, "a Redis server")
    replica = RedisServer(replicaof=("127.0.0.1", redis.port), masterauth="nobody")
    try:
        assert "is a replica" in refused(replica.start().url)
    finally:
        replica.stop()


def test_a_node_without_a_cluster_is_refused():
    """A node to which no slot was given keeps nothing."""
    server = RedisServer(**{"cluster-enabled": "yes"})
    try:
        said = refused(f"{server.start().url}?patience=0", StoreUnavailable)
        assert "The cluster redis://…@" in said
        assert "no slot is given to any node" in said
    finally:
        server.stop()


def test_an_old_server_is_refused(redis, monkeypatch):
    """The version that is needed is named."""
    monkeypatch.setattr(opening, "OLDEST", (99, 0))
    assert "memollm needs 6.2 or newer" in refused(redis.url)


@pytest.fixture
def guest(redis, redis_guest):
    """Return the URL of a user who may look, and write nothing, where two samples are."""
    redis.fresh()
    with Cache(redis.url) as cache:
        answers = iter("ab")
        made = cache.cached_llm(namespace="a", name="ask", version=1)(lambda: next(answers))
        assert [made(), made()] == ["a", "b"]
    return redis_guest


def test_a_user_who_may_not_write(guest):
    """Who may read and not write is told so."""
    assert "cannot be written by this user" in refused(guest, StoreReadOnly)


def test_a_user_who_may_only_read_draws(redis, guest):
    """A cache that a user may read is drawn from as a reader of one's own stands there, and nothing is kept."""
    with Cache(redis.url) as cache, Cache(guest) as other:
        read = other.cached_llm(namespace="a", name="ask", version=1, mode="readonly")(lambda: "called")
        new = read.with_options(namespace="b")
        assert [read(), new(), new(), new()] == ["called", "a", "b", "called"]
        assert [space.draws for space in cache.namespaces()] == [2]


# Processes, threads and loops.
