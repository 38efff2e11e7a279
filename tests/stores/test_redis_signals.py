"""Signals whose handlers raise, in the middle of what the client of Redis does: the exception comes out as it is."""

import signal
import socket
import threading

import pytest
from hands import calls_of_all, stock, take, want
from servers import require_redis

require_redis()

from memollm import Cache, cached_llm
from memollm._types.requests import Take
from memollm.errors import StoreUnavailable
from memollm.stores.redis.store import RedisStore

KINDS = [TimeoutError, ConnectionResetError, OSError, ValueError]
WHERE = ["sendall", "recv"]


pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture
def strike(monkeypatch):
    """Have a signal come in the middle of the next work of a socket that is of a kind; its handler raises."""
    before = signal.getsignal(signal.SIGUSR1)

    def strike(name, raised):
        plain, due = getattr(socket.socket, name), [raised]

        def handle(number, frame):
            raise due.pop()

        def struck(sock, *args):
            if due and threading.current_thread() is threading.main_thread():
                signal.raise_signal(signal.SIGUSR1)
            return plain(sock, *args)

        signal.signal(signal.SIGUSR1, handle)
        monkeypatch.setattr(socket.socket, name, struck)
        return raised

    yield strike
    signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def cache(redis, closing):
    return closing(Cache(redis.fresh()))


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_handler_raises_comes_out_of_the_draw(cache, strike, kind, where):
    """A time-out of the user's is no time-out of the server: it is neither lost nor tried again (P3)."""
    made = []

    @cached_llm(cache=cache, namespace="one", version="1")
    def ask(text):
        made.append(text)
        return len(made)

    assert ask.draw(2, "x") == [1, 2]
    other = ask.with_options(namespace="other")
    raised = strike(where, kind("of the user"))
    with pytest.raises(kind) as seen:
        other("x")
    assert seen.value is raised
    assert other.draw(2, "x") == [1, 2]
    assert len(made) == 2


@pytest.mark.parametrize("where", ["connect", *WHERE])
def test_what_a_handler_raises_comes_out_of_the_opening(redis, closing, strike, where):
    """A cache that was interrupted as it opened is opened by the next draw, and nothing is said of its server."""
    ask = cached_llm(len, cache=closing(Cache(redis.fresh())), name="ask", version="1")
    raised = strike(where, TimeoutError("of the user"))
    with pytest.raises(TimeoutError) as seen:
        ask("x")
    assert seen.value is raised
    assert ask("x") == 1


@pytest.mark.parametrize("where", WHERE)
def test_what_a_handler_raises_says_nothing_of_a_node(cluster, closing, strike, where):
    """A node in the middle of whose answer a handler raises is not taken for one that is away."""
    store = closing(RedisStore(cluster.fresh()))
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", of=each)
    tickets = [store.flights.depart() for _ in calls]
    raised = strike(where, TimeoutError("of the user"))
    with pytest.raises(TimeoutError) as seen:
        store.perform([Take(ticket, [want(of=each)]) for ticket, each in zip(tickets, calls, strict=True)])
    assert seen.value is raised
    assert store.opened().way.away == []
    for ticket in tickets:
        store.flights.arrive(ticket)
    assert [take(store, of=each).at for each in calls] == [[0]] * 3


def test_what_was_handled_before_is_not_raised_again():
    """A server that fails while the program handles a time-out of its own has failed."""
    ask = cached_llm(len, cache="redis://127.0.0.1:1/0?patience=0", name="ask", version="1", on_store_error="raise")

    def fail():
        raise TimeoutError("of the user")

    try:
        fail()
    except TimeoutError:
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            ask("x")
