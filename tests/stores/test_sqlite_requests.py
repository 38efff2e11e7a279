"""What the SQLite store does for requests that come together: statements, failures, calls."""

import sqlite3
import sys
from contextlib import closing, contextmanager
from pathlib import Path

import filelock
import pytest
from hands import stock, take, want

from memollm._types.calls import Place
from memollm._types.requests import Fill, Look, Settle, Take, Write, Written
from memollm._types.samples import MINE, Sample
from memollm.errors import StoreError, StoreUnavailable
from memollm.stores.sqlite.connections import WARNS_OF_NUMBERS, NumberedConnection
from memollm.testing import NOON
from memollm.testing._bench import asked, call


@contextmanager
def statements_of(store, fail=lambda _: None):
    """List what the store runs on its connection; `fail` may raise at a statement."""
    link, ledger = store._open_as
    plain, done = link.execute, []

    def execute(statement, *values):
        done.append(statement)
        fail(statement)
        return plain(statement, *values)

    link.execute = ledger.rows.execute = execute
    try:
        yield done
    finally:
        link.execute = ledger.rows.execute = plain


def draw(store, reader="reader"):
    return Take(store.flights.depart(), [want(reader=reader)])


def test_stored_draw_is_four_statements(store):
    """A stored sample for a reader that has drawn before takes a look, an update, and the transaction around them."""
    stock(store, b"0", b"1", b"2")
    take(store)
    with statements_of(store) as done:
        assert [state.record for state in asked(store, draw(store))[0].states] == [b"1"]
        assert store.at_once(draw(store))[0].states[0].record == b"2"
    assert [statement.split()[0] for statement in done] == ["BEGIN", "SELECT", "UPDATE", "COMMIT"] * 2


@pytest.mark.skipif(not hasattr(filelock, "lock_descriptor"), reason="an older filelock leaves the lock to us")
@pytest.mark.skipif(WARNS_OF_NUMBERS, reason="this Python wants numbered parameters by name, which is one more")
def test_stored_draw_is_ten_calls(store):
    """Asking for a stored sample is at most ten calls of Python in three modules of ours."""
    stock(store, b"0", b"1", b"2")
    take(store)
    requests = (draw(store),)
    called = []
    sys.setprofile(lambda frame, event, _: called.append(frame.f_code.co_filename) if event == "call" else None)
    store.perform(requests)
    sys.setprofile(None)
    assert len(called) <= 10
    assert {Path(name).stem for name in called if "memollm" in name} == {"store", "session", "ledger"}


def test_requests_share_one_commit(store):
    """Takes and writes of several draws are one transaction, synced to the disk if there is a fill (P7)."""
    hand = take(store, 2)
    fills = [Write(store.flights.new_id(), [fill]) for fill in hand.fills(b"0", b"1")]
    with statements_of(store) as done:
        answers = store.perform([draw(store, "a"), *fills, draw(store, "b"), Look(hand.ticket, [Place(call(), 0)])])
    assert [each.split()[0] for each in done].count("BEGIN") == done.count("COMMIT") == 1
    assert done.index("PRAGMA synchronous = FULL") < done.index("BEGIN IMMEDIATE")
    assert answers[1:3] == [Written(), Written()]
    assert answers[3][0].states == [Sample(b"0", NOON)]
    with statements_of(store) as done:
        store.perform([draw(store, "a"), draw(store, "b")])
    assert done.index("PRAGMA synchronous = NORMAL") < done.index("BEGIN IMMEDIATE")


@pytest.mark.parametrize("first", [True, False])
def test_request_that_fails_alone(store, first):
    """A sample that is too large fails by itself; what was asked beside it is done, once (P3, P7)."""
    hand = take(store, 2, reader="a")
    good, _ = fills = hand.fills(b"good", b"x" * 5000)
    store._open_as[0].writer.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    writes = [Write(store.flights.new_id(), [Settle(0, []), fill]) for fill in fills]
    before, after = draw(store), draw(store)
    answers = store.perform([before, *(writes if first else reversed(writes)), after])
    done, failed = answers[1:3] if first else reversed(answers[1:3])
    assert done == Written()
    assert isinstance(failed, StoreUnavailable)
    assert [list(answers[at][0].positions) for at in (0, 3)] == [[0], [1]]
    assert store.peek(call()) == {good.place.slot: good.sample}
    assert [asked(store, each)[0].positions for each in (before, after)] == [answers[at][0].positions for at in (0, 3)]
    # What failed was not done, so that it may be asked again.
    with pytest.raises(StoreUnavailable, match="too big"):
        asked(store, writes[1])
    assert asked(store, writes[0]) == Written()
    hand.settle()
    assert take(store, reader="a").at == [2]


def test_draw_whose_call_cannot_be_stored(store):
    """A take that fails alone has taken nothing, and the others have (P3)."""
    take(store).settle()
    store._open_as[0].writer.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, 4000)
    large = Take(store.flights.depart(), [want(of=call("x" * 5000))])
    one, failed, other = store.perform([draw(store), large, draw(store)])
    assert isinstance(failed, StoreUnavailable)
    assert [list(each[0].positions) for each in (one, other)] == [[1], [2]]
    assert one[0].states == [MINE]


def test_failure_of_the_whole_store_is_told_to_each(store):
    """Where the disk is full nobody is tried alone, and nothing has happened (P7)."""
    hand = take(store, 2)
    full = sqlite3.OperationalError("database or disk is full")
    full.sqlite_errorcode = sqlite3.SQLITE_FULL

    def fail(statement):
        if statement == "COMMIT":
            raise full

    writes = [Write(store.flights.new_id(), [fill]) for fill in hand.fills(b"0", b"1")]
    requests = [draw(store), *writes]
    with statements_of(store, fail) as done:
        answers = store.perform(requests)
    assert all(isinstance(answer, StoreError) for answer in answers)
    assert done.count("BEGIN IMMEDIATE") == 1
    # Asked again, all of it is done.
    taken, *written = store.perform(requests)
    assert (list(taken[0].positions), written) == ([2], [Written(), Written()])
    assert sorted(store.peek(call())) == [0, 1]
    hand.settle()


def test_several_fills_of_one_slot(store):
    """Of several fills in one transaction the first is kept, and the others are told (P2)."""
    hand = take(store)
    place = Place(call(), 0)
    writes = [
        Write(store.flights.new_id(), [Fill(hand.ticket, place, Sample(b"%d" % turn, NOON))]) for turn in range(3)
    ]
    lost = {place: Sample(b"0", NOON)}
    assert [each.lost for each in store.perform(writes)] == [{}, lost, lost]


def test_numbered_parameters_are_given_by_name():
    """Where Python takes `?1` for a name, a statement gets what belongs there, as often as it says so."""
    with closing(sqlite3.connect(":memory:", factory=NumberedConnection)) as connection:
        connection.execute("CREATE TABLE t (a, b, c)")
        connection.executemany("INSERT INTO t VALUES (?1, ?2, ?1)", [(1, 2), (3, 4)])
        connection.cursor().execute("INSERT INTO t VALUES (?1, ?2, ?1)", (5, 6))
        assert connection.execute("SELECT * FROM t WHERE a > ?", (0,)).fetchall() == [(1, 2, 1), (3, 4, 3), (5, 6, 5)]
