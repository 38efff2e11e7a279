"""Opening a PostgreSQL store: what URLs say, what is refused and how, and what is shown of a password."""

import socket
import socketserver
import threading
import warnings
from unittest import mock

import pytest
from servers import make_guest, require_psycopg, until

psycopg = require_psycopg()

from psycopg.conninfo import conninfo_to_dict

from memollm import Cache, OptionError, namespace
from memollm._types.calls import Place, Want
from memollm._types.requests import Fill, Write
from memollm._types.samples import Sample
from memollm.errors import (
    NotStoredWarning,
    StoreReadOnly,
    StoreRefused,
    StoreUnavailable,
)
from memollm.stores.postgres import foreign
from memollm.stores.postgres.address import address_of
from memollm.stores.postgres.foreign import Connecting
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import Hand, call
from memollm.testing.fakes import NOON

pytestmark = pytest.mark.usefixtures("team_key")


def refused(url, error=StoreRefused):
    """Return what is said of a store that cannot be opened; nothing of it shows a password."""
    store = PostgresStore(url)
    with pytest.raises(error) as raised:
        Hand(store, Want(call(), "reader", 1, None))
    store.close()
    assert "hush" not in f"{raised.value}{store!r}"
    return str(raised.value)


# URLs.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hush@host/db", "postgresql://…@host/db"),
        ("postgresql://host/db?password=hush&schema=a", "postgresql://host/db?password=…&schema=a"),
        ("postgresql://host/db?direct=me:hush@other:1", "postgresql://…@other:1"),
    ],
)
def test_no_password_is_shown(url, shown):
    """Whatever stands where a password may stand is left out of what is shown."""
    assert repr(Cache(url)) == f"Cache({shown!r})"


@pytest.mark.parametrize("password", ["hush@hush", "hush@/?:x", "hush/x", "hu?sh", "hu#sh"])
def test_a_password_that_is_not_encoded(password):
    """What makes it no URL is named, and nothing of the password is shown."""
    with pytest.raises(OptionError, match=r"characters such as .* percent-encoded") as raised:
        Cache(f"postgresql://me:{password}@host/db")
    assert str(raised.value).startswith("cache='postgresql://…@host/db': ")


def test_a_parameter_that_nobody_knows():
    """What neither we nor the client know is the user's own mistake, and the nearest known one is named."""
    with pytest.raises(OptionError, match=r"no parameter shema=\. Did you mean schema=\?"):
        Cache("postgresql://me:hush@host/db?shema=x")
    with pytest.raises(OptionError, match=r"no parameter qqq=\.$"):
        Cache("postgresql://me:hush@host/db?qqq=1")
    assert address_of("postgresql://host/db?ssl=true&application_name=x").conninfo.endswith(
        "ssl=true&application_name=x"
    )


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


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me:pw@a:5432,b:5433/db?target_session_attrs=any",
        "postgresql://me:pw@[::1]:5432,[::2]:5433/db",
        "postgresql:///db?host=%2Ftmp",
        "postgresql:///db",
    ],
)
def test_the_client_is_told_what_the_url_says(url):
    """Several hosts, and none, are left as they are, and no password is shown of them."""
    address = address_of(url + ("&" if "?" in url else "?") + "schema=team")
    assert conninfo_to_dict(address.conninfo) == conninfo_to_dict(address.direct) == conninfo_to_dict(url)
    assert "pw" not in address.shown


@pytest.fixture
def silent():
    """Give a port at which nobody listens, nor will."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def test_of_several_servers_the_one_is_meant_that_takes_changes(postgres, silent):
    """One that only reads is passed over, unless the URL says another; the direct connection goes to the same."""
    url = postgres.fresh().replace(f":{postgres.port}/", f":{silent},127.0.0.1:{postgres.port}/")
    reads_only = "?options=-c%20default_transaction_read_only%3Don"
    with Cache(url) as cache:
        assert cache.cached_llm(lambda prompt: "kept", name="ask", version=1)("x") == "kept"
    assert "session is read-only" in refused(f"{url}{reads_only}&patience=0", StoreUnavailable)
    said = refused(f"{url}{reads_only}&target_session_attrs=any", StoreReadOnly)
    assert "takes no changes, as a standby does" in said
    assert "Name the primary in the URL, or both servers" in said


# What is refused.


def test_redis_where_postgresql_was_expected(monkeypatch):
    """What waits for more and says nothing, as Redis does, is found out by asking as it is asked itself."""
    monkeypatch.setattr(foreign, "PATIENCE", 0.01)

    class Foreign(socketserver.StreamRequestHandler):
        def handle(self):
            if self.rfile.readline() == b"PING\r\n":
                self.wfile.write(b"-NOAUTH Authentication required.\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Foreign) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        said = refused(f"postgresql://me:hush@127.0.0.1:{server.server_address[1]}/db?connect_timeout=100")
        server.shutdown()
    assert "no PostgreSQL server: it says '-NOAUTH Authentication required.'" in said
    assert "redis:// may be meant" in said


def test_a_connection_that_comes_too_late_is_ended(monkeypatch):
    """Who has left while a connection was being made leaves none behind."""
    monkeypatch.setattr(foreign, "PATIENCE", 0.01)
    ended, may_connect = [], threading.Event()

    def connect():
        assert may_connect.wait(30)
        return "made"

    def leave():
        raise KeyboardInterrupt

    connecting = Connecting(connect, ended.append)
    with pytest.raises(KeyboardInterrupt):
        connecting.result(leave, lambda: None)
    assert ended == []
    may_connect.set()
    until(lambda: ended == ["made"])


def test_who_waits_for_a_connection_is_told():
    """A connection that is long in coming is told of once it was asked who answers, and is used all the same."""
    with mock.patch.object(foreign, "PATIENCE", 0.01):
        looked, told = [], threading.Event()
        connecting = Connecting(lambda: told.wait(30) and "made", lambda _: pytest.fail("it is used"))
        assert connecting.result(lambda: looked.append(told.is_set()), told.set) == "made"
    assert looked[:2] == [False, False]


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


def test_a_user_who_may_not_even_read(postgres):
    """Who only looks is told what reading needs, and not that something could not be written."""
    url = postgres.another()
    PostgresStore(url).opened()
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        make_guest(connection)
    guest = url.replace(postgres.url, postgres.url_at(postgres.port, user="guest:hush"))
    store = PostgresStore(guest).reader()
    with pytest.raises(StoreRefused, match=r"cannot be read by this user.*GRANT USAGE ON SCHEMA test_\d+ TO NAME"):
        store.missing()
    with pytest.raises(StoreRefused, match="GRANT SELECT ON ALL TABLES"):
        store.peek(call())
    store.close()


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
        with pytest.raises(StoreReadOnly, match="cannot be written by this user"):
            read.with_options(on_store_error="raise")()
        with pytest.warns(NotStoredWarning, match="cannot be written by this user"):
            assert read() == "a"
        assert read() == "called"


def test_that_a_cache_takes_nothing_is_said_once(postgres):
    """However many functions and readers there are, one warning tells why nothing is kept."""
    url = f"{postgres.fresh()}?options=-c%20default_transaction_read_only%3Don"
    with Cache(postgres.url) as cache, Cache(url) as other, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", NotStoredWarning)
        cache.cached_llm(lambda prompt: "stored", name="ask", version=1)("x")
        ask = other.cached_llm(lambda prompt: "made", name="ask", version=1)
        once = other.cached_llm(lambda prompt: "made", name="once", version=1, pool=1)
        for name in "abc":
            with namespace(name):
                assert [ask("x"), ask("x"), once(name)] == ["stored", "made", "made"]
    assert ["default_transaction_read_only" in str(each.message) for each in told] == [True]


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


# Processes, threads and loops.


# What a role or a database sets.


@pytest.fixture
def opened_with(postgres, monkeypatch):
    """Make stores whose connections begin with other settings."""
    stores = []

    def make(url, **settings):
        monkeypatch.setenv("PGOPTIONS", " ".join(f"-c{name}={value}" for name, value in settings.items()))
        stores.append(PostgresStore(url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    "setting",
    [
        {"standard_conforming_strings": "off"},
        {"client_encoding": "SQL_ASCII"},
        {"client_encoding": "LATIN1"},
        {"default_transaction_isolation": r"repeatable\ read"},
        {"default_transaction_isolation": "serializable"},
    ],
    ids=str,
)
def test_a_setting_of_the_role_changes_no_record(setting, postgres, opened_with):
    """What a role, a database or PGOPTIONS sets for strings, texts and isolation is set as draws need it."""
    store = opened_with(postgres.fresh(), **setting)
    record = bytes(range(256)) + rb"\x5c\\"
    hand = Hand(store, Want(call("naïve ☃"), "reader", 1, None))
    place = Place(call("naïve ☃"), 0)
    store.perform([Write(store.flights.new_id(), (Fill(hand.ticket, place, Sample(record, NOON)),))])
    assert store.peek(place.call)[0].record == record
    ((isolation,),) = _asked(store, "SHOW default_transaction_isolation")
    assert isolation == "read committed"


@pytest.mark.parametrize(("said", "has"), [("off", "on"), ("local", "local")])
def test_no_role_loses_what_was_delivered(said, has, postgres, opened_with):
    """A commit is on the disk before it is answered (P7); what of standbys is waited for is the role's to say."""
    store = opened_with(postgres.fresh(), synchronous_commit=said)
    assert _asked(store, "SHOW synchronous_commit") == [(has,)]


@pytest.mark.parametrize(
    ("name", "said"), [("synchronous_commit", "off"), ("default_transaction_isolation", "serializable")]
)
def test_what_cannot_be_set_behind_a_pooler_is_refused(name, said, postgres, monkeypatch):
    """Where sessions may be shared, a setting does not stay, so the role's own has to be right."""
    monkeypatch.setenv("PGOPTIONS", f"-c{name}={said}")
    text = refused(f"{postgres.fresh()}?direct=127.0.0.1:{postgres.port}")
    assert f"its sessions begin with {name} = {said}" in text
    assert f"ALTER ROLE NAME SET {name}" in text


def _asked(store, statement):
    with store.opened().connections.lent() as connection:
        return connection.execute(statement).fetchall()


# What a timeout, an operator or another transaction stops.


def test_what_a_timeout_stops_is_asked_once_more(postgres, opened_with):
    """The sentence names the settings, and the server was asked twice."""
    store, asked = opened_with(postgres.fresh()), []

    def sleep(connection):
        asked.append(1)
        connection.execute("SET LOCAL statement_timeout = 1")
        connection.execute("SELECT pg_sleep(9)")

    with pytest.raises(StoreUnavailable, match="statement_timeout or lock_timeout of the role"):
        store.changed(sleep)
    assert len(asked) == 2


@pytest.mark.parametrize("raised", [psycopg.errors.DeadlockDetected, psycopg.errors.AdminShutdown])
def test_what_was_rolled_back_is_done_again(raised, postgres, opened_with):
    """A deadlock, or the end of a connection, before the end of a transaction is no reason to fail."""
    store, asked = opened_with(postgres.fresh()), []

    def once(connection):
        asked.append(connection.execute("SELECT 1").fetchone())
        if len(asked) == 1:
            raise raised("stopped")
        return "done"

    assert store.changed(once) == "done"
    assert len(asked) == 2


def test_a_deadlock_says_nothing_of_the_url(postgres, opened_with):
    """Whoever lost to others is told that nothing was done."""
    store = opened_with(f"{postgres.fresh()}?patience=0")

    def lose(connection):
        raise psycopg.errors.DeadlockDetected("deadlock detected")

    with pytest.raises(StoreUnavailable, match="Nothing of it was done") as raised:
        store.changed(lose)
    assert "URL is right" not in str(raised.value)


def test_a_connection_lost_at_the_end_leaves_open_whether_it_was_done(postgres, opened_with):
    """What cannot be asked twice is not, and the user is told to look."""
    store, asked = opened_with(postgres.fresh()), []

    def leave(connection):
        asked.append(1)
        with store.opened().connections.lent() as other:
            other.execute("SELECT pg_terminate_backend(%s, 9000)", (connection.pgconn.backend_pid,))

    with pytest.raises(StoreUnavailable, match="not known whether it was done"):
        store.changed(leave)
    assert len(asked) == 1
