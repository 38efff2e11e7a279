"""PostgreSQL stores that lose the connection by which others know that they live."""

import pytest
from hands import take
from kinds import terminate
from servers import require_psycopg, until

psycopg = require_psycopg()

from memollm._types.samples import Busy
from memollm.stores.postgres.store import PostgresStore
from memollm.testing._bench import call

pytestmark = pytest.mark.usefixtures("deadline")


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
