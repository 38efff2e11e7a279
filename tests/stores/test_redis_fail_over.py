"""Redis servers of which one takes the place of another, as it was planned or since that one has died."""

import os
import signal

import pytest
from servers import PASSWORD, REDIS, Proxy, RedisCluster, RedisServer, require, require_redis, until

require_redis()

from hands import calls_of_all, stock, take
from redis.exceptions import ReadOnlyError, ResponseError

from memollm._types.samples import MINE
from memollm.errors import StoreReadOnly, StoreUnavailable
from memollm.stores import serving
from memollm.stores.keeping import keeping
from memollm.stores.redis import session
from memollm.stores.redis.address import Node
from memollm.stores.redis.cluster import ClusterWay
from memollm.stores.redis.connections import WAITS, Channel
from memollm.stores.redis.failures import may_pass, of_node, translated
from memollm.stores.redis.nodes import SlotMap, slot_of
from memollm.stores.redis.store import RedisStore
from memollm.testing._bench import call

pytestmark = pytest.mark.usefixtures("team_key")


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(RedisStore(url))


# What nodes tell while one takes the place of another.


class Replaced:
    """Lets a node of a cluster have taken the place of another, which is a replica by now, and others not know yet."""

    def __init__(self, node, monkeypatch):
        self.node = Node("127.0.0.1", node.port)
        self._passing = Proxy(node.port)
        self.replica = Node("127.0.0.1", self._passing.port)
        self.greeted = 0
        asked, required = SlotMap._asked, session.require_known_server

        def tells(slot_map, who):
            rows = asked(slot_map, who)
            if who == self.replica:
                return rows
            return [[first, last, *map(self._as_before, nodes)] for first, last, *nodes in rows]

        def require_primary(wire, address):
            if address.options["port"] == self.replica.port:
                self.greeted += 1
                raise ReadOnlyError("it is a replica by now")
            return required(wire, address)

        monkeypatch.setattr(SlotMap, "_asked", tells)
        monkeypatch.setattr(session, "require_known_server", require_primary)

    def _as_before(self, told):
        host, port, *rest = told
        return [host, self.replica.port if port == self.node.port else port, *rest]

    def close(self):
        self._passing.close()


@pytest.fixture
def replaced(cluster, monkeypatch):
    replaced = Replaced(cluster.nodes[1], monkeypatch)
    yield replaced
    replaced.close()


def test_who_begins_hears_of_a_replica_who_took_its_place(cluster, opened, replaced):
    """Others may not know so yet: nobody waits for them to, and nobody is warned."""
    store = opened(f"{cluster.fresh()}?patience=0")
    for each in calls_of_all(cluster, store):
        stock(store, b"zero", of=each)
        assert take(store, of=each).at == [0]
    assert replaced.greeted


def test_who_draws_hears_of_a_replica_who_took_its_place(cluster, opened, monkeypatch):
    """A draw that comes to a node which is a replica by now is done where its calls are, once (P1)."""
    store = opened(f"{cluster.fresh()}?patience=0")
    calls = calls_of_all(cluster, store)
    for each in calls:
        stock(store, b"zero", b"one", of=each)
    assert [take(store, of=each).at for each in calls] == [[0]] * 3
    replaced = Replaced(cluster.nodes[1], monkeypatch)
    try:
        store.opened().way.nodes.is_old = True
        assert [take(store, of=each).at for each in calls] == [[1]] * 3
        assert replaced.greeted == 1
        assert store.opened().way.away == []
    finally:
        replaced.close()


def test_who_misses_slots_is_not_believed_alone(cluster, opened, monkeypatch):
    """A node may have heard that slots have left one, and not yet which has them now; another knows."""
    asked, told = SlotMap._asked, []

    def tells(slot_map, node):
        told.append(node)
        return asked(slot_map, node)[1 if len(told) == 1 else 0 :]

    monkeypatch.setattr(SlotMap, "_asked", tells)
    store = opened(f"{cluster.fresh()}?patience=0")
    calls = calls_of_all(cluster, store)
    assert [take(store, of=each).at for each in calls] == [[0]] * 3
    assert len(told) == 2


def test_slots_that_nobody_has_are_looked_for_again(cluster, opened, monkeypatch):
    """Where no node knows who has a slot, the next attempt asks them anew."""
    store = opened(cluster.fresh())
    stock(store, b"zero")
    slot = slot_of(store.base(call()))
    store.opened().way.nodes._of_slot[slot] = None
    assert take(store).records == [b"zero"]


# What is told.


def listening_at(cluster, place, opened, monkeypatch):
    """Return a store that listens at one node."""
    monkeypatch.setattr(ClusterWay, "listening", lambda way: way._address.at(place))
    store = opened(f"{cluster.url}?lease=3600")
    store.opened()
    return store


def test_who_listens_at_a_node_that_is_not_listed(cluster, opened, monkeypatch):
    """A node that hands over is in no list for a moment: those who listen at it live all the same (P2)."""
    cluster.fresh()
    place = Node("127.0.0.1", cluster.nodes[1].port)
    store, peer = opened(cluster.url), listening_at(cluster, place, opened, monkeypatch)
    way = store.opened().way
    assert not way.are_heard(["memollm:line:nobody"])
    way.nodes.all -= {place}
    assert way.are_heard([f"memollm:line:{peer.opened().owner}"])


def test_what_was_not_told_between_nodes_is_told_again(cluster, opened, monkeypatch):
    """Whoever replaces a sample tells those once more who have not heard, at the nodes where they listen (P2)."""
    monkeypatch.setattr(session, "MOST_BEHIND", 60.0)
    cluster.fresh()
    peer = listening_at(cluster, Node("127.0.0.1", cluster.nodes[1].port), opened, monkeypatch)
    store, line, lost = opened(cluster.url), peer.opened().line, []
    plain = line._on_notice

    def hears(notice):
        # All that is told to everybody, and no answer.
        lost.append(notice) if notice[1:2] == [b"memollm:told"] else plain(notice)

    monkeypatch.setattr(line, "_on_notice", hears)
    before = peer.epoch()
    keeping(store).rewind("reader")
    assert peer.epoch() > before
    assert lost


# What a server says that has become a replica.

NO_WAITING = "ERR WAITAOF cannot be used with replica instances."
UNBLOCKED = "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)"


@pytest.mark.parametrize("said", [NO_WAITING, UNBLOCKED])
def test_a_disk_that_is_a_replicas_by_now(cluster, opened, monkeypatch, said):
    """What was written to a server that handed over before its disk had it is asked again, and counts once (P1, P7)."""
    monkeypatch.setattr("memollm.stores.redis.opening.OLDEST_THAT_WAITS", (6, 2))
    plain, refused, node = Channel.send, [], cluster.nodes[2]

    def send(wire, commands):
        # This server has no such command yet; what it is answered by is the same.
        if commands[-1] == WAITS:
            is_first = wire._connection.port == node.port and not refused
            answer = f"redis.error_reply('{said}')" if is_first else "{1, 0}"
            refused.extend([said] * is_first)
            commands = [*commands[:-1], ("EVAL", f"return {answer}", 0)]
        plain(wire, commands)

    store = opened(cluster.fresh())
    each = calls_of_all(cluster, store)[2]
    node.say("CONFIG", "SET", "appendfsync", "everysec")
    try:
        store.opened()
        monkeypatch.setattr(Channel, "send", send)
        assert take(store, of=each).states == [MINE]
        refused.clear()
        assert [take(store, of=each).at, take(store, of=each).at] == [[1], [2]]
        refused.clear()
        store.wait_for_disk()
        assert refused
    finally:
        node.say("CONFIG", "SET", "appendfsync", "always")


SAYS = "You can't write against a read only replica."
OLD = f"Error running script (call to f_1234): @user_script:12: @user_script: 12: -READONLY {SAYS}"


@pytest.mark.parametrize("error", [ReadOnlyError(SAYS), ResponseError(OLD)])
def test_a_replica_may_be_a_primary_soon(error):
    """Who meets one waits, of whatever version it is; in the end the user is told what it is."""
    assert may_pass(error)
    told = translated(error, "redis://host:6379/0")
    assert type(told) is StoreReadOnly
    assert "Name the primary in the URL" in str(told)


def test_a_replica_of_a_cluster_is_named():
    """There is no other URL to write for one."""
    told = translated(of_node(ReadOnlyError(SAYS), Node("host", 7001)), "redis://host:6379/0")
    assert type(told) is StoreUnavailable
    assert "its node host:7001" in str(told)


# One server that hands over to another, behind one address.


@pytest.fixture
def pair():
    """Give a server, and a replica of it."""
    require(REDIS, "a Redis server")
    servers = [RedisServer(masterauth=PASSWORD, **{"repl-diskless-sync-delay": 0}) for _ in range(2)]
    try:
        for server in servers:
            server.start()
        servers[1].say("REPLICAOF", "127.0.0.1", servers[0].port)
        until(lambda: "state=online" in servers[0].said("INFO", "replication"))
        yield servers
    finally:
        for server in servers:
            server.stop()


@pytest.mark.deep
def test_a_server_that_hands_over(pair, opened):
    """Draws go on at the other one, and whoever listens at the first is waited for, and goes there (P1, P2)."""
    first, second = pair
    passing = Proxy(first.port)
    try:
        store, peer = [opened(f"{first.url_at(passing.port)}?lease=3600") for _ in range(2)]
        stock(store, b"zero", b"one", b"two")
        assert [take(store).at, take(peer).at] == [[0], [1]]
        first.say("FAILOVER", "TO", "127.0.0.1", second.port)
        until(lambda: "role:master" in second.said("INFO", "replication"))
        until(lambda: "master_link_status:up" in first.said("INFO", "replication"))
        passing._port = second.port
        assert take(store).at == [2]
        before = peer.epoch()
        keeping(store).rewind("reader")
        assert peer.epoch() > before
        line = peer.opened().line
        for _ in range(2):
            line._beat_at = 0.0
            line._poke()
            until(lambda: line._beat_at)
        until(lambda: second.say("PUBSUB", "NUMSUB", f"memollm:line:{peer.opened().owner}")[1] == 1)
        assert take(peer).at == [0]
    finally:
        passing.close()


# Replicas that take over.


@pytest.fixture
def replicated():
    """Give a cluster whose nodes have a replica each."""
    require(REDIS, "a Redis server")
    cluster = RedisCluster(replicas=1, timeout=1000)
    try:
        yield cluster.start()
    finally:
        cluster.stop()


@pytest.mark.deep
def test_a_replica_takes_over(replicated, opened):
    """Draws wait for a replica to take over, though it lags, and this process is given nothing twice (P1)."""
    store = opened(replicated.url)
    calls = calls_of_all(replicated, store)
    given = {each: [] for each in calls}
    for each in calls:
        stock(store, *(b"%d" % slot for slot in range(20)), of=each)
        given[each] += take(store, 3, of=each).at
    hand = take(store, 1, reader="b", of=call("new"))
    gone, lagging = replicated.nodes[0], replicated.nodes[3]
    os.kill(lagging.process.pid, signal.SIGSTOP)
    for each in calls:
        given[each] += take(store, 3, of=each).at
    gone.kill()
    os.kill(lagging.process.pid, signal.SIGCONT)
    for each in calls:
        given[each] += take(store, 3, of=each).at
    assert list(given.values()) == [[*range(9)]] * 3
    hand.fill(b"new")
    assert take(store, 1, reader="c", of=call("new")).records == [b"new"]
    assert "role:master" in lagging.said("INFO", "replication")
    gone.start()
    replicated.until_up()
    assert [take(store, of=each).at for each in calls] == [[9]] * 3
    assert [take(opened(replicated.url), of=each).at for each in calls] == [[10]] * 3


@pytest.mark.deep
def test_a_planned_fail_over(replicated, opened, monkeypatch):
    """A node that hands over to its replica takes nothing with it, and who listened at it is told of all (P1, P2)."""
    told = []
    monkeypatch.setattr(serving, "warn", lambda text, _: told.append(text))
    store, peer = opened(replicated.url), opened(replicated.url)
    calls = calls_of_all(replicated, store)
    for each in calls:
        stock(store, b"zero", b"one", b"two", of=each)
    hands = [take(store, 4, of=each) for each in calls]
    for replica in replicated.nodes[3:]:
        replicated.fail_over(replica)
    assert [take(peer, of=each).at for each in calls] == [[4]] * 3
    for hand in hands:
        hand.fill(b"three")
        assert hand.settle().void == ()
    before = [store.epoch(), peer.epoch()]
    keeping(peer).rewind("reader")
    assert all(each.epoch() > epoch for each, epoch in zip((store, peer), before, strict=True))
    assert [take(store, of=each).at for each in calls] == [[0]] * 3
    # For a moment a node may say that all are down, as long as it knows only that slots have left one.
    assert all("is down" in text for text in told)
