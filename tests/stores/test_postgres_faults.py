"""PostgreSQL stores that lose the connection by which others know that they live."""

import threading

import pytest
from hands import stock, take, want
from kinds import postgres_kind, terminate
from servers import require_psycopg, until

psycopg = require_psycopg()

from memollm._types.requests import Take
from memollm._types.samples import MINE, Busy
from memollm.errors import StoreUnavailable
from memollm.stores.drawn import MANY
from memollm.stores.postgres import line
from memollm.stores.postgres.sql import _written_for
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import asked, call


@pytest.fixture
def opened(closing):
    """Make stores that are closed after the test."""
    return lambda url: closing(PostgresStore(url))


@pytest.fixture
def store(postgres, opened):
    return opened(postgres.fresh())


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
    until(lambda: line.connection is not ghost and line.is_up.is_set())
    assert take(peer, reader="b").states == [Busy(None)]
    hand.fill(b"zero")
    assert hand.settle().void == ()
    ghost.close()


def fails(_):
    raise OSError("cut")


# What was given up, and comes to the server late.


@pytest.fixture
def kind(postgres):
    return postgres_kind(postgres)


def forget(store):
    """Draw so often that the server remembers no answer of before."""
    for _ in range(2 * MANY):
        take(store, reader=None)


def test_locks_of_connections_that_were_given_up_are_few(behind, proxy, postgres, monkeypatch):
    """A process that loses its connections again and again does not hold locks without end."""
    monkeypatch.setattr(line, "BARRED", 2)
    store = behind()
    stock(store, *[b"stored"] * 9)
    held = (
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = %s AND mode = 'ExclusiveLock' AND granted"
    )
    pid = store.opened().line.connection.info.backend_pid
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        (before,) = connection.execute(held, (pid,)).fetchone()
        for at in range(5):
            store.peek(call())
            proxy.lose_answers(1)
            assert take(store).at == [at]
        until(lambda: connection.execute(held, (pid,)).fetchone() == (before + 2,))


def waiting(connection):
    """Tell which sessions of the database wait for a lock."""
    here = "database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    return set(connection.execute(f"SELECT pid FROM pg_locks WHERE NOT granted AND {here}").fetchall())


@pytest.mark.parametrize("n", [1, 2])
def test_a_take_that_comes_late_takes_nothing(behind, proxy, n):
    """A draw that was given up, asked again and answered is not done once more, when nobody waits for it (P3)."""
    store = behind()
    stock(store, *[b"stored"] * 6)
    take(store)
    proxy.keep_questions(1)
    assert take(store, n).at == [*range(1, n + 1)]
    assert len(proxy.kept) == 1
    take(store)
    forget(store)
    proxy.let_come()
    assert take(store).at == [n + 2]


@pytest.mark.parametrize("n", [1, 2])
def test_a_claim_that_comes_late_is_nobodys(behind, proxy, opened, postgres, n):
    """Whoever wants a slot is not kept waiting for a draw that is over (P5)."""
    store = behind()
    stock(store, b"stored")
    take(store)
    proxy.keep_questions(1)
    hand = take(store, n)
    assert (len(proxy.kept), hand.states) == (1, [MINE] * n)
    hand.give_back()
    forget(store)
    proxy.let_come()
    other = take(opened(postgres.url), n)
    assert (other.at, other.states) == ([*range(1, n + 1)], [MINE] * n)


@pytest.mark.parametrize("n", [1, 2])
def test_a_take_that_is_still_under_way(behind, proxy, postgres, n):
    """What is asked again while the server is still doing it is done once (P1, P3)."""
    store = behind()
    stock(store, *[b"stored"] * 6)
    take(store)
    number = store.numbers.calls[call()] % 4096
    lock, unlock = (_written_for("memollm", f"SELECT pg_advisory_{each}lock($CALLS, %s)") for each in ("", "un"))
    with psycopg.connect(postgres.url, autocommit=True) as holder:
        holder.execute(lock, (number,))
        given = []
        drawing = threading.Thread(target=lambda: given.append(take(store, n).at), daemon=True)
        drawing.start()
        until(lambda: len(waiting(holder)) == 1)
        late = waiting(holder)
        proxy.cut()
        proxy.mend()
        until(lambda: waiting(holder) - late)
        holder.execute(unlock, (number,))
        drawing.join(30)
    assert given == [[*range(1, n + 1)]]
    assert take(store).at == [n + 1]


def test_a_server_that_answers_and_is_still_at_it(behind, proxy, monkeypatch):
    """Whoever asks again is told what the server still does, and waits for it each time, as it is not away."""
    store = behind(patience=0.1)
    stock(store, b"zero")
    drawing = Take(store.flights.depart(), [want()])
    waits, get_ready = [], store.get_ready
    monkeypatch.setattr(store, "get_ready", lambda *said: (waits.append(said), get_ready(*said)))
    with monkeypatch.context() as patched:
        patched.setattr(store.opened().line, "bar", lambda *_: False)
        proxy.lose_answers(1)
        for _ in range(2):
            waits.clear()
            with pytest.raises(StoreUnavailable, match="answers, but has not ended what was asked before"):
                asked(store, drawing)
            assert waits
    assert list(asked(store, drawing)[0].positions) == [0]
    store.flights.arrive(drawing.ticket)


# What a cursor notes of the draw that moved it last.


@pytest.fixture
def counted(postgres):
    """Count the rows of a table."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield lambda table: connection.execute(f"SELECT count(*) FROM memollm.{table}").fetchone()[0]


def lost(store, proxy, take=None):
    """Draw, and lose the answer; return what is asked again."""
    # The connection is there, so that what is lost next is an answer.
    store.peek(call())
    take = take or Take(store.flights.depart(), [want()])
    proxy.lose_answers(1)
    with pytest.raises(StoreUnavailable):
        asked(store, take)
    return take


def test_a_note_outlasts_the_draws_of_others(behind, proxy, opened, postgres):
    """An answer that was lost is given again, whoever has drawn meanwhile, and how often (P1, P3)."""
    store, peer = behind(patience=0), opened(postgres.url)
    stock(store, *[b"stored"] * 20)
    assert [take(each).at for each in (store, peer, store)] == [[0], [1], [2]]
    first, *_ = again = [lost(store, proxy), lost(store, proxy)]
    assert [take(each).at for each in (peer, store, peer, store)] == [[5], [6], [7], [8]]
    assert [[*asked(store, each)[0].positions] for each in again] == [[3], [4]]
    assert [take(each).at for each in (peer, store)] == [[9], [10]]
    store.flights.arrive(first.ticket)


def test_a_note_is_settled_once(behind, proxy):
    """What a draw that is over was given is free once, though the answer of that was lost, too (P1)."""
    store = behind(patience=0)
    stock(store, *[b"stored"] * 4)
    take(store)
    store.flights.arrive(lost(store, proxy).ticket)
    again = lost(store, proxy)
    assert [*asked(store, again)[0].positions] == [1]
    assert [take(store).at, take(store).at] == [[2], [3]]
    store.flights.arrive(again.ticket)


def test_a_note_of_the_dead_is_taken_over(opened, postgres, counted):
    """Where a process has ended, the cursor notes for those that live, and nothing else is written for a draw."""
    store, peer = opened(postgres.fresh()), opened(postgres.url)
    stock(store, *[b"stored"] * 9)
    for each in (peer, store, store):
        take(each)
    remembered = counted("asked")
    take(peer)
    assert counted("asked") == remembered + 1
    store.close()
    take(peer)
    remembered = counted("asked")
    for _ in range(3):
        take(peer)
    assert counted("asked") == remembered


def test_a_note_outlasts_that_its_owner_is_taken_for_dead(behind, proxy, kind, opened, postgres):
    """Who comes back is given what was lost on its way, though others have drawn who took it for dead (P1, P3)."""
    store, peer = behind(patience=0), opened(postgres.url)
    stock(store, *[b"stored"] * 9)
    assert [take(each).at for each in (store, peer)] == [[0], [1]]
    again = lost(store, proxy)
    with kind.taken_for_dead(kind.server, store):
        assert [take(peer).at for _ in range(3)] == [[3], [4], [5]]
    assert [*asked(store, again)[0].positions] == [2]
    assert [take(each).at for each in (store, peer)] == [[6], [7]]
    store.flights.arrive(again.ticket)


def test_a_note_does_not_outlast_its_sequence(behind, proxy, opened, postgres):
    """A draw whose reader was set back before it is asked again is given the first of what comes now (P3)."""
    store, peer = behind(patience=0), opened(postgres.url)
    stock(store, *[b"stored"] * 3)
    take(store)
    again = lost(store, proxy)
    assert peer.keeping.rewind("reader")
    assert [*asked(store, again)[0].positions] == [0]
    assert take(store).at == [1]
    store.flights.arrive(again.ticket)


def test_a_note_has_the_number_of_its_asking(behind, proxy):
    """A draw that began first and asked last is given again what was lost, though its ticket is the lower (P1, P3)."""
    store = behind(patience=0)
    here, there = call("here"), call("there")
    for each in (here, there):
        stock(store, *[b"stored"] * 3, of=each)
        take(store, of=each)
    early, late = (Take(store.flights.depart(), [want(of=each)]) for each in (there, here))
    for each in (late, early):
        lost(store, proxy, each)
    assert take(store, of=there).at == [2]
    assert [[*asked(store, each)[0].positions] for each in (early, late)] == [[1], [1]]
    for each in (early, late):
        store.flights.arrive(each.ticket)


def test_a_note_that_has_arrived_gives_way(opened, postgres, counted):
    """A draw that asked later writes its note in the place of one that came, whichever of the two began first."""
    store = opened(postgres.fresh())
    stock(store, *[b"stored"] * 4)
    take(store)
    early, late = (Take(store.flights.depart(), [want()]) for _ in range(2))
    remembered = counted("asked")
    assert [[*asked(store, each)[0].positions] for each in (late, early)] == [[1], [2]]
    assert counted("asked") == remembered
    for each in (early, late):
        store.flights.arrive(each.ticket)
