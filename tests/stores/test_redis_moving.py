"""A call of a Redis store that is being moved: what waits, what does not, and what becomes of it."""

from __future__ import annotations

import threading

import pytest
from servers import PATIENCE, require_redis

require_redis()

from memollm._types.calls import Place, Want
from memollm._types.requests import Fill
from memollm._types.samples import MINE, Sample
from memollm.errors import StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.redis import moving
from memollm.stores.redis.store import RedisStore
from memollm.stores.transfer import Lane
from memollm.testing._bench import Hand, call, written
from memollm.testing.fakes import NOON


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(RedisStore(url))


@pytest.fixture
def store(redis, opened):
    return opened(redis.fresh())


def take(store, n=1, reader="reader", of=None):
    return Hand(store, Want(of or call(), reader, n, None))


def bring(store, *records, start=0, stored=NOON, meanwhile=lambda: None):
    """Put samples into a call, of which a reader has drawn all."""

    def work(shelf):
        handle = shelf.call(call(), NOON)
        for slot, record in enumerate(records, start):
            shelf.put(handle, slot, Sample(record, stored + slot))
        shelf.draw(handle, "reader", start + len(records), given=(), free=())
        meanwhile()

    keeping(store).transfer().merge(work)


def bury(redis, store):
    """Let so much time pass that all who have something of the call are taken for dead."""
    with redis.client() as client:
        leases = f"{store.base(call())}:o"
        client.hset(leases, mapping=dict.fromkeys(client.hkeys(leases), 1))


def test_what_is_made_meanwhile_is_kept(redis, store, opened):
    """While a call is held nothing of it is given, and what was paid for is kept all the same (P7)."""
    hasty, peer = opened(f"{redis.url}?patience=0"), opened(redis.url)
    hand = take(hasty, reader="other")
    drawn = []

    def meanwhile():
        hand.fill(b"made")
        hand.settle()
        for give in (
            lambda: take(hasty),
            lambda: keeping(hasty).rewind("other"),
            lambda: keeping(hasty).forget(call()),
        ):
            with pytest.raises(StoreUnavailable, match="Another program is moving samples"):
                give()
        waiting.start()

    waiting = threading.Thread(target=lambda: drawn.append(take(peer).at))
    bring(store, b"one", b"two", start=1, meanwhile=meanwhile)
    waiting.join(PATIENCE)
    assert drawn == [[3]]
    assert [sample.record for sample in store.peek(call()).values()] == [b"made", b"one", b"two"]


def test_who_was_taken_for_dead_brings_nothing(redis, store, opened):
    """Whoever holds a call and is not heard of for its lease brings nothing of it, and may bring it again (P1)."""
    peer = opened(redis.url)
    with pytest.raises(StoreUnavailable, match="heard nothing of this process for longer than its lease"):
        bring(store, b"zero", meanwhile=lambda: (bury(redis, store), take(peer, reader="other").give_back()))
    assert store.peek(call()) == {}
    bring(store, b"zero")
    assert take(store, reader="other").records == [b"zero"]
    assert take(store).at == [1]


def test_who_fails_holds_nothing(store):
    """What fails on its way is not there, and draws go on at once."""
    with pytest.raises(ZeroDivisionError):
        bring(store, b"zero", meanwhile=lambda: 1 / 0)
    assert store.peek(call()) == {}
    assert take(store).at == [0]
    assert not store.moving


def test_a_late_fill_keeps_its_place(redis, store, opened):
    """A sample of somebody who was taken for dead, and comes meanwhile, is not put away by what is loaded (P7)."""
    peer = opened(redis.url)
    hand = take(peer, reader="other")
    bury(redis, store)
    take(store, of=call()).give_back()
    with pytest.raises(StoreUnavailable, match="one took the place of one that was to be loaded"):
        bring(store, b"zero", meanwhile=lambda: hand.fill(b"late"))
    assert [sample.record for sample in store.peek(call()).values()] == [b"late"]
    assert take(store).records == [b"late"]


@pytest.mark.parametrize("there", [0, 1, 9])
def test_many_are_brought_before(redis, store, monkeypatch, there):
    """What is too much for one script is brought aside, is nobody's until all is there, and leaves nothing behind."""
    monkeypatch.setattr(moving, "FEW", 1)
    monkeypatch.setattr(moving, "MUCH", 3)
    bring(store, *(b"there %d" % slot for slot in range(there)))
    with pytest.raises(ZeroDivisionError):
        bring(store, b"never", b"never", b"never", start=there, meanwhile=lambda: 1 / 0)
    with redis.client() as client:
        bring(store, *(b"new %d" % slot for slot in range(5)), start=there)
        assert not client.keys(f"{store.base(call())}:n:*")
        assert client.ttl(f"{store.base(call())}:s") == -1
    found = [sample.record for sample in store.peek(call()).values()]
    assert found == [*(b"there %d" % slot for slot in range(there)), *(b"new %d" % slot for slot in range(5))]
    assert take(store).at == [there + 5]


def test_lanes_that_are_recorded_stay(store):
    """A position that is a lane's is that one's, and of more than one script's worth all are recorded."""
    many = 2500

    def work(shelf):
        handle = shelf.call(call(), NOON)
        shelf.record(handle, Lane("namespace:a", "left", [1]))
        shelf.record(handle, Lane("namespace:a", "right", range(many)))
        assert shelf.end(handle) == many

    keeping(store).transfer().merge(work)
    standing = store.looking.standing("namespace:a", call())
    assert standing.lanes == {at: "left" if at == 1 else "right" for at in range(many)}
    assert Hand(store, Want(call(), "namespace:a", 1, None, "left")).states == [MINE]


def test_an_answer_that_was_lost_brings_nothing_twice(store, monkeypatch):
    """Asked again, a script that has let all be there does nothing more, and says the same."""
    plain = store.run

    def run(commands):
        answers = plain(commands)
        return plain(commands) if commands[0].arguments[1] in {"hold", "join"} else answers

    monkeypatch.setattr(store, "run", run)
    bring(store, b"zero")
    assert take(store, reader="other").records == [b"zero"]
    written(store, [Fill(store.flights.depart(), Place(call(), 1), Sample(b"one", NOON))])
    assert store.looking.readers()[0].draws == 1
