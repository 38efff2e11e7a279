"""The SQLite store among others: held locks, interruptions, dead owners, forked children."""

import fcntl
import gc
import os
import signal
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest
from hands import at_once, stock, take

from memollm._types.calls import Place, Want
from memollm._types.requests import Look, Settle, Take, Write
from memollm._types.samples import MINE, Busy, Sample
from memollm.errors import StoreUnavailable
from memollm.stores.sqlite.filelocks import lock_descriptor, unlock_descriptor
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import NOON
from memollm.testing._bench import PATIENCE, asked, call, nobody_fills, noted, somebody_fills, written

SLOT = Place(call(), 0)


# Waiting.


def test_held_lock_is_not_waited_for(store):
    """While another process writes, a draw that must not wait has done nothing (P12)."""
    stock(store, b"zero")
    descriptor = os.open(store.files.lock, os.O_RDWR)
    try:
        assert lock_descriptor(descriptor, blocking=False)
        assert at_once(store) is None
        assert at_once(store, reader=None) == ([0], [b"zero"])
        unlock_descriptor(descriptor)
    finally:
        os.close(descriptor)
    assert at_once(store) == ([0], [b"zero"])


def test_what_is_stored_is_looked_at_under_no_lock(store):
    """While another process writes, a slot that was filled meanwhile is read at once (P5, P12)."""
    stock(store, b"zero")
    descriptor = os.open(store.files.lock, os.O_RDWR)
    try:
        assert lock_descriptor(descriptor, blocking=False)
        (sample,) = store.at_once(Look(0, (SLOT,)))
        assert sample.record == b"zero"
    finally:
        os.close(descriptor)


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_closed_store_leaves_no_descriptor(tmp_path, opened):
    """A program that opens and closes many caches does not run out of files (P7)."""
    for number in range(3):
        store = opened(tmp_path / str(number))
        stock(store, b"zero")
        store.close()
    del store
    gc.collect()
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    assert [link for link in links if str(tmp_path) in link] == []


def test_owner_without_standard_input_leaves_no_descriptor(tmp_path):
    """The first file of a program whose standard input is closed has number 0, and is closed like any other (P5)."""
    program = (
        "import os, sys; from pathlib import Path; from memollm.stores.sqlite.owner_locks import Owner\n"
        "os.close(0); owner = Owner(Path(sys.argv[1])); os.fstat(0); owner.forget()\n"
        "try: os.fstat(0)\nexcept OSError: print('closed')"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "owners")]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout == b"closed\n"


def test_foreign_writer_is_not_waited_for(store):
    """While a program that does not know our lock writes, a draw that must not wait has done nothing (P12)."""
    stock(store, b"zero")
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert at_once(store) is None
        other.execute("ROLLBACK")
    assert at_once(store) == ([0], [b"zero"])


def test_foreign_writer_is_waited_for_without_the_lock(store):
    """While a program that does not know our lock writes, whoever waits for it keeps nobody from our lock (P5, P12)."""
    take(store)
    descriptor = os.open(store.files.lock, os.O_RDWR)
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other, ThreadPoolExecutor(3) as pool:
        other.execute("BEGIN IMMEDIATE")
        waiting = [pool.submit(take, store), pool.submit(noted, store, "run", "one", {"is": "kept"})]
        for _ in range(20):
            # Each time it is let go, it is to be had again, although nobody has got any further.
            pool.submit(fcntl.flock, descriptor, fcntl.LOCK_EX).result(PATIENCE)
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        assert not any(future.done() for future in waiting)
        other.execute("ROLLBACK")
        assert [future.result(PATIENCE) is None for future in waiting] == [False, True]
    os.close(descriptor)


def test_opening_waits_for_a_foreign_writer_without_the_lock(store, opened):
    """P12: the same holds for a process that opens a cache which another program is writing to."""
    take(store)
    store.close()
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        late = opened(store.files.folder)
        descriptor = os.open(store.files.lock, os.O_RDWR)
        with ThreadPoolExecutor(2) as pool:
            waiting = pool.submit(late.peek, call())
            for _ in range(20):
                pool.submit(fcntl.flock, descriptor, fcntl.LOCK_EX).result(PATIENCE)
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            assert not waiting.done()
            other.execute("ROLLBACK")
            other.close()
            assert waiting.result(PATIENCE) == {}
        os.close(descriptor)


def test_foreign_writer_that_hangs_is_waited_for_once(store, monkeypatch):
    """P7: a program that hangs costs one wait, not one a draw; when it is gone, draws go on."""
    monkeypatch.setattr("memollm.stores.sqlite.link.BUSY_PATIENCE", 0.05)
    stock(store, b"zero")
    attempts = []
    monkeypatch.setattr("memollm.stores.sqlite.link.time.sleep", attempts.append)
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable):
            take(store)
        assert attempts
        attempts.clear()
        with pytest.raises(StoreUnavailable):
            take(store)
        assert not attempts
        other.execute("ROLLBACK")
    assert take(store).records == [b"zero"]


def test_opening_is_not_waited_for(store):
    """The first use opens the file, which a draw that must not wait leaves to one that may (P12)."""
    assert at_once(store) is None
    assert store.epoch() is not None
    assert not store.files.folder.exists()


# Interruptions.


@pytest.mark.parametrize("stored", [True, False])
def test_interrupted_draw_leaves_nothing_held(tmp_path, opened, stored):
    """Interrupted after any statement, a draw leaves no lock, no transaction and no gap (P1, P3)."""
    seen = []
    while not seen or seen[-1] != "nothing more":
        store = opened(tmp_path / f"{stored}-{len(seen)}")
        if stored:
            stock(store, b"zero")
        store.peek(call())
        seen.append(_take_interrupted_after(store, len(seen)))
        peer = opened(store.files.folder)
        noted(peer, "run", "one", {})
        # Also a sample that the commit itself has delivered is given back: the store knows what it answered.
        assert (at_once(peer)[0], at_once(store)[0]) == ([0], [1]), seen
    assert {"BEGIN IMMEDIATE", "COMMIT"} <= set(seen)


def _take_interrupted_after(store, count):
    """Begin a draw, interrupt it after so many statements, and return the last of them."""
    ticket = store.flights.depart()
    request = Take(ticket, [Want(call(), "reader", 1, None)])
    try:
        return _interrupted_after(store, count, lambda: asked(store, request))
    finally:
        written(store, [Settle(ticket, None)])
        store.flights.arrive(ticket)


def _interrupted_after(store, count, work):
    """Do work on a store, interrupt it after so many statements, and return the last of them."""
    link, ledger = store._open_as
    plain = link.execute
    done = []

    def execute(statement, *values):
        result = plain(statement, *values)
        done.append(statement)
        if len(done) == count + 1:
            raise KeyboardInterrupt
        return result

    link.execute = ledger.rows.execute = execute
    try:
        work()
    except KeyboardInterrupt:
        return done[count]
    else:
        return "nothing more"
    finally:
        link.execute = ledger.rows.execute = plain


@pytest.mark.parametrize("when", ["before", "after"])
def test_interrupt_of_the_undoing_leaves_no_transaction_open(store, when):
    """Interrupted again while it undoes what it took, a draw has taken nothing and keeps no number that was undone."""
    take(store)
    link, ledger = store._open_as
    plain, other = link.execute, call("other")

    def execute(statement, *values):
        if statement == "COMMIT":
            raise KeyboardInterrupt
        if statement == "ROLLBACK":
            link.execute = ledger.rows.execute = plain
            if when == "after":
                plain(statement)
            raise KeyboardInterrupt
        return plain(statement, *values)

    link.execute = ledger.rows.execute = execute
    with pytest.raises(KeyboardInterrupt):
        take(store, of=other)
    hand = take(store, of=other)
    assert (hand.at, hand.states) == ([0], [MINE])
    hand.fill(b"zero")
    assert store.peek(other) == {0: Sample(b"zero", NOON)}
    assert store.keeping.forget(other) == 1


@pytest.mark.parametrize("delivers", [True, False])
def test_interrupted_settlement_is_made_good_by_the_next(tmp_path, opened, delivers):
    """Settled again after an interrupt at any statement, a draw has nothing in flight for anybody (P1, P3, P5)."""
    seen = []
    while not seen or seen[-1] != "nothing more":
        store = opened(tmp_path / f"{delivers}-{len(seen)}")
        hand = take(store, 2)
        settle = Write(store.flights.new_id(), [Settle(hand.ticket, [] if delivers else None)])
        seen.append(_interrupted_after(store, len(seen), lambda: asked(store, settle)))  # noqa: B023 - done at once
        assert asked(store, settle).void == (), seen
        peer = opened(store.files.folder)
        assert nobody_fills(peer, SLOT, Place(call(), 1)), seen
        assert take(peer, 2).at == ([2, 3] if delivers else [0, 1]), seen
    assert {"BEGIN IMMEDIATE", "COMMIT"} <= set(seen)


# A disk that is full for one process.


@contextmanager
def full_disk(store):
    """Let no draw that has claims be settled meanwhile."""
    with closing(sqlite3.connect(store.files.database, isolation_level=None)) as other:
        other.execute("CREATE TRIGGER no_room BEFORE DELETE ON claim BEGIN SELECT RAISE(FAIL, 'disk full'); END")
        yield
        other.execute("DROP TRIGGER no_room")


def fail_to_settle(store, hand):
    """End a draw whose settlement cannot be written down."""
    store.flights.arrive(hand.ticket)
    with full_disk(store), suppress(StoreUnavailable):
        written(store, [Settle(hand.ticket, None)])


def test_what_could_not_be_settled_is_free_for_others(store, opened):
    """P3, P5: a process with nothing in flight leaves what it cannot settle to others at once."""
    fail_to_settle(store, take(store, 2))
    assert (take(opened(store.files.folder), 2).at, take(store).at) == ([0, 1], [2])


def test_positions_in_flight_outlive_a_failed_settlement(store, opened):
    """P1: a position whose slot another is filling stays its draw's, whatever else the process cannot settle."""
    peer = opened(store.files.folder)
    filling = take(peer, reader="b")
    waiting = take(store, reader="a")
    assert (waiting.at, waiting.states) == ([0], [Busy(None)])
    fail_to_settle(store, take(store, of=call("other")))
    assert take(peer, reader="a").at == [1]
    filling.fill(b"zero")
    assert [sample.record for sample in waiting.look(0)] == [b"zero"]


def test_claims_in_flight_outlive_a_failed_settlement(store, opened):
    """P5: a slot that a draw without a reader is filling stays claimed, whatever else the process cannot settle."""
    take(store, reader=None)
    fail_to_settle(store, take(store, of=call("other")))
    assert take(opened(store.files.folder), reader=None).states == [Busy(None)]


def test_deliveries_outlive_a_failed_settlement(store, opened):
    """P1: a position that was delivered, and could not be settled yet, is given to nobody else."""
    delivered = take(store)
    delivered.fill(b"zero")
    store.flights.owe(delivered.ticket)
    store.flights.arrive(delivered.ticket)
    fail_to_settle(store, take(store, of=call("other")))
    assert take(opened(store.files.folder)).at == [1]


# Dead owners.


@pytest.mark.parametrize("how", ["alone", "forks"])
def test_dead_owner_is_buried(tmp_path, opened, owner, how):
    """A killed process's claims are void and its positions free at once, even if a forked child lives on (P3, P5)."""
    process = owner(how)
    store = opened(tmp_path / "cache")
    waiting = take(store, reader="b")
    assert waiting.states == [Busy(None)]
    assert take(store).at == [3]
    assert somebody_fills(store, SLOT)
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE)
    assert nobody_fills(store, SLOT)
    assert waiting.look(0) == [MINE]
    assert take(store, 4).at == [0, 1, 2, 4]
    # No lock file of the dead is left, and the child keeps nobody from writing.
    assert len(list(store.files.owners.iterdir())) == 1
    assert at_once(store, reader="c") is not None


@pytest.mark.skipif(sys.platform != "linux", reason="counts in /proc")
def test_processes_that_came_by_leave_no_descriptor(tmp_path, opened, owner):
    """Whoever looks after other processes keeps nothing open for those who are gone (P7)."""
    store = opened(tmp_path / "cache")

    def meet():
        process = owner("alone")
        take(store, reader="b").look(0)
        assert somebody_fills(store, SLOT)
        process.kill()
        process.wait(PATIENCE)
        process.stdin.close()
        process.stdout.close()
        assert nobody_fills(store, SLOT)

    meet()
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(8):
        meet()
    # A thread that looked at the same time as another has a connection of its own, which has three.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_is_a_process_of_its_own(store):
    """A forked child holds nothing of its parent's, and its end voids nothing of its parent's (P1, P5)."""
    hand = take(store, 2)
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            own = take(store)
            late = hand.store.flights.aloft(hand.ticket)
            hand.settle(0, 1)
            status = 0 if (own.at, own.states, late) == ([2], [MINE], False) else 2
            store.close()
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert take(store, 2).at == [2, 3]
    assert take(store, reader="b").states == [Busy(hand.ticket)]
    hand.fill(b"zero", b"one")
    assert take(store, 2, reader=None).records == [b"zero", b"one"]


def test_epoch_is_seen_by_another_process(store):
    """A sample that another process forgot changes the epoch here (P2)."""
    stock(store, b"zero")
    epoch = store.epoch()
    program = (
        "import sys; from pathlib import Path; from memollm.stores.sqlite.store import SqliteStore;"
        "from memollm.testing._bench import call; print(SqliteStore(Path(sys.argv[1])).keeping.forget(call()))"
    )
    command = [sys.executable, "-c", program, str(store.files.folder)]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout == b"1\n"
    assert store.epoch() != epoch
    assert take(store).states == [MINE]


def test_nobody_goes_by_an_old_epoch_once_a_replacement_is_told_of(store, monkeypatch):
    """A process goes by an epoch for a moment without looking; whoever replaces something outlasts that (P8)."""
    monkeypatch.setattr("memollm.stores.sqlite.epoch.GOOD_FOR", 0.2)
    stock(store, b"zero")
    other = SqliteStore(store.files.folder)
    try:
        assert take(other).records == [b"zero"]
        epoch = other.epoch()
        store.keeping.forget(call())
        assert other.epoch() != epoch
    finally:
        other.close()
