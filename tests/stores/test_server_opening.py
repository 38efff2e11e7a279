"""Opening a store of a server: what URLs say, what is refused and how, who is waited for, and what is shown."""

import asyncio
import logging
import os
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import SimpleNamespace

import pytest
from servers import Proxy, free_port

import memollm
from memollm import Cache, OptionError
from memollm._types.calls import Want
from memollm._types.samples import MINE
from memollm.cli._running import run
from memollm.errors import MemollmWarning, StoreClosed, StoreRefused, StoreUnavailable
from memollm.stores import serving
from memollm.stores.listening import UNKNOWN
from memollm.testing._bench import Hand, call
from memollm.testing.fakes import NOON

pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture
def refused(kind):
    """Return what is said of a store that cannot be opened; nothing of it shows a password."""

    def say(url, error=StoreRefused):
        store = kind.store(url)
        with pytest.raises(error) as raised:
            Hand(store, Want(call(), "reader", 1, None))
        store.close()
        assert "hush" not in f"{raised.value}{store!r}"
        return str(raised.value)

    return say


# URLs.


def test_a_url_is_a_cache(kind):
    """A cache is opened by its URL as one on disk is by its path, and two of one URL share what they hold."""
    calls = []
    with Cache(kind.server.fresh()) as cache, Cache(kind.server.url) as other:
        first = cache.cached_llm(namespace="a", name="ask", version=1)(
            lambda prompt: calls.append(prompt) or len(calls)
        )
        again = other.cached_llm(namespace="b", name="ask", version=1)(
            lambda prompt: calls.append(prompt) or len(calls)
        )
        assert [first("x"), first("x"), again("x"), again("x"), again("x")] == [1, 2, 1, 2, 3]
        assert [each.name for each in cache.namespaces()] == ["a", "b"]
        assert "hush" not in f"{cache!r}{other!r}"


def test_functions_share_the_engine_of_a_url(kind):
    """What is decorated with one URL draws from one cache of this process."""
    url = kind.server.fresh()
    first = memollm.cached_llm(cache=url, name="ask", version=1, namespace="a")(lambda: "x")
    second = memollm.cached_llm(cache=url, name="ask", version=1, namespace="a")(lambda: "y")
    assert (first(), second(), first.with_options(namespace="b")()) == ("x", "y", "x")
    memollm._calls.engines._opened[url].close()


@pytest.mark.parametrize("query", ["pool=0", "pool=many", "patience=-1", "patience=1&patience=2", "nonsense"])
def test_a_wrong_parameter_is_refused(kind, query):
    """What cannot be meant is refused at once, and the password is not shown."""
    with pytest.raises(OptionError, match=rf"^cache='{kind.name}://…@host/0") as raised:
        Cache(f"{kind.name}://me:hush@host/0?{query}")
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("name", ["{x}", "", "a b", "x" * 41])
def test_a_wrong_part_is_refused(kind, name):
    """A cache of several on a server has a name that the server can have."""
    with pytest.raises(OptionError, match=f"{kind.part}"):
        Cache(f"{kind.name}://me:hush@host/0?{kind.part}={name}")


def test_parts_are_stores_of_their_own(kind):
    """Two caches of one server share nothing."""
    for url in (kind.server.fresh(), kind.server.another()):
        with Cache(url) as cache:
            assert cache.cached_llm(lambda url=url: url, name="ask", version=1, namespace="a")() == url


def test_a_project_cannot_name_a_server(kind, project):
    """A project may come from anybody; what it says is shown without the password."""
    (project / "pyproject.toml").write_text(f'[tool.memollm]\ncache = "{kind.name}://me:hush@host/0"\n')
    with pytest.raises(OptionError, match="lies outside of the project") as raised:
        memollm._calls.configuration.Configuration().get("cache")
    assert "hush" not in str(raised.value)


def test_a_team_without_a_key_is_told(kind, monkeypatch):
    """Who opens a shared cache without a shared key learns once what that means, and how to make one."""
    monkeypatch.delenv("MEMOLLM_SIGNING_KEY")
    with pytest.warns(MemollmWarning, match=r"MEMOLLM_SIGNING_KEY is not set.*token_hex") as warned:
        Cache(kind.server.url).close()
    assert "hush" not in str(warned[0].message)


# What is refused.


def test_wrong_password(kind, refused):
    """The sentence says what to look at, and nobody waits."""
    assert "refuses this user. Check the name and the password" in refused(kind.wrong_login)


def test_no_such_database(kind, refused):
    """A database is not made by itself, and nobody waits for it."""
    assert kind.no_database in refused(kind.wrong_database)


def test_newer_schema(kind, refused):
    """A cache of a newer version is left as it is."""
    url = kind.server.another()
    kind.make_newer(kind.server, url)
    assert re.search(r"made by a newer memollm \(schema 99, this one knows \d\)\. Update memollm", refused(url))


def test_what_is_not_waited_for(kind, monkeypatch):
    """A name that nobody knows, and a machine that does not answer, are told of as soon as they are known."""
    monkeypatch.setattr(serving, "warn", lambda *_: pytest.fail("it waits"))
    for error in kind.not_away:
        store = kind.store(kind.closed.format(1))

        def fail(store=store, error=error):
            raise store.translated(error) from error

        monkeypatch.setattr(store, "_open", fail)
        with pytest.raises(StoreUnavailable):
            store.opened()


# Who is waited for.


def test_no_server(kind, refused):
    """Where nobody is to be waited for, opening says at once that nobody listens."""
    said = refused(f"{kind.closed.format(free_port())}?patience=0", StoreUnavailable)
    assert "cannot be reached: " in said
    assert said.endswith("Check that the server runs and that the URL is right.")


def begun(monkeypatch, begin):
    """Let something begin when somebody waits for it; return what was told of that."""
    told = []
    monkeypatch.setattr(serving, "warn", lambda text, _: (told.append(text), begin()))
    return told


def test_a_server_that_comes_is_waited_for(kind, monkeypatch):
    """A program that begins before its server is told that it waits, and keeps what it pays for (P7)."""
    kind.server.fresh()
    port, proxies = free_port(), []
    told = begun(monkeypatch, lambda: proxies.append(Proxy(kind.server.port, at=port)))
    with Cache(kind.server.url.replace(f":{kind.server.port}", f":{port}")) as cache:
        ask = cache.cached_llm(namespace="a", name="ask", version=1)(lambda: "answer")
        assert ask() == "answer"
        assert [space.draws for space in cache.namespaces()] == [1]
    proxies[0].close()
    assert len(told) == 1
    assert "is waited for, 20 seconds at most" in told[0]
    assert "hush" not in told[0]


def test_a_server_that_does_not_come_is_waited_for_once(kind, monkeypatch):
    """Who has waited in vain is refused at once from then on, until the server is there (P7)."""
    told = begun(monkeypatch, lambda: None)
    port = free_port()
    store = kind.store(kind.server.fresh().replace(f":{kind.server.port}", f":{port}") + "?patience=0.05")
    for _ in range(3):
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            store.peek(call())
    assert len(told) == 1
    proxy = Proxy(kind.server.port, at=port)
    assert store.peek(call()) == {}
    store.close()
    proxy.close()


@pytest.fixture
def silent(kind, monkeypatch):
    """Return the URL of a port that takes connections and says nothing, and those that it has taken."""
    taken = []
    monkeypatch.setattr(serving, "warn", lambda *_: None)
    kind.asks_nobody(monkeypatch)

    def take():
        with suppress(OSError):
            while True:
                taken.append(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        taking = threading.Thread(target=take, daemon=True)
        taking.start()
        yield kind.closed.format(listener.getsockname()[1]) + kind.soon, taken
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
    taking.join(30)
    for each in taken:
        each.close()


def test_a_server_that_says_nothing_is_tried_once_for_all(kind, silent, monkeypatch):
    """First draws of many threads take what one takes, and the next draws are told what that has come to (P7)."""
    monkeypatch.setattr(serving, "TOLD_AGAIN", 1000)
    url, taken = silent
    with Cache(url) as cache:
        ask = cache.cached_llm(lambda n: n, namespace="a", name="ask", version=1, on_store_error="raise")

        def draw(n):
            with pytest.raises(StoreUnavailable) as raised:
                ask(n)
            return str(raised.value)

        with ThreadPoolExecutor(8) as threads:
            said = {*threads.map(draw, range(8))}
        assert {draw(8), draw(9)} == said
        assert len(said) == 1
        assert len(taken) == kind.tries
        # Some time later it is tried again, and not as long.
        monkeypatch.setattr(serving, "TOLD_AGAIN", -1)
        with pytest.raises(StoreUnavailable):
            cache.store.peek(call())
    assert len(taken) == kind.tries + 1


def test_a_slow_server_is_waited_for_and_told_of(kind, monkeypatch):
    """A server that begins to speak while it is waited for is used as any other."""
    told = []
    kind.asks_nobody(monkeypatch)
    monkeypatch.setattr(serving, "warn", lambda text, _: told.append(text))
    with kind.slow(monkeypatch), Cache(kind.server.fresh()) as cache:
        assert cache.cached_llm(lambda: "answer", namespace="a", name="ask", version=1)() == "answer"
        assert [space.draws for space in cache.namespaces()] == [1]
    assert len(told) == 1
    assert "says nothing so far" in told[0]
    assert "hush" not in told[0]


@pytest.fixture
def trying(kind, monkeypatch):
    """Return a store, and events: an attempt of it to open has begun, and may fail."""
    store = kind.store(kind.closed.format(1))
    has_begun, may_fail, attempts = threading.Event(), threading.Event(), []

    def attempt():
        attempts.append(1)
        has_begun.set()
        assert may_fail.wait(30)
        raise store.translated(kind.not_away[-1]) from kind.not_away[-1]

    monkeypatch.setattr(store, "_open", attempt)
    return store, has_begun, may_fail, attempts


def failure(store):
    with pytest.raises(StoreUnavailable) as raised:
        store.opened()
    return str(raised.value)


def test_who_waits_for_another_thread_shares_its_failure(trying, monkeypatch):
    """An attempt that failed while one waited for it is not made again."""
    monkeypatch.setattr(serving, "TOLD_AGAIN", -1)
    store, has_begun, may_fail, attempts = trying
    waiting, plain = threading.Semaphore(0), store._opening

    class Told:
        """The lock of the opening, which tells who wants it."""

        def __enter__(self):
            waiting.release()
            plain.acquire()

        def __exit__(self, *_):
            plain.release()

    store._opening = Told()
    with ThreadPoolExecutor(3) as threads:
        said = [threads.submit(failure, store) for _ in range(3)]
        for _ in range(3):
            assert waiting.acquire(timeout=30)
        assert has_begun.wait(30)
        may_fail.set()
        assert len({each.result(30) for each in said}) == 1
    assert len(attempts) == 1
    failure(store)
    assert len(attempts) == 2


def test_one_thread_tries_a_silent_server_again(trying, monkeypatch):
    """While one tries it, all others are told at once what the last attempt has come to."""
    monkeypatch.setattr(serving, "TOLD_AGAIN", -1)
    store, has_begun, may_fail, attempts = trying
    may_fail.set()
    said = failure(store)
    has_begun.clear()
    may_fail.clear()
    with ThreadPoolExecutor(1) as threads:
        again = threads.submit(failure, store)
        assert has_begun.wait(30)
        try:
            assert failure(store) == said
        finally:
            may_fail.set()
        assert again.result(30) == said
    assert len(attempts) == 2


def test_a_store_that_is_closed_waits_no_more(kind, monkeypatch):
    """Closing ends the waiting of another thread at once."""
    store = kind.store(kind.closed.format(free_port()))
    begun(monkeypatch, lambda: setattr(store, "_closed", True))
    with pytest.raises(StoreUnavailable):
        store.peek(call())


def test_a_command_waits_for_a_moment(kind, monkeypatch, capsys):
    """Whoever sits before a command is told what it waits for, and it does not wait as long as a program."""
    told, pauses, now = begun(monkeypatch, lambda: None), [], [0.0]

    def sleep(seconds):
        pauses.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(serving, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: now[0]))
    assert run(["--cache", kind.closed.format(free_port()), "ls"]) == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert "3 seconds at most" in told[0]
    assert 3 <= sum(pauses) < 4


# Using it.


def test_closed_store(kind):
    """A cache that was closed says so."""
    store = kind.store(kind.server.fresh())
    store.opened()
    store.close()
    store.close()
    with pytest.raises(StoreClosed, match="was closed"):
        store.peek(call())


def test_no_log_shows_a_password(kind, caplog):
    """Nothing that is logged on the way shows the password."""
    caplog.set_level(logging.DEBUG)
    with Cache(kind.server.fresh()) as cache:
        cache.cached_llm(lambda: 1, name="ask", version=1)()
    assert "hush" not in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_with_connections_of_its_own(kind):
    """A child begins anew and leaves the parent's connections, leases, locks and draws alone (P1, P5)."""
    store = kind.store(kind.server.fresh())
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
    # It is told still of what is replaced.
    before, peer = store.epoch(), kind.store(kind.server.url)
    replacing = Hand(peer, Want(call(), None, 1, None), newer_than=NOON)
    replacing.fill(b"new", stored=NOON + 1)
    replacing.settle()
    assert store.epoch() not in {before, UNKNOWN}
    peer.close()
    store.close()


def test_many_tasks_draw_together(kind):
    """What the tasks of a loop ask at one time is brought to the server in few round trips, each position once (P1)."""
    with Cache(kind.server.fresh()) as cache:

        @cache.cached_llm(namespace="a", name="ask", version=1)
        async def ask(prompt):
            await asyncio.sleep(0)
            return prompt

        async def draw():
            return await asyncio.gather(*(ask(at % 5) for at in range(100)))

        sent = []
        store = cache.store
        plain = getattr(store, kind.send)
        setattr(store, kind.send, lambda *asked: sent.append(asked) or plain(*asked))
        assert asyncio.run(draw()) == [at % 5 for at in range(100)]
        assert len(sent) < 30
        assert [space.draws for space in cache.namespaces()] == [100]


def test_a_replaced_sample_is_new_in_every_process(kind):
    """What was replaced is given by nobody any more once it was told (pool=1 with a time to live)."""
    now = [1000.0]
    answers = iter(["old", "new"])
    url = kind.server.fresh()
    with Cache(url, clock=lambda: now[0]) as cache, Cache(url, clock=lambda: now[0]) as other:
        ask = cache.cached_llm(pool=1, ttl=10, name="ask", version=1)(lambda: next(answers))
        read = other.cached_llm(pool=1, name="ask", version=1)(lambda: "called")
        assert (ask(), read(), read()) == ("old", "old", "old")
        now[0] += 11
        assert (ask(), read()) == ("new", "new")
