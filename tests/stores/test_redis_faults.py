"""Redis stores whose server, network or process fails."""

import contextlib
import threading
import time

import pytest
from hands import stock, take
from kinds import redis_kind
from servers import PATIENCE, Proxy, require_redis, until

require_redis()

from redis.exceptions import RedisError, ResponseError

from memollm._types.calls import Want
from memollm._types.requests import Settle, Take
from memollm._types.samples import MINE, Busy
from memollm._upkeep.transfer.exporting import snapshot_of
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.redis.connections import Channel
from memollm.stores.redis.store import RedisStore
from memollm.stores.transfer import Part
from memollm.testing._bench import asked, call, written

LEASE = 0.5


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(RedisStore(url))


@pytest.fixture
def kind(redis):
    return redis_kind(redis)


@pytest.fixture
def store(redis, opened):
    return opened(redis.fresh())


def test_what_comes_late_changes_nothing(redis, behind, proxy, monkeypatch):
    """A request that was given up and asked again, and comes to the server only then, is not done again (P1, P3)."""
    store = behind()
    stock(store, b"zero", b"one", b"two", b"three")
    sent, plain = [], Channel.ask

    def ask(channel, commands):
        try:
            return plain(channel, commands)
        except RedisError:
            sent.extend(each for each in commands if "EVAL" in each[0] and each[3] == store.base(call()))
            raise

    monkeypatch.setattr(Channel, "ask", ask)
    proxy.lose_answers(1)
    hand = take(store)
    proxy.lose_answers(1)
    hand.bring_back(0)
    proxy.lose_answers(1)
    assert take(store, 2).at == [0, 1]
    proxy.lose_answers(1)
    filling = take(store, 4)
    proxy.lose_answers(1)
    filling.fill(b"four", b"five")
    proxy.lose_answers(1)
    filling.settle(2)
    # A reader that has nothing free takes the short way.
    take(store, reader="c")
    proxy.lose_answers(1)
    assert take(store, reader="c").records == [b"one"]
    lost = store.flights.depart()
    monkeypatch.setattr(store, "_patience", 0)
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        asked(store, Take(lost, [Want(call(), "reader", 1, None)]))
    written(store, [Settle(lost, None)])
    assert len(sent) == 8
    store.close()
    with redis.client() as client:
        before = content(client)
        for command in [*sent, *reversed(sent)]:
            with contextlib.suppress(ResponseError):
                client.execute_command(*command)
        assert content(client) == before


def content(client):
    """Return all that a server holds of calls, but what it has answered."""
    reads = {"hash": client.hgetall, "zset": lambda key: client.zrange(key, 0, -1), "set": client.smembers}
    keys = [key for key in client.keys("memollm:{*") if b":a:" not in key and not key.startswith(b"memollm:{books}")]
    return {key: reads[client.type(key).decode()](key) for key in keys}


def test_a_line_that_is_cut_knows_nothing(redis, proxy, opened):
    """While nobody tells what is replaced nothing is remembered; when they do again it is (P2)."""
    redis.fresh()
    store = opened(redis.url_at(proxy.port))
    stock(store, b"zero")
    before = store.epoch()
    assert before >= 0
    proxy.cut()
    until(lambda: store.epoch() == -1)
    proxy.mend()
    until(lambda: store.epoch() > before)


# Owners.


@pytest.mark.parametrize("reads", ["who may write", "who only reads"])
def test_what_a_dead_process_had_is_free_where_it_is_copied(redis, store, opened, reads):
    """A dead process's positions are free in a copy, and void for one that was only paused (P1, P3)."""
    # It does not say that it lives in the middle of this.
    store, peer = opened(f"{redis.url}?lease=3600"), opened(redis.url)
    hand = take(store, 3)
    written(store, hand.fills(b"zero", b"one", b"two")[:2])
    with redis.client() as client:
        client.hset(f"{store.base(call())}:o", store.opened().owner, 1)
    source = peer if reads == "who may write" else peer.reader()
    with snapshot_of(source) as snapshot:
        (entry,) = snapshot.entries(Part())
        found = {cursor.reader: (cursor.next, list(cursor.free)) for cursor in snapshot.cursors(entry)}
    void = [position.at for position in hand.settle().void]
    # Who may not bury it leaves it what it has.
    assert (found["reader"], void) == (((3, [0, 1, 2]), [0, 1, 2]) if source is peer else ((3, [2]), []))


def test_an_owner_lives_as_long_as_it_says_so(redis, opened):
    """A process that holds something for longer than its lease is not taken for dead (P5)."""
    redis.fresh()
    store, peer = opened(f"{redis.url}?lease={LEASE}"), opened(redis.url)
    hand = take(store)
    with redis.client() as client:
        leases = f"{store.base(call())}:o"
        first = client.hgetall(leases)
        until(lambda: client.hgetall(leases) != first)
        first = client.hgetall(leases)
        until(lambda: client.hgetall(leases) != first)
    assert take(peer, reader="b").states == [Busy(None)]
    hand.fill(b"zero")
    assert hand.settle().void == ()
    with redis.client() as client:
        assert client.hkeys(leases) == [peer.opened().owner.encode()]


def test_a_cache_that_was_emptied(redis, store, opened):
    """What was emptied under a running program is said, also where another has begun it anew (P1)."""
    stock(store, b"0")
    assert take(store).at == [0]
    for begin_anew in (lambda: None, lambda: opened(redis.url).opened()):
        redis.fresh()
        begin_anew()
        for of in (call(), call("new")):
            with pytest.raises(StoreRefused, match=r"was emptied while this program used it: by FLUSHALL"):
                take(store, of=of)
    assert take(opened(redis.url)).at == [0]


def test_a_cursor_that_was_lost_is_passed(redis, store):
    """After a fail-over to a replica that lags, what this process has seen does not come again (P1)."""
    stock(store, b"0", b"1", b"2")
    cursors = f"{store.base(call())}:r"
    with redis.client() as client:
        take(store).settle()
        earlier = client.hget(cursors, "reader")
        assert [take(store).at, take(store).at] == [[1], [2]]
        client.hset(cursors, "reader", earlier)
        assert take(store).at == [3]
        client.hset(cursors, "reader", earlier)
        assert take(store, 2).at == [4, 5]
        # The reader had begun after what has come to the replica.
        client.hdel(cursors, "reader")
        assert take(store).at == [6]


def test_a_call_that_was_lost_is_passed(redis, store):
    """What a replica that lags knows nothing of goes on where this process has seen it, and is listed again (P1)."""
    stock(store, b"0", b"1")
    assert [take(store).at, take(store, 2).at] == [[0], [1, 2]]
    with redis.client() as client:
        # The cache itself was begun long before.
        client.delete(*(key for key in client.scan_iter() if not key.endswith(b"{books}:about")))
    assert take(store).at == [3]
    assert [each.call for each in looking(store).survey()] == []
    store.opened().line._when_found()
    stock(store, b"0")
    assert [each.call for each in looking(store).survey()] == [call()]


@pytest.mark.parametrize("how", ["drop", "forget"])
def test_a_cursor_that_was_removed_begins_anew(store, opened, redis, how):
    """Whoever has seen a cursor that somebody removed since takes it for no lost one."""
    stock(store, b"0", b"1")
    take(store, 2).settle()
    peer = keeping(opened(redis.url))
    peer.drop("reader") if how == "drop" else peer.forget(call())
    assert take(store).at == [0]


# The server.


def test_a_full_server_takes_what_was_paid_for(own_server, opened):
    """A server without room begins no draw, and says what to raise; the answer of one under way is stored (P7)."""
    store = opened(own_server.url)
    hand = take(store)
    with own_server.client() as client:
        client.config_set("maxmemory", "1")
        with pytest.raises(StoreUnavailable, match=r"has no room.*Raise maxmemory"):
            take(store)
        hand.fill(b"zero")
        assert hand.settle().void == ()
        client.config_set("maxmemory", "0")
    assert take(store, reader="b").records == [b"zero"]
    assert take(store).at == [1]


def draw_some(store, given):
    """Draw and fill, and keep the first of the positions."""
    for turn in range(25):
        hand = take(store, 1 + turn % 2)
        hand.fill(*(b"%d in %d" % (at, turn) for at, state in zip(hand.at, hand.states, strict=True) if state is MINE))
        # What was stored was delivered with the take.
        if MINE in hand.states:
            assert hand.settle(*hand.at[1:]).void == ()
        else:
            hand.bring_back(*hand.at[1:])
            hand.abandon()
        given.append(hand.at[0])


def disturb(proxies):
    """Lose answers, and cut one network for seconds."""
    for turn in range(40):
        time.sleep(0.05)
        proxies[turn % 3].lose_answers(1, after=turn % 4)
        if turn == 20:
            proxies[0].cut()
            time.sleep(5)
            proxies[0].mend()
    for proxy in proxies:
        proxy.lose_answers(0)


@pytest.mark.deep
def test_a_network_that_fails_in_every_way(redis, opened):
    """With delays, lost answers, resets and a long cut nothing is given twice, and nothing paid for lost (P1, P7)."""
    redis.fresh()
    proxies = [Proxy(redis.port, delay=0.025) for _ in range(3)]
    try:
        stores = [opened(f"{redis.url_at(proxy.port)}?lease=30") for proxy in proxies]
        for store in stores:
            store.opened()
        given = []
        threads = [threading.Thread(target=draw_some, args=(stores[number % 3], given)) for number in range(6)]
        for thread in threads:
            thread.daemon = True
            thread.start()
        disturb(proxies)
        for thread in threads:
            thread.join(2 * PATIENCE)
            assert not thread.is_alive()
        end = max(given) + 1
        assert len(given) == len(set(given)) == 150
        assert set(given) <= set(stores[0].peek(call()))
        free = take(stores[1], end - 150).at if end > 150 else []
        assert sorted([*given, *free]) == [*range(end)]
    finally:
        for proxy in proxies:
            proxy.close()


def test_a_server_that_is_busy_with_a_script_is_waited_for(behind, monkeypatch):
    """What was paid for is kept when somebody's long script has ended (P7)."""
    store, plain, told = behind(), Channel.ask, []

    def ask(channel, commands):
        if len(told) < 2:
            told.append(commands)
            raise ResponseError("BUSY Redis is busy running a script.")
        return plain(channel, commands)

    hand = take(store)
    monkeypatch.setattr(Channel, "ask", ask)
    hand.fill(b"zero")
    hand.settle()
    assert len(told) == 2
    assert take(store, reader="b").records == [b"zero"]
