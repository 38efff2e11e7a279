"""PostgreSQL stores whose server, network or process fails."""

import os
import subprocess
import sys
import threading
import time

import pytest
from servers import PATIENCE, PostgresServer, Proxy, postgres_programs, require, require_psycopg

psycopg = require_psycopg()

from memollm._types.allowance import Allowance, Charged
from memollm._types.calls import Place, Want
from memollm._types.requests import Fill, Settle, Take, Write, Written
from memollm._types.samples import MINE, Busy, Sample
from memollm.errors import StoreUnavailable
from memollm.stores.limiting import limiting
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import Hand, asked, call, written
from memollm.testing.fakes import NOON

SLOT = Place(call(), 0)


pytestmark = pytest.mark.usefixtures("deadline")


@pytest.fixture
def opened():
    """Make stores that are closed after the test."""
    stores = []

    def make(url):
        stores.append(PostgresStore(url))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


@pytest.fixture
def proxy(postgres):
    proxy = Proxy(postgres.port)
    yield proxy
    proxy.close()


@pytest.fixture
def store(postgres, opened):
    return opened(postgres.fresh())


@pytest.fixture
def behind(postgres, proxy, opened):
    """Make a store whose every connection but the direct one goes through the proxy."""
    postgres.fresh()
    store = opened(f"{postgres.url_at(proxy.port)}?direct=127.0.0.1:{postgres.port}")
    # The reader and the connection are known, so that what is lost next is an answer.
    Hand(store, Want(call("first"), "reader", 1, None)).settle()
    return store


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
    stock(behind, b"zero", b"one", b"two")
    for n, expected in ((1, [0]), (2, [1, 2]), (2, [3, 4])):
        proxy.lose_answers(lost)
        assert take(behind, n).at == expected
    assert take(behind).at == [5]


def test_a_claim_whose_answer_is_lost_is_made_once(behind, proxy):
    """What was claimed by a take whose answer was lost is the draw's own (P5)."""
    proxy.lose_answers(1)
    hand = take(behind, 2)
    assert hand.states == [MINE, MINE]
    proxy.lose_answers(1)
    hand.fill(b"zero", b"one")
    proxy.lose_answers(1)
    hand.settle()
    assert take(behind, 2, reader="b").records == [b"zero", b"one"]
    assert take(behind).at == [2]


def test_a_look_whose_answer_is_lost(behind, proxy):
    """A look that is asked again finds what it has claimed itself."""
    hand = take(behind, reader="a")
    waiting = take(behind, reader="b")
    hand.give_back()
    proxy.lose_answers(1)
    assert waiting.look(0) == [MINE]


def test_a_write_whose_answer_is_lost_counts_once(behind, proxy):
    """A return that was done, and is asked again, frees nothing that was drawn meanwhile (P1)."""
    stock(behind, b"zero", b"one")
    hand = take(behind)
    proxy.lose_answers(1)
    hand.bring_back(0)
    assert [take(behind).at, take(behind).at] == [[0], [1]]


def test_what_was_lost_by_a_fill_is_told_again(behind, proxy):
    """A fill that came second is told so though the first answer was lost (P2)."""
    hand, other = take(behind, reader="a"), take(behind, reader="b")
    hand.fill(b"first")
    proxy.lose_answers(1)
    late = written(behind, [Fill(other.ticket, SLOT, Sample(b"second", NOON))])
    assert late.lost == {SLOT: Sample(b"first", NOON)}
    assert take(behind, reader="c").records == [b"first"]


def test_a_draw_that_was_never_answered_gives_all_back(postgres, proxy, opened):
    """A take that was done, and of which its process never learned, is freed when the server is there again (P3)."""
    url = f"{postgres.url_at(proxy.port)}?direct=127.0.0.1:{postgres.port}&patience=0"
    postgres.fresh()
    store = opened(url)
    stock(store, b"zero")
    for n in (1, 2):
        ticket = store.flights.depart()
        proxy.lose_answers(1)
        with pytest.raises(StoreUnavailable, match="cannot be reached"):
            asked(store, Take(ticket, [Want(call(), "reader", n, None)]))
        assert asked(store, Write(store.flights.new_id(), [Settle(ticket, None)])) == Written()
        store.flights.arrive(ticket)
        again = take(store, n)
        assert again.at == list(range(n))
        again.give_back()


def test_a_vanished_draw_that_was_never_answered(postgres, proxy, opened):
    """The same holds for a draw that settles nothing, as an interrupted one does (P3)."""
    url = f"{postgres.url_at(proxy.port)}?direct=127.0.0.1:{postgres.port}&patience=0"
    postgres.fresh()
    store = opened(url)
    take(store, of=call("first")).settle()
    ticket = store.flights.depart()
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        asked(store, Take(ticket, [Want(call(), "reader", 2, None)]))
    store.flights.arrive(ticket)
    assert take(store, 2).at == [0, 1]


@pytest.mark.parametrize("answered", range(6))
def test_a_charge_whose_answer_is_lost_counts_once(behind, proxy, answered):
    """A program is charged once, whichever answer of it is lost, and what is refused charges nothing (P14)."""
    charge, allowed = limiting(behind).charge, Allowance(calls=3)
    assert charge("p", Charged(1), allowed) == (Charged(1), True)
    proxy.lose_answers(1, after=answered)
    assert charge("p", Charged(1, 0.5), allowed) == (Charged(2, 0.5), True)
    assert charge("p", Charged(2), allowed) == (Charged(2, 0.5), False)
    assert charge("p", Charged(1), allowed) == (Charged(3, 0.5), True)


def test_a_cut_network_is_waited_for(behind, proxy):
    """A network that is cut for a while is no reason to refuse: what was paid for is stored when it is mended (P7)."""
    hand = take(behind)
    proxy.cut()
    mending = threading.Timer(0.3, proxy.mend)
    mending.start()
    hand.fill(b"zero")
    mending.join(PATIENCE)
    assert take(behind, reader="b").records == [b"zero"]


# Owners.


def terminate(postgres, store):
    """End the direct connection of a store at the server, as a network that is cut for long does."""
    line = store.opened().line
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (line.connection.info.backend_pid,))


def test_an_owner_that_lost_its_lock_takes_it_again(postgres, store, opened):
    """Claims are the owner's still, where nobody has looked meanwhile (P5)."""
    peer = opened(postgres.url)
    hand = take(store)
    terminate(postgres, store)
    take(store, of=call("other"))
    assert take(peer, reader="b").states == [Busy(None)]
    hand.fill(b"zero")
    assert hand.settle().void == ()


def test_an_owner_whose_old_session_lives_on(postgres, store, opened):
    """A process whose network was cut takes its lock from its own session, which the server believes to live (P5)."""
    peer = opened(postgres.url)
    hand = take(store)
    line = store.opened().line
    ghost = line.connection
    line._lose = lambda: (line.is_up.clear(), setattr(line, "epoch", -1))
    line._on_notice, ghost.pgconn.notify_handler = fails, fails
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        connection.execute("SELECT pg_notify('memollm.memollm', 'epoch 0')")
    until = time.monotonic() + PATIENCE
    while line.connection is ghost or not line.is_up.is_set():
        assert time.monotonic() < until
    assert take(peer, reader="b").states == [Busy(None)]
    hand.fill(b"zero")
    assert hand.settle().void == ()
    ghost.close()


def fails(_):
    raise OSError("cut")


@pytest.mark.parametrize("order", ["its own first", "the other's first"])
def test_an_owner_that_was_taken_for_dead(postgres, store, opened, order, monkeypatch):
    """Whichever of two fills comes first is the sample, and who is told of a void position draws another (P1, P2)."""
    peer = opened(postgres.url)
    hand = take(store)
    monkeypatch.setattr(store.opened().line, "_come_back", lambda: None)
    terminate(postgres, store)
    until_dead(postgres, store)
    taking = take(peer)
    assert (taking.at, taking.states) == ([0], [MINE])
    monkeypatch.undo()
    store.opened().line._come_back()
    first, second = (hand, taking) if order == "its own first" else (taking, hand)
    assert written(first.store, first.fills(b"first")) == Written()
    assert written(second.store, second.fills(b"second")).lost == {SLOT: Sample(b"first", NOON)}
    assert [position.at for position in hand.settle().void] == [0]
    assert taking.settle().void == ()
    assert take(store, reader="b").records == [b"first"]
    assert take(peer).at == [1]


def until_dead(postgres, store):
    until = time.monotonic() + PATIENCE
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        while connection.execute("SELECT memollm.lives(%s, 0)", (store.opened().line.owner,)).fetchone() != (False,):
            assert time.monotonic() < until


OWNER = """
import os, sys, time
sys.path[:0] = sys.argv[3:]
from memollm._types.calls import Want
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import Hand, call

store = PostgresStore(sys.argv[1])
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
def owner(postgres):
    """Start a process that holds three positions and their claims; it can only be killed."""
    processes = []

    def start(how):
        command = [sys.executable, "-c", OWNER, postgres.url, how]
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
    assert not woken.is_set()
    process.kill()
    assert woken.wait(PATIENCE)
    stop()
    assert waiting.look(0, 1, 2) == [MINE] * 3
    written(store, [Fill(waiting.ticket, Place(call(), slot), Sample(b"%d" % slot, NOON)) for slot in range(3)])
    waiting.settle()
    assert take(store, 3).at == [0, 1, 2]


def test_waiting_process_is_told_of_a_fill(postgres, store, opened):
    """Who waits for a live process is told when the slot is filled."""
    peer = opened(postgres.url)
    hand = take(store)
    woken = threading.Event()
    peer.watch([SLOT], lambda _: woken.set())
    assert not woken.wait(0.2)
    hand.fill(b"zero")
    assert woken.wait(PATIENCE)


# The server.


@pytest.fixture
def server():
    require(postgres_programs(), "a PostgreSQL server")
    server = PostgresServer()
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
        with pytest.raises(StoreUnavailable, match=r"cache postgresql://…@127.* cannot be reached: .*Check that"):
            take(store)
    assert store.epoch() == -1
    server.start()
    assert store.opened().line.is_up.wait(PATIENCE)
    assert take(store).at == [1]
