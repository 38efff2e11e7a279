"""Redis stores whose server, network or process fails."""

import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest
from servers import PATIENCE, REDIS, Proxy, RedisServer, require, require_redis

require_redis()

from redis.exceptions import RedisError, ResponseError

from memollm._types.allowance import Allowance, Charged
from memollm._types.calls import Place, Want
from memollm._types.requests import Fill, Settle, Take, Write, Written
from memollm._types.samples import MINE, Busy, Sample
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.limiting import limiting
from memollm.stores.looking import looking
from memollm.stores.redis.connections import Channel
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import Hand, asked, call, written
from memollm.testing.fakes import NOON

SLOT = Place(call(), 0)
LEASE = 0.5

pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture
def opened():
    """Make stores that are closed after the test."""
    stores = []

    def make(url):
        stores.append(RedisStore(url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def proxy(redis):
    proxy = Proxy(redis.port)
    yield proxy
    proxy.close()


@pytest.fixture
def store(redis, opened):
    return opened(redis.fresh())


@pytest.fixture
def behind(redis, proxy, opened, monkeypatch):
    """Make stores whose every connection but the listening one goes through the proxy."""
    from memollm.stores.redis import line

    plain = line.Channel
    monkeypatch.setattr(
        line, "Channel", lambda address: plain(address._replace(options={**address.options, "port": redis.port}))
    )
    redis.fresh()

    def make(query=""):
        store = opened(redis.url_at(proxy.port) + query)
        # The call and the connection are known, so that what is lost next is an answer.
        take(store, of=call("first")).settle()
        store.peek(call())
        return store

    return make


def take(store, n=1, reader="reader", of=None, **options):
    return Hand(store, Want(of or call(), reader, n, None), **options)


def stock(store, *records):
    hand = take(store, len(records), reader=None)
    hand.fill(*records)
    hand.settle()


# Answers that are lost.


@pytest.mark.parametrize("lost", [1, 2])
def test_a_take_whose_answer_is_lost_takes_once(behind, lost, proxy):
    """Asked again until it is answered, a take gets the positions that it got first, and no more (P1, P3)."""
    store = behind()
    stock(store, b"zero", b"one", b"two")
    for n, expected in ((1, [0]), (2, [1, 2]), (2, [3, 4])):
        proxy.lose_answers(lost)
        assert take(store, n).at == expected
    assert take(store).at == [5]


def test_a_claim_whose_answer_is_lost_is_made_once(behind, proxy):
    """What was claimed by a take whose answer was lost is the draw's own (P5)."""
    store = behind()
    proxy.lose_answers(1)
    hand = take(store, 2)
    assert hand.states == [MINE, MINE]
    proxy.lose_answers(1)
    hand.fill(b"zero", b"one")
    proxy.lose_answers(1)
    hand.settle()
    assert take(store, 2, reader="b").records == [b"zero", b"one"]
    assert take(store).at == [2]


def test_a_look_whose_answer_is_lost(behind, proxy):
    """A look that is asked again finds what it has claimed itself."""
    store = behind()
    hand = take(store, reader="a")
    waiting = take(store, reader="b")
    hand.give_back()
    proxy.lose_answers(1)
    assert waiting.look(0) == [MINE]


def test_a_write_whose_answer_is_lost_counts_once(behind, proxy):
    """A return that was done, and is asked again, frees nothing that was drawn meanwhile (P1)."""
    store = behind()
    stock(store, b"zero", b"one")
    hand = take(store)
    proxy.lose_answers(1)
    hand.bring_back(0)
    assert [take(store).at, take(store).at] == [[0], [1]]


def test_what_was_lost_by_a_fill_is_told_again(behind, proxy):
    """A fill that came second is told so though the first answer was lost (P2)."""
    store = behind()
    hand, other = take(store, reader="a"), take(store, reader="b")
    hand.fill(b"first")
    proxy.lose_answers(1)
    late = written(store, [Fill(other.ticket, SLOT, Sample(b"second", NOON))])
    assert late.lost == {SLOT: Sample(b"first", NOON)}
    assert take(store, reader="c").records == [b"first"]


def test_a_replacement_whose_answer_is_lost_begins_an_epoch(behind, proxy):
    """Who remembers what was replaced is told, whichever answer of that was lost (P2)."""
    store = behind()
    stock(store, b"old")
    for turn in range(3):
        hand = take(store, reader=None, newer_than=NOON + turn)
        epoch = store.epoch()
        proxy.lose_answers(1, after=turn)
        hand.fill(b"new", stored=NOON + turn + 1)
        proxy.lose_answers(0)
        hand.settle()
        assert store.epoch() != epoch


@pytest.mark.parametrize("is_over", [False, True])
def test_a_draw_that_was_never_answered_gives_all_back(behind, proxy, is_over):
    """A take that was done, and of which its process never learned, is freed when the server is there again (P3)."""
    store = behind("?patience=0")
    stock(store, b"zero")
    for n in (1, 2):
        ticket = store.flights.depart()
        proxy.lose_answers(1)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            asked(store, Take(ticket, [Want(call(), "reader", n, None)]))
        if not is_over:
            assert asked(store, Write(store.flights.new_id(), [Settle(ticket, None)])) == Written()
        store.flights.arrive(ticket)
        again = take(store, n)
        assert again.at == list(range(n))
        again.give_back()


@pytest.mark.parametrize("answered", range(2))
def test_a_charge_whose_answer_is_lost_counts_once(behind, proxy, answered):
    """A program is charged once, whichever answer of it is lost, and what is refused charges nothing (P14)."""
    store = behind()
    charge, allowed = limiting(store).charge, Allowance(calls=3)
    assert charge("p", Charged(1), allowed) == (Charged(1), True)
    proxy.lose_answers(1, after=answered)
    assert charge("p", Charged(1, 0.5), allowed) == (Charged(2, 0.5), True)
    assert charge("p", Charged(2), allowed) == (Charged(2, 0.5), False)
    assert charge("p", Charged(1), allowed) == (Charged(3, 0.5), True)


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


def test_a_cut_network_is_waited_for(behind, proxy):
    """A network that is cut for a while is no reason to refuse: what was paid for is stored when it is mended (P7)."""
    store = behind()
    hand = take(store)
    proxy.cut()
    mending = threading.Timer(0.3, proxy.mend)
    mending.start()
    hand.fill(b"zero")
    mending.join(PATIENCE)
    assert take(store, reader="b").records == [b"zero"]


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


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


# Owners.


@pytest.mark.parametrize("order", ["its own first", "the other's first"])
def test_an_owner_that_was_taken_for_dead(redis, store, opened, order):
    """Whichever of two fills comes first is the sample, and who is told of a void position draws another (P1, P2)."""
    peer = opened(redis.url)
    hand = take(store)
    with redis.client() as client:
        client.hset(f"{store.base(call())}:o", store.opened().owner, 1)
    taking = take(peer)
    assert (taking.at, taking.states) == ([0], [MINE])
    first, second = (hand, taking) if order == "its own first" else (taking, hand)
    assert written(first.store, first.fills(b"first")) == Written()
    assert written(second.store, second.fills(b"second")).lost == {SLOT: Sample(b"first", NOON)}
    assert [position.at for position in hand.settle().void] == [0]
    assert taking.settle().void == ()
    assert take(store, reader="b").records == [b"first"]
    assert take(peer).at == [1]


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


OWNER = """
import os, sys, time
sys.path[:0] = sys.argv[3:]
from memollm._types.calls import Want
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import Hand, call

store = RedisStore(sys.argv[1])
hand = Hand(store, Want(call(), "reader", 3, None))
if sys.argv[2] == "forks":
    child = os.fork()
    if child == 0:
        own = Hand(store, Want(call("of the child"), "reader", 1, None))
        print("ready", *own.at, flush=True)
        sys.stdin.read()  # Until the test lets go.
        os._exit(0)
else:
    print("ready 0", flush=True)
time.sleep(600)
"""


@pytest.fixture
def owner(redis):
    """Start a process that holds three positions and their claims; it can only be killed."""
    processes = []

    def start(how):
        command = [sys.executable, "-c", OWNER, f"{redis.url}?lease={LEASE}", how]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout.readline() == b"ready 0\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.stdin.close()
        process.wait(PATIENCE)
        process.stdout.close()


@pytest.mark.parametrize(
    "how", ["draws", pytest.param("forks", marks=pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"))]
)
def test_killed_process_leaves_its_positions_and_claims(store, owner, how):
    """Who waits for a killed process takes over, also where a forked child of it lives on (P3, P5)."""
    process = owner(how)
    waiting = take(store, 3, reader="b")
    assert waiting.states == [Busy(None)] * 3
    woken = threading.Event()
    stop = store.watch([SLOT], lambda _: woken.set())
    process.kill()
    assert woken.wait(PATIENCE)
    stop()
    assert waiting.look(0, 1, 2) == [MINE] * 3
    written(store, [Fill(waiting.ticket, Place(call(), slot), Sample(b"%d" % slot, NOON)) for slot in range(3)])
    waiting.settle()
    assert take(store, 3).at == [0, 1, 2]


def test_waiting_process_is_told_of_a_fill(redis, store, opened):
    """Who waits for a live process is told when the slot is filled."""
    peer = opened(redis.url)
    hand = take(store)
    woken = threading.Event()
    peer.watch([SLOT], lambda _: woken.set())
    assert not woken.wait(0.2)
    hand.fill(b"zero")
    assert woken.wait(PATIENCE)


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


@pytest.fixture
def server():
    require(REDIS, "a Redis server")
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.stop()


def test_killed_server_loses_nothing_that_was_stored(server, opened):
    """After a crash of the server what was filled, drawn and claimed is as it was, and draws go on (P1, P5, P7)."""
    store, peer = opened(server.url), opened(server.url)
    stock(store, b"zero", b"one")
    assert take(store).at == [0]
    hand = take(store, 2)
    waiting = take(peer, reader="b", of=call())
    assert waiting.records == [b"zero"]
    server.kill()
    starting = threading.Timer(0.1, server.start)
    starting.start()
    hand.fill(b"two")
    starting.join(PATIENCE)
    assert hand.settle().void == ()
    assert take(peer, 2).at == [3, 4]
    assert take(peer, 3, reader="c").records == [b"zero", b"one", b"two"]


def test_server_that_stays_away_is_said(server, opened):
    """A draw is refused in a sentence after a while, the next at once, and all goes on when the server is back."""
    store = opened(f"{server.url}?patience=0.2")
    take(store).settle()
    server.kill()
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"cache redis://…@127.* cannot be reached: .*Check that"):
            take(store)
    until(lambda: store.epoch() == -1)
    server.start()
    assert store.opened().line.is_up.wait(PATIENCE)
    assert take(store).at == [1]


def test_a_full_server_takes_what_was_paid_for(server, opened):
    """A server without room begins no draw, and says what to raise; the answer of one under way is stored (P7)."""
    store = opened(server.url)
    hand = take(store)
    with server.client() as client:
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
