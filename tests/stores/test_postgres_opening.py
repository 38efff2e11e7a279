"""Opening a PostgreSQL store: what URLs say, what is refused and how, and what is shown of a password."""

import asyncio
import logging
import os
import socket
import threading

import pytest
from servers import PASSWORD, make_guest, require_psycopg

psycopg = require_psycopg()

import memollm
from memollm import Cache, OptionError
from memollm._types.calls import Want
from memollm._types.samples import MINE
from memollm.errors import (
    MemollmWarning,
    NotStoredWarning,
    StoreClosed,
    StoreReadOnly,
    StoreRefused,
    StoreUnavailable,
)
from memollm.stores.postgres.address import address_of
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import Hand, call

pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture(autouse=True)
def team_key(monkeypatch):
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")


def refused(url, error=StoreRefused):
    """Return what is said of a store that cannot be opened; nothing of it shows a password."""
    store = PostgresStore(url)
    with pytest.raises(error) as raised:
        Hand(store, Want(call(), "reader", 1, None))
    store.close()
    assert "hush" not in f"{raised.value}{store!r}"
    return str(raised.value)


# URLs.


def test_a_url_is_a_cache(postgres):
    """A cache is opened by its URL as one on disk is by its path, and two of one URL share what they hold."""
    calls = []
    with Cache(postgres.fresh()) as cache, Cache(postgres.url) as other:
        first = cache.cached_llm(namespace="a", name="ask", version=1)(
            lambda prompt: calls.append(prompt) or len(calls)
        )
        again = other.cached_llm(namespace="b", name="ask", version=1)(
            lambda prompt: calls.append(prompt) or len(calls)
        )
        assert [first("x"), first("x"), again("x"), again("x"), again("x")] == [1, 2, 1, 2, 3]
        assert [each.name for each in cache.namespaces()] == ["a", "b"]
        assert PASSWORD not in repr(cache)
        assert "hush" not in repr(cache)


def test_functions_share_the_engine_of_a_url(postgres):
    """What is decorated with one URL draws from one cache of this process."""
    url = postgres.fresh()
    first = memollm.cached_llm(cache=url, name="ask", version=1, namespace="a")(lambda: "x")
    second = memollm.cached_llm(cache=url, name="ask", version=1, namespace="a")(lambda: "y")
    assert (first(), second(), first.with_options(namespace="b")()) == ("x", "y", "x")
    memollm._calls.engines._opened[url].close()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://…@host/db"),
        ("postgresql://me:hu/sh@hu@host/db", "postgresql://…@host/db"),
        ("postgresql://host/db?password=hush&schema=a", "postgresql://host/db?password=…&schema=a"),
        ("postgresql://host/db?direct=me:hush@other:1", "postgresql://…@other:1"),
    ],
)
def test_no_password_is_shown(url, shown):
    """Whatever stands where a password may stand is left out of what is shown."""
    assert repr(Cache(url)) == f"Cache({shown!r})"


def test_what_a_url_says_to_us():
    """Our own parameters are read, and PostgreSQL is told the others."""
    address = address_of("postgresql://me:pw@host/db?schema=team_a&direct=other:1&pool=3&patience=1.5&sslmode=require")
    assert address[1:7] == (
        "postgresql://me:pw@host/db?sslmode=require",
        "postgresql://me:pw@other:1/db?sslmode=require",
        True,
        "team_a",
        3,
        1.5,
    )


@pytest.mark.parametrize("query", ["schema=a-b", "schema=", "pool=0", "pool=many", "patience=-1", "nonsense"])
def test_a_wrong_parameter_is_refused(query):
    """What cannot be meant is refused at once, and the password is not shown."""
    with pytest.raises(OptionError, match=r"^cache='postgresql://…@host/db") as raised:
        Cache(f"postgresql://me:hush@host/db?{query}")
    assert "hush" not in str(raised.value)


def test_schemas_are_stores_of_their_own(postgres):
    """Two schemas of one database share nothing."""
    postgres.fresh()
    for url in (postgres.url, postgres.another()):
        with Cache(url) as cache:
            assert cache.cached_llm(lambda url=url: url, name="ask", version=1, namespace="a")() == url


def test_a_project_cannot_name_a_server(project):
    """A project may come from anybody; what it says is shown without the password."""
    (project / "pyproject.toml").write_text('[tool.memollm]\ncache = "postgresql://me:hush@host/db"\n')
    with pytest.raises(OptionError, match="lies outside of the project") as raised:
        memollm._calls.configuration.Configuration().get("cache")
    assert "hush" not in str(raised.value)


def test_a_team_without_a_key_is_told(postgres, monkeypatch):
    """Who opens a shared cache without a shared key learns once what that means, and how to make one."""
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY")
    with pytest.warns(MemollmWarning, match=r"MEMOLLM_SIGNING_KEY is not set.*token_hex") as warned:
        Cache(postgres.url).close()
    assert "hush" not in str(warned[0].message)


# What is refused.


def test_wrong_password(postgres):
    """The sentence says what to look at."""
    said = refused(postgres.url_at(postgres.port, user="memollm:hushed"))
    assert "refuses this user. Check the name and the password" in said


def test_no_such_database(postgres):
    """A database is not made by itself."""
    assert "has no such database. Create it with createdb" in refused(
        postgres.url_at(postgres.port, database="nothing")
    )


def test_no_server():
    """Where nobody listens, opening says so at once."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        said = refused(f"postgresql://me:hush@127.0.0.1:{port}/db", StoreUnavailable)
    assert "cannot be reached: " in said
    assert said.endswith("Check that the server runs and that the URL is right.")


def test_another_kind_of_server():
    """What answers like no PostgreSQL server is told apart."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            with listener.accept()[0] as client:
                client.recv(100)
                client.sendall(b"-ERR unknown command\r\n")

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        url = f"postgresql://me:hush@127.0.0.1:{listener.getsockname()[1]}/db?sslmode=disable"
        store = PostgresStore(url)
        with pytest.raises((StoreRefused, StoreUnavailable), match=r"127\.0\.0\.1") as raised:
            store.peek(call())
        answering.join(30)
    assert "hush" not in str(raised.value)


def test_a_server_without_tls(postgres):
    """A connection that must be encrypted and cannot be is refused."""
    assert "No encrypted connection" in refused(f"{postgres.url}?sslmode=require")


def test_newer_schema(postgres):
    """A cache of a newer version is left as it is."""
    url = postgres.another()
    PostgresStore(url).opened()
    schema = url.partition("schema=")[2]
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"UPDATE {schema}.about SET version = 99")
    assert "made by a newer memollm (schema 99, this one knows 2). Update memollm" in refused(url)


def test_a_schema_of_an_early_version(postgres):
    """A cache of a version that was never released is left as it is."""
    url = postgres.another()
    PostgresStore(url).opened()
    schema = url.partition("schema=")[2]
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute(f"UPDATE {schema}.about SET version = 1")
    assert "made by an early memollm (schema 1), which this one cannot read. It was left as it is" in refused(url)


def test_a_user_who_may_not_write(postgres):
    """Who may read and not write is told so."""
    url = postgres.another()
    PostgresStore(url).opened()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        make_guest(connection)
    said = refused(url.replace(postgres.url, postgres.url_at(postgres.port, user="guest:hush")), StoreReadOnly)
    assert "cannot be written by this user: permission denied" in said


def test_a_user_who_may_only_read_draws(postgres, guest):
    """A cache that a user may read is drawn from as a reader of one's own stands there, and nothing is kept."""
    with Cache(postgres.fresh()) as cache, Cache(guest) as other:
        answers = iter("abc")
        made = cache.cached_llm(namespace="a", name="ask", version=1)(lambda: next(answers))
        assert [made(), made()] == ["a", "b"]
        read = other.cached_llm(namespace="a", name="ask", version=1, mode="readonly")(lambda: "called")
        new = read.with_options(namespace="b")
        assert [read(), new(), new(), new()] == ["called", "a", "b", "called"]
        assert [space.draws for space in cache.namespaces()] == [2]


def test_who_may_only_read_is_warned_where_more_was_asked(postgres, guest):
    """Without being told to, such a draw goes by what is stored, with one warning."""
    with Cache(postgres.fresh()) as cache, Cache(guest) as other:
        cache.cached_llm(namespace="a", name="ask", version=1)(lambda: "a")()
        read = other.cached_llm(namespace="b", name="ask", version=1)(lambda: "called")
        with pytest.warns(NotStoredWarning, match="cannot be written by this user"):
            assert read() == "a"
        assert read() == "called"


def test_who_may_only_read_hears_of_what_is_replaced(postgres, guest):
    """What is replaced is read anew, and a cache that is made later is found."""
    now = [1000.0]
    with Cache(postgres.fresh(), clock=lambda: now[0]) as cache, Cache(guest, clock=lambda: now[0]) as other:
        answers = iter(["old", "new"])
        ask = cache.cached_llm(pool=1, ttl=10, name="ask", version=1)(lambda: next(answers))
        read = other.cached_llm(pool=1, name="ask", version=1, mode="readonly")(lambda: "called")
        assert (ask(), read(), read()) == ("old", "old", "old")
        now[0] += 11
        assert (ask(), read()) == ("new", "new")


def test_reading_where_there_is_no_cache_yet(postgres):
    """An empty database is an empty cache for who only reads, and nothing is made in it."""
    url = postgres.another()
    with Cache(url) as reading, Cache(url) as cache:
        read = reading.cached_llm(pool=1, name="ask", version=1, mode="readonly")(lambda prompt: "called")
        assert read("a") == "called"
        with psycopg.connect(postgres.url) as connection:
            schema = url.partition("schema=")[2]
            assert connection.execute("SELECT to_regnamespace(%s)", (schema,)).fetchone() == (None,)
        assert cache.cached_llm(pool=1, name="ask", version=1)(lambda prompt: "kept")("b") == "kept"
        assert read("b") == "kept"


def test_closed_store(postgres):
    """A cache that was closed says so."""
    store = PostgresStore(postgres.fresh())
    store.opened()
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="was closed"):
        store.peek(call())


def test_no_log_shows_a_password(postgres, caplog):
    """Nothing that is logged on the way shows the password."""
    caplog.set_level(logging.DEBUG)
    with Cache(postgres.fresh()) as cache:
        cache.cached_llm(lambda: 1, name="ask", version=1)()
    assert "hush" not in caplog.text


# Processes, threads and loops.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_with_connections_of_its_own(postgres):
    """A child begins anew and leaves the parent's session, locks and draws alone (P1, P5)."""
    store = PostgresStore(postgres.fresh())
    hand = Hand(store, Want(call(), "reader", 1, None))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = Hand(store, Want(call(), "reader", 1, None))
            status = 0 if (own.at, own.states) == ([1], [MINE]) else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    hand.fill(b"zero")
    assert hand.settle().void == ()
    assert Hand(store, Want(call(), "reader", 1, None)).at == [1]
    store.close()


def test_many_tasks_draw_together(postgres):
    """What the tasks of a loop ask at one time is brought to the server in few round trips, each position once (P1)."""
    with Cache(postgres.fresh()) as cache:

        @cache.cached_llm(namespace="a", name="ask", version=1)
        async def ask(prompt):
            await asyncio.sleep(0)
            return prompt

        async def draw():
            return await asyncio.gather(*(ask(at % 5) for at in range(100)))

        sent = []
        store = cache.store
        plain = store._fetched
        store._fetched = lambda *asked: sent.append(asked) or plain(*asked)
        assert asyncio.run(draw()) == [at % 5 for at in range(100)]
        assert len(sent) < 30
        assert [space.draws for space in cache.namespaces()] == [100]


def test_a_replaced_sample_is_new_in_every_process(postgres):
    """What was replaced is given by nobody any more once it was told (pool=1 with a time to live)."""
    now = [1000.0]
    answers = iter(["old", "new"])
    with Cache(postgres.fresh(), clock=lambda: now[0]) as cache, Cache(postgres.url, clock=lambda: now[0]) as other:
        ask = cache.cached_llm(pool=1, ttl=10, name="ask", version=1)(lambda: next(answers))
        read = other.cached_llm(pool=1, name="ask", version=1)(lambda: "called")
        assert (ask(), read(), read()) == ("old", "old", "old")
        now[0] += 11
        assert (ask(), read()) == ("new", "new")
