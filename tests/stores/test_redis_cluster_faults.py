"""A cluster of Redis servers whose slots move, whose nodes are killed, and whose settings will not do."""

import os
import signal
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from servers import PATIENCE, require_redis, until

require_redis()

from hands import calls_of_all, stock, take, want
from redis.exceptions import (
    AskError,
    ClusterDownError,
    ConnectionError as LostConnection,
    MasterDownError,
    MovedError,
    NoScriptError,
    ResponseError,
    TryAgainError,
)

from memollm import Cache
from memollm._types.calls import Place
from memollm._types.requests import Take
from memollm._types.samples import MINE, Busy
from memollm.errors import OptionError, StoreRefused, StoreUnavailable
from memollm.stores import serving
from memollm.stores.keeping import keeping
from memollm.stores.redis import connections
from memollm.stores.redis.address import Node, address_of
from memollm.stores.redis.cluster import ClusterWay
from memollm.stores.redis.connections import WAITS, Channel
from memollm.stores.redis.nodes import slot_of
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import asked, call

pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(RedisStore(url))


@pytest.fixture
def store(cluster, opened):
    return opened(cluster.fresh())


def is_mine():
    """Tell whether this is no thread of a store."""
    return threading.current_thread() is threading.main_thread()


# Opening.


def test_what_a_url_with_several_nodes_says():
    """The first that answers tells of all the others, so that each is one to begin with."""
    address = address_of("redis://me:hush@a:7000,[::1],c:7002/0?lease=3")
    assert [str(node) for node in address.nodes] == ["a:7000", "[::1]:6379", "c:7002"]
    assert (address.options["host"], address.options["port"], address.options["password"]) == ("a", 7000, "hush")
    assert "hush" not in repr(address)


@pytest.mark.parametrize("hosts", ["a,", ",a", "a:x,b", "a,b:99999"])
def test_a_wrong_list_of_nodes_is_refused(hosts):
    """What names no server is one sentence, without the password."""
    with pytest.raises(OptionError, match=r"^cache='redis://…@") as raised:
        Cache(f"redis://me:hush@{hosts}/0")
    assert "hush" not in str(raised.value)


def test_another_node_is_one_to_begin_with(cluster, store):
    """A URL names several nodes where the first may be away; what is stored is the same by any of them."""
    stock(store, b"zero")
    dead = f"{cluster.url.rpartition('@')[0]}@127.0.0.1:1,127.0.0.1:{cluster.nodes[2].port}/0"
    with Cache(dead) as cache:
        assert cache.store.peek(call())[0].record == b"zero"
        assert repr(cache.store).endswith(f"127.0.0.1:{cluster.nodes[2].port}/0 (a cluster of 3 nodes)')")
        assert "hush" not in repr(cache.store)


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("maxmemory-policy", "allkeys-lru", "evicts whatever it likes"),
        ("appendonly", "no", "keeps no append-only file"),
        ("appendfsync", "no", "writes to its disk only now and then"),
    ],
)
def test_every_node_must_be_one_that_keeps(cluster, setting, value, said):
    """One node that forgets would give positions again (P1, P7): it is named, and so is what to set."""
    node = cluster.nodes[1]
    store = RedisStore(cluster.fresh())
    with node.client() as client:
        before = client.config_get(setting)[setting]
    node.say("CONFIG", "SET", setting, value)
    try:
        with pytest.raises(StoreRefused, match=said) as raised:
            take(store)
        assert f"(its node 127.0.0.1:{node.port})" in str(raised.value)
        assert "hush" not in str(raised.value)
    finally:
        store.close()
        node.say("CONFIG", "SET", setting, before)


def test_a_cluster_has_one_database(cluster):
    """What shares a cluster does so by prefixes."""
    store = RedisStore(cluster.url.replace("/0", "/1"))
    with pytest.raises(StoreRefused, match=r"has no (such database|database but 0)"):
        take(store)
    store.close()


def test_disks_of_all_nodes_are_waited_for(cluster, opened, monkeypatch):
    """Where a node can tell that it has synced, what it writes waits for that, on each node by itself (P7)."""
    monkeypatch.setattr("memollm.stores.redis.opening.OLDEST_THAT_WAITS", (6, 2))
    node, waited, plain = cluster.nodes[2], set(), Channel.send
    url = cluster.fresh()

    def send(wire, commands):
        # This server has no such command yet; what it is answered by is the same.
        if commands[-1] == WAITS:
            waited.add(wire._connection.port)
            commands = [*commands[:-1], ("EVAL", "return {1, 0}", 0)]
        plain(wire, commands)

    monkeypatch.setattr(Channel, "send", send)
    node.say("CONFIG", "SET", "appendfsync", "everysec")
    try:
        store = opened(url)
        for each in calls_of_all(cluster, store):
            stock(store, b"zero", of=each)
        assert waited == {node.port}
        waited.clear()
        store.wait_for_disk()
        assert waited == {node.port}
    finally:
        node.say("CONFIG", "SET", "appendfsync", "always")


# One round trip, side by side.


def test_nodes_are_asked_side_by_side(cluster, store, monkeypatch):
    """What a burst asks of calls on several nodes is sent to all of them before any answer is read."""
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", b"one", of=each)
        take(store, reader="a", of=each)
    done = []
    for name, plain in (("send", Channel.send), ("read", Channel.read)):

        def do(wire, *told, name=name, plain=plain):
            if is_mine():
                done.append(name)
            return plain(wire, *told)

        monkeypatch.setattr(Channel, name, do)
    answers = store.perform([Take(store.flights.depart(), [want(of=each)]) for each in calls])
    assert [answer[0].positions for answer in answers] == [[0]] * 3
    assert done == ["send"] * 3 + ["read"] * 3


def test_one_node_that_fails_has_its_draws_asked_again(cluster, store, monkeypatch):
    """What the others have answered counts once when all of it is asked again (P1, P3)."""
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", b"one", of=each)
        take(store, reader="a", of=each).settle()
    plain, failed = Channel.end, []

    def end(wire, commands, *, waits):
        answers = plain(wire, commands, waits=waits)
        if len(failed) < 2 and is_mine():
            failed.append(wire)
            raise LostConnection("so it is")
        return answers

    monkeypatch.setattr(Channel, "end", end)
    answers = store.perform([Take(store.flights.depart(), [want(of=each)]) for each in calls])
    assert [answer[0].positions for answer in answers] == [[0]] * 3
    assert len(failed) == 2
    monkeypatch.undo()
    assert [take(store, of=each).at for each in calls] == [[1]] * 3


# Slots on their way.


@contextmanager
def moving(cluster, store):
    """Have a call's slot on its way to another node for a block; give its keys, and what moves some of them there."""
    base = store.base(call())
    slot, source = slot_of(base), cluster.node_of(f"{base}:call")
    target = next(node for node in cluster.nodes if node is not source)
    cluster.begin_move(slot, source, target)
    try:
        keys = source.say("CLUSTER", "GETKEYSINSLOT", slot, 100)
        assert len(keys) >= 3
        yield keys, lambda some: cluster.move_keys(source, target, some)
    finally:
        cluster.end_move(slot, source, target)
        cluster.move(slot, target, source)


@pytest.mark.parametrize("there", ["call", "s", "all"])
def test_a_call_on_its_way_is_waited_for(cluster, store, opened, there):
    """Whatever of a call has come to its new node, nobody draws from a half of it, and then all go on (P1, P2)."""
    stock(store, b"zero", b"one")
    assert take(store).at == [0]
    hand, drawn = take(store, 2), []
    assert hand.at == [1, 2]
    drawing = threading.Thread(target=lambda: drawn.append(take(opened(cluster.url))), daemon=True)
    with moving(cluster, store) as (keys, move_keys):
        move_keys([key for key in keys if there == "all" or key.endswith(b":" + there.encode())])
        drawing.start()
        impatient = opened(f"{cluster.url}?patience=0")
        with pytest.raises(StoreUnavailable, match=r"on its way to another node .*redis-cli --cluster fix"):
            take(impatient)
        filling = threading.Thread(target=hand.fill, args=(b"two",), daemon=True)
        filling.start()
        assert drawn == []
    for thread in (drawing, filling):
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert drawn[0].at == [3]
    assert hand.settle().void == ()
    assert take(store, 3, reader="b").records == [b"zero", b"one", b"two"]


def test_what_has_moved_is_followed(cluster, store, opened):
    """Who goes by where a call was is told where it is, and asks there at once."""
    stock(store, b"zero", b"one")
    peer = opened(cluster.url)
    take(peer, reader="b").settle()
    base = store.base(call())
    slot, source = slot_of(base), cluster.node_of(f"{base}:call")
    target = next(node for node in cluster.nodes if node is not source)
    cluster.move(slot, source, target)
    try:
        hurried = opened(f"{cluster.url}?patience=0")
        assert [each.peek(call())[1].record for each in (store, peer, hurried)] == [b"one"] * 3
        assert [take(store).at, take(peer, reader="b").at] == [[0], [1]]
    finally:
        cluster.move(slot, target, source)


# Nodes that die.


def test_a_killed_node_loses_nothing_that_was_stored(cluster, store, opened):
    """After a crash of a node what was filled, drawn and claimed is as it was; others are told of fills again (P7)."""
    calls = calls_of_all(cluster, store)
    peer = opened(cluster.url)
    for each in calls:
        stock(store, b"zero", of=each)
        assert take(peer, of=each).records == [b"zero"]
    hands = [take(store, of=each) for each in calls]
    assert [hand.at for hand in hands] == [[1]] * 3
    # The node at which the store listens.
    node = next(node for node in cluster.nodes if node.port == store.opened().line._wire._connection.port)
    node.kill()
    starting = threading.Timer(0.1, node.start)
    starting.start()
    for hand in hands:
        hand.fill(b"one")
    starting.join(PATIENCE)
    assert [hand.settle().void for hand in hands] == [()] * 3
    assert [take(peer, 2, reader="b", of=each).records for each in calls] == [[b"zero", b"one"]] * 3
    until(lambda: store.epoch() >= 0)
    filling = take(store, of=calls[0])
    woken = threading.Event()
    peer.watch([Place(calls[0], 2)], lambda _: woken.set())
    filling.fill(b"two")
    assert woken.wait(PATIENCE)
    cluster.until_up()


@pytest.mark.deep
def test_a_node_that_stays_away_is_named(cluster, opened):
    """A draw of a call that it has is refused in a sentence, and calls of other nodes are drawn meanwhile."""
    store = opened(f"{cluster.fresh()}?patience=1")
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", of=each)
    books = cluster.node_of("memollm:{books}:about")
    gone = next(nth for nth, node in enumerate(cluster.nodes) if node is not books)
    cluster.nodes[gone].kill()
    try:
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=f"its node 127.0.0.1:{cluster.nodes[gone].port}") as raised:
                take(store, of=calls[gone])
            assert "hush" not in str(raised.value)
        assert [take(store, of=calls[nth]).at for nth in range(3) if nth != gone] == [[0], [0]]
    finally:
        cluster.nodes[gone].start()
        cluster.until_up()
    until(lambda: take_or_none(store, calls[gone]) == [0])


def test_a_node_that_hangs_is_named_soon(cluster, opened, monkeypatch):
    """A program, or a command, that begins does not wait for it as long as for an answer."""
    monkeypatch.setattr(connections, "GREETING", 0.05)
    hanging = cluster.nodes[1]
    store = opened(f"{cluster.fresh()}?patience=0&socket_timeout=3600")
    os.kill(hanging.process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match=rf"Timeout reading.*its node 127.0.0.1:{hanging.port}"):
            store.peek(call())
    finally:
        os.kill(hanging.process.pid, signal.SIGCONT)
        cluster.until_up()


def test_what_a_refused_draw_has_claimed_is_free_soon(cluster, opened, monkeypatch):
    """A first draw takes at its call's node, though the node that lists calls is away, and asks nothing more (P3)."""
    url = cluster.fresh()
    store, peer = opened(f"{url}?patience=0&lease=3600"), opened(url)
    opened_, ticket = store.opened(), store.flights.depart()
    plain = opened_.way.run

    def run(commands):
        lists = [command.base == store.books for command in commands]
        done = iter(plain([command for command, is_list in zip(commands, lists, strict=True) if not is_list]))
        return [LostConnection("so it is") if is_list else next(done) for is_list in lists]

    monkeypatch.setattr(opened_.way, "run", run)
    with pytest.raises(StoreUnavailable):
        asked(store, Take(ticket, [want()]))
    store.flights.arrive(ticket)
    waiting = take(peer, reader="b")
    assert waiting.states == [Busy(None)]
    # The next time that it says that it lives.
    opened_.line._beat_at = 0.0
    opened_.line._poke()
    until(lambda: waiting.look(0) == [MINE])
    assert take(peer).at == [0]
    until(lambda: store.drawn.lost() == [])


@pytest.fixture
def pauses(monkeypatch):
    """Let no time pass where a server is waited for; return how long that would have been."""
    pauses = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(serving, "time", clock)
    return pauses


def waited(pauses, store, of):
    """Tell whether a draw has waited before it was refused."""
    before = len(pauses)
    with pytest.raises(StoreUnavailable):
        take(store, of=of)
    return len(pauses) > before


def test_a_node_that_stays_away_is_waited_for_once(cluster, opened, pauses, monkeypatch):
    """Whether it was there when a program began or not, and whatever other nodes answer meanwhile (P7)."""
    told = []
    monkeypatch.setattr(serving, "warn", lambda text, _: told.append(text))
    url = f"{cluster.fresh()}?patience=7"
    store, late = opened(url), opened(url)
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", of=each)
    # Not the one that the URL names.
    gone, there = 1, calls[0]
    cluster.nodes[gone].kill()
    try:
        assert waited(pauses, store, calls[gone])
        assert take(store, of=there).at == [0]
        assert not waited(pauses, store, calls[gone])
        assert [waited(pauses, late, there) for _ in range(3)] == [True, False, False]
        assert ["7 seconds at most" in text for text in told] == [True]
    finally:
        cluster.nodes[gone].start()
        cluster.until_up()
    until(lambda: [take_or_none(each, calls[gone]) is not None for each in (store, late)] == [True, True])


def test_a_cluster_that_is_down_is_waited_for_once(cluster, store, pauses, monkeypatch):
    """Slots on their way are waited for each time, since that is soon over; a cluster that is down is not."""
    store.peek(call())
    for error, expected in ((ClusterDownError("down"), [True, False]), (TryAgainError("moving"), [True, True])):
        monkeypatch.setattr(store.opened().way, "value", raising(error))
        assert [waits(pauses, store) for _ in range(2)] == expected


def raising(error):
    def fail(*_):
        raise error

    return fail


def waits(pauses, store):
    before = len(pauses)
    with pytest.raises(StoreUnavailable):
        store.peek(call())
    return len(pauses) > before


def take_or_none(store, of):
    try:
        return take(store, of=of).at
    except StoreUnavailable:
        return None


# What is told.


def test_a_notice_that_was_lost_between_nodes(cluster, opened):
    """Nodes tell each other without receipt: who has missed what was replaced learns of it at the next beat (P2)."""
    cluster.fresh()
    store = opened(f"{cluster.url}?lease=2")
    store.opened()
    before = store.epoch()
    cluster.node_of("memollm:{books}:epoch").say("INCR", "memollm:{books}:epoch")
    until(lambda: store.epoch() > before)
    assert store.opened().line.heard == 1


def test_whoever_listens_at_any_node_is_waited_for(cluster, store, opened, monkeypatch):
    """An epoch is over when all have heard of it, at whichever nodes they listen (P2)."""
    monkeypatch.setattr("memollm.stores.redis.session.MOST_BEHIND", PATIENCE)
    peers = []
    for node in cluster.nodes:
        place = Node("127.0.0.1", node.port)
        monkeypatch.setattr(ClusterWay, "listening", lambda way, place=place: way._address.at(place))
        peers.append(opened(cluster.url))
        peers[-1].opened()
    assert {peer.opened().line._wire._connection.port for peer in peers} == {node.port for node in cluster.nodes}
    stock(store, b"zero")
    for _ in range(5):
        before = [peer.epoch() for peer in peers]
        keeping(store).rewind("reader")
        assert all(peer.epoch() > epoch for peer, epoch in zip(peers, before, strict=True))


# Processes.


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_draws_with_connections_of_its_own(cluster, store):
    """A child begins anew and leaves the parent's connections, leases and draws alone (P1, P5)."""
    calls = calls_of_all(cluster, store)
    hands = [take(store, of=each) for each in calls]
    child = os.fork()
    if child == 0:
        status = 1
        try:
            own = [take(store, of=each) for each in calls]
            status = 0 if [(hand.at, hand.states) for hand in own] == [([1], [MINE])] * 3 else 2
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    for hand in hands:
        hand.fill(b"zero")
        assert hand.settle().void == ()


def test_a_cursor_that_was_lost_is_passed(cluster, store):
    """After a fail-over to a replica that lags, what this process has seen does not come again (P1)."""
    stock(store, b"0", b"1", b"2")
    cursors = f"{store.base(call())}:r"
    node = cluster.node_of(cursors)
    take(store).settle()
    earlier = node.say("HGET", cursors, "reader")
    assert [take(store).at, take(store).at] == [[1], [2]]
    node.say("HSET", cursors, "reader", earlier)
    assert take(store).at == [3]


# Nodes that hang.


@pytest.mark.deep
def test_a_node_that_hangs_takes_no_leases_of_others_with_it(cluster, opened):
    """What this process has at other nodes is kept alive though one says nothing for longer than leases are (P5)."""
    cluster.fresh()
    store, peer = opened(f"{cluster.url}?lease=2"), opened(f"{cluster.url}?patience=0.1")
    calls = calls_of_all(cluster, store)
    hands = [take(store, of=each) for each in calls]
    waiting = [take(peer, reader="b", of=each) for each in calls]
    hanging = next(node for node in cluster.nodes if cluster.node_of("memollm:{books}:about") is not node)
    os.kill(hanging.process.pid, signal.SIGSTOP)
    try:
        end = time.monotonic() + 4.5
        others = [each for node, each in zip(cluster.nodes, waiting, strict=True) if node is not hanging]
        while time.monotonic() < end:
            assert [each.look(0) for each in others] == [[Busy(None)]] * 2
    finally:
        os.kill(hanging.process.pid, signal.SIGCONT)
    cluster.until_up()
    for hand in hands:
        hand.fill(b"zero")
        hand.settle()


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (ResponseError("ASK 498 127.0.0.1:7000"), AskError),
        (ResponseError("MOVED 498 127.0.0.1:7000"), MovedError),
        (ResponseError("TRYAGAIN Multiple keys"), TryAgainError),
        (ResponseError("CLUSTERDOWN The cluster is down"), ClusterDownError),
        (ResponseError("MASTERDOWN Link is down"), MasterDownError),
        (ResponseError("ERR MOVED is no command"), ResponseError),
        (NoScriptError("MOVED it is not"), NoScriptError),
    ],
)
def test_what_a_node_says_is_known_with_older_clients(raised, kind):
    """Clients before 6.0 name by its class only what they ask of clusters of their own."""
    assert type(connections._named(raised)) is kind
