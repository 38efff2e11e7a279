"""What draws ask of a Redis server, or of a cluster: those of calls that are new to a process, and many at once."""

import threading

import pytest
from hands import stock, take
from servers import require_redis

require_redis()

from memollm import Cache, cached_llm
from memollm._types.calls import Place, Want
from memollm._types.requests import Look, Take
from memollm._types.samples import MINE
from memollm.errors import ChangeRefused, NotStoredWarning, StoreRefused
from memollm.stores.looking import looking
from memollm.stores.redis.connections import Channel
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import call, written

EMPTIED = r"was emptied while this program used it: by FLUSHALL"


@pytest.fixture(params=["redis", "cluster"])
def server(request):
    """Give a server, or a cluster."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(RedisStore(url))


@pytest.fixture
def waits(monkeypatch):
    """List what a test sends and reads, in its order."""
    seen = []

    def noting(name, plain):
        def note(wire, *arguments):
            if threading.current_thread() is threading.main_thread():
                seen.append(name)
            return plain(wire, *arguments)

        monkeypatch.setattr(Channel, name, note)

    for name in ("send", "read"):
        noting(name, getattr(Channel, name))
    return seen


def test_the_first_draw_of_calls_is_one_round_trip(server, opened, waits):
    """All is sent before anything is read, whether calls are stored or new, and all of them are listed."""
    store, calls = opened(server.fresh()), [call(f"question {number}") for number in range(12)]
    for each in calls[:6]:
        stock(store, b"0", of=each)
    peer = opened(server.url)
    for number in range(12):
        # Every node is connected to, and knows the script.
        take(peer, of=call(f"another {number}")).settle()
    waits.clear()
    taken = peer.perform([Take(peer.flights.depart(), [Want(each, "reader", 1, None)]) for each in calls])
    assert waits == sorted(waits, reverse=True)
    assert [state is MINE for (each,) in taken for state in each.states] == [False] * 6 + [True] * 6
    assert {each.call for each in looking(store).calls(call().function)} >= {*calls}


def test_nothing_is_given_by_a_cache_that_has_taken_the_place_of_an_emptied_one(server, opened):
    """Who has opened the one that was emptied is refused, and has drawn, claimed and filled nothing (P1, P3)."""
    store = opened(server.fresh())
    lost = [take(store, of=call("filled too late")), take(store)]
    server.fresh()
    peer = opened(server.url)
    stock(peer, b"0", b"1", of=call("stored"))
    for of in (call("stored"), call("new")):
        with pytest.raises(StoreRefused, match=EMPTIED):
            take(store, of=of)
    (refused,) = store.perform([Look(store.flights.depart(), [Place(call("new"), 0)])])
    assert isinstance(refused, StoreRefused)
    with pytest.raises(StoreRefused, match=EMPTIED):
        written(store, lost[0].fills(b"paid"))
    assert peer.peek(call("filled too late")) == {}
    assert take(peer, of=call("stored")).at == [0]
    new = take(peer, of=call("new"))
    assert (new.at, new.states) == ([0], [MINE])


def test_what_is_left_of_an_emptied_cache_is_given_to_nobody_who_knew_it(server, opened, monkeypatch):
    """A call that somebody touched after the cache was emptied is refused to who has drawn it before, too (P1, P3)."""
    store = opened(server.fresh())
    late, peer = opened(server.url), opened(server.url)
    late.opened()
    stock(store, b"0")
    assert take(peer).at == [0]
    filling = take(peer)
    server.fresh()
    # Nor is anything left to somebody's care, who may die at this moment.
    monkeypatch.setattr(late, "_undo", lambda *_: None)
    for program in (late, store, peer, store, late):
        with pytest.raises(StoreRefused, match=EMPTIED):
            take(program)
    with pytest.raises(StoreRefused, match=EMPTIED):
        written(peer, filling.fills(b"paid"))
    assert peer.peek(call()) == {}


def test_what_is_made_as_the_cache_is_emptied_is_returned_and_not_kept(server, closing, monkeypatch):
    """It was paid for, and what the program remembers is given still; what asks the server is refused (P7)."""
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a secret of the whole team")
    cache, made = closing(Cache(server.fresh())), []

    @cached_llm(cache=cache, version="1")
    def ask(text):
        made.append(text)
        if len(made) > 1:
            server.fresh()
        return len(made)

    memo = ask.with_options(pool=1)
    assert memo("known") == 1
    with pytest.warns(NotStoredWarning, match=EMPTIED):
        assert ask("x") == 2
    for draw in (ask, memo):
        with pytest.raises(StoreRefused, match=EMPTIED):
            draw("x")
    assert memo("known") == 1
    assert len(made) == 2


@pytest.mark.parametrize("count", [1, 2])
def test_a_call_of_a_cache_that_was_begun_anew_is_refused_to_who_knew_it(server, opened, count):
    """What others have stored since the cache was emptied is not given as that of the former (P1)."""
    store = opened(server.fresh())
    stock(store, b"0", b"1")
    assert take(store).at == [0]
    server.fresh()
    stock(opened(server.url), b"new", b"newer", b"newest")
    with pytest.raises(StoreRefused, match=EMPTIED):
        take(store, count)
    assert take(opened(server.url)).at == [0]


def test_draws_at_once_are_answered_as_each_alone(server, opened):
    """Draws of many calls are told what is stored or missing, and one that cannot be sent fails alone (P3)."""
    store = opened(server.fresh())
    calls = [call(f"question {number}") for number in range(8)]
    for each in calls[:6]:
        stock(store, b"zero", b"one", of=each)
    take(store, of=calls[7]).settle()
    wants = [
        Want(calls[0], "reader", 1, None),
        Want(calls[1], "reader", 2, None),
        Want(calls[2], "reader", 1, 1),
        Want(calls[3], "reader", 1, None, "lane"),
        Want(calls[4], None, 1, None),
        Want(calls[5], "no text \ud800", 1, None),
        Want(calls[6], "reader", 1, None),
        Want(calls[7], "reader", 1, None),
    ]
    for expected in ("zero", "one"):
        *answers, new, again = store.perform([Take(store.flights.depart(), [want]) for want in wants])
        refused = answers.pop(5)
        assert isinstance(refused, ChangeRefused)
        assert "UTF-8" in str(refused)
        records = [[state.record.decode() for state in taken.states if state is not MINE] for (taken,) in answers]
        told = [[expected], ["zero", "one"] if expected == "zero" else [], ["zero"], [expected], ["zero"]]
        assert records == told
        assert new[0].states == again[0].states == [MINE]
