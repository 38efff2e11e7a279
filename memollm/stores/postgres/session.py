"""One process's use of a PostgreSQL server: opening and leaving it, and asking until it answers."""

from __future__ import annotations

import atexit
import time
import weakref
from _thread import start_new_thread
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg

from memollm._types.locks import ThreadLock, interrupted, renewed_in_children
from memollm._types.samples import Sample
from memollm.errors import StoreClosed, StoreError, StoreRefused
from memollm.stores.flights import Flights
from memollm.stores.postgres import sql
from memollm.stores.postgres.address import address_of
from memollm.stores.postgres.asking import Numbers
from memollm.stores.postgres.connections import Connections
from memollm.stores.postgres.drawn import Drawn
from memollm.stores.postgres.failures import OWNER_LOST, may_pass, not_connected, translated
from memollm.stores.postgres.line import UNKNOWN, DirectLine
from memollm.stores.postgres.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from memollm._types.calls import Call
    from memollm.stores.postgres.connections import Connection

T = TypeVar("T")
PAUSE_FIRST: Final = 0.01
PAUSE_LAST: Final = 0.25
"""Seconds between attempts to reach a server that was lost; the pause doubles."""
OF_OWNER: Final = ("bury_loose", "bury_new", "bury_claims", "bury_asked")
MOST_BEHIND: Final = 1.0
"""Seconds that whoever replaced a sample waits for those who still go by the epoch before."""


class OpenServer:
    """What is open at a time, in this process."""

    def __init__(self, line: DirectLine, connections: Connections) -> None:
        self.line = line
        self.connections = connections

    def close(self) -> None:
        """End all connections."""
        self.line.close()
        self.connections.close()

    def leave_to_parent(self) -> None:
        """Let go of all in a forked child."""
        self.line.leave_to_parent()
        self.connections.leave_to_parent()


class ServerSession:
    """One process's use of a server. It opens on first use, and again after a fork."""

    owns = True
    """Whether this process is known to the server as one that may have something in flight."""

    def __init__(self, url: str) -> None:
        self.address = address_of(url)
        self.sql = statements(self.address.schema)
        self.flights = Flights()
        self._closed = False
        self._begin_process()
        _living.add(self)
        atexit.unregister(_close_all)
        atexit.register(_close_all)

    def _begin_process(self) -> None:
        opening = ThreadLock()
        self._opening, self._is_opening = opening.lock, opening.mine
        self._open_as: OpenServer | None = None
        self._when_dropped: weakref.finalize[..., ServerSession] | None = None
        self._has_hung = False
        self.numbers = Numbers()
        self.drawn = Drawn(self.flights)

    # Opening and leaving.

    def opened(self) -> OpenServer:
        """Return what is open; the first use opens it, and says why if that cannot be."""
        opened = self._open_as
        if opened is not None:
            return opened
        if self._is_opening():
            raise interrupted()
        with self._opening:
            if self._closed:
                raise StoreClosed(f"The cache {self.address.shown} was closed. Make a new Cache to go on.")
            if self._open_as is None:
                self._open_as = self._open()
                self._when_dropped = weakref.finalize(self, _leave_soon, self._open_as)
                self._when_dropped.atexit = False
            return self._open_as

    def _open(self) -> OpenServer:
        try:
            line = DirectLine(self.address, owns=self.owns)
        except psycopg.Error as error:
            raise not_connected(error, self.address.shown) from error
        try:
            self._bring_up_to_date(line.connection)
            line.begin()
            connections = Connections(self.address, prepares=not line.is_pooled and not self.address.is_direct_given)
            with connections.lent() as connection:
                self._bury(connection)
        except psycopg.Error as error:
            line.close()
            raise not_connected(error, self.address.shown) from error
        except BaseException:
            line.close()
            raise
        return OpenServer(line, connections)

    def _bring_up_to_date(self, connection: Connection) -> None:
        """Make the tables, or migrate them; refuse those of a newer version."""
        if self._version(connection) == sql.SCHEMA_VERSION:
            return
        # Not inside the transaction: what it sees is settled when it begins.
        connection.execute(self.sql["lock_schema"])
        try:
            self._make_or_migrate(connection)
        finally:
            connection.execute(self.sql["unlock_schema"])

    def _make_or_migrate(self, connection: Connection) -> None:
        with connection.transaction():
            version = self._version(connection)
            self._require_known(version)
            if version < sql.SCHEMA_VERSION:
                for statement in sql.MIGRATIONS[version - 1 :] if version else [self.sql["schema"]]:
                    connection.execute(statement)
                connection.execute(self.sql["drawing_functions"])
                connection.execute(self.sql["set_version"], (sql.SCHEMA_VERSION,))

    def _require_known(self, version: int) -> None:
        if version > sql.SCHEMA_VERSION:
            raise StoreRefused(
                f"The cache {self.address.shown} was made by a newer memollm (schema {version}, this one knows "
                f"{sql.SCHEMA_VERSION}). Update memollm: pip install --upgrade memollm."
            )

    def _version(self, connection: Connection) -> int:
        (is_there,) = connection.execute(self.sql["has_schema"]).fetchone() or (False,)
        row = connection.execute(self.sql["version"]).fetchone() if is_there else None
        return int(row[0]) if row else 0

    def _bury(self, connection: Connection) -> None:
        """Forget those who are long dead: nobody goes by what they had any more, so this is only for space."""
        connection.execute(self.sql["find_dead"])
        dead = [owner for (owner,) in connection.execute(self.sql["long_dead"]).fetchall()]
        if dead:
            with connection.transaction():
                connection.execute(self.sql["alone"])
                for statement in OF_OWNER:
                    connection.execute(self.sql[statement], (dead,))

    def close(self) -> None:
        """Leave the server for good."""
        self._closed = True
        with self._opening:
            opened, self._open_as = self._open_as, None
            if self._when_dropped is not None:
                self._when_dropped.detach()
        if opened is None:
            return
        try:
            with suppress(psycopg.Error, StoreError):
                self._leave(opened)
        finally:
            opened.close()

    def _leave(self, opened: OpenServer) -> None:
        """Void what this process has in flight; what its draws have in hand counts as delivered."""
        me = opened.line.owner
        aloft = [ticket for ticket in list(self.drawn.held) if self.flights.holds(ticket)]
        with opened.connections.lent() as connection, connection.transaction():
            connection.execute(self.sql["alone"])
            connection.execute(self.sql["in_hand"], {"me": me, "aloft": aloft})
            for statement in OF_OWNER:
                connection.execute(self.sql[statement], ([me],))
            connection.execute(self.sql["leave"], (me,))

    def begin_in_child(self) -> None:
        """Begin anew in a forked child: locks, connections and draws are the parent's."""
        opened = self._open_as
        if self._when_dropped is not None:
            self._when_dropped.detach()
        if opened is not None:
            opened.leave_to_parent()
            _parents.append(opened)
        self._begin_process()

    # Asking.

    @contextmanager
    def transaction(self) -> Generator[Connection]:
        """Give a connection with a transaction under way."""
        opened = self.opened()
        try:
            with opened.connections.lent() as connection, connection.transaction():
                yield connection
        except psycopg.Error as error:
            raise translated(error, self.address.shown) from error

    def rows(self, statement: str, *values: Any, **named: Any) -> list[tuple[Any, ...]]:
        """Run a statement by its name."""

        def fetch() -> list[tuple[Any, ...]]:
            with self.opened().connections.lent() as connection:
                return connection.execute(self.sql[statement], named or values or None, binary=True).fetchall()

        return self.patiently(fetch)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        if slots is not None and not slots:
            return {}
        wanted = None if slots is None else list(slots)
        rows = self.rows("samples_of", call.key, call.form, wanted, wanted)
        return {row[0]: Sample._make(row[1:]) for row in rows}

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what is done once however often it is asked, until the server answers or patience is at its end."""
        until: float | None = None
        pause = PAUSE_FIRST
        while True:
            try:
                done = work()
            except psycopg.Error as error:
                now = time.monotonic()
                if until is None:
                    # Whoever has waited in vain once does not wait again before the server has answered.
                    hurries = self._has_hung and error.sqlstate != OWNER_LOST
                    until = now + (0 if hurries else self.address.patience)
                if not may_pass(error) or now >= until:
                    self._has_hung = self._has_hung or may_pass(error)
                    raise translated(error, self.address.shown) from error
                self._after(error, pause)
                pause = min(2 * pause, PAUSE_LAST)
            else:
                self._has_hung = False
                return done

    def _after(self, error: psycopg.Error, pause: float) -> None:
        """Get ready for another attempt."""
        opened = self._open_as
        if opened is not None:
            opened.connections.close()
            if error.sqlstate == OWNER_LOST:
                opened.line.is_up.wait(pause)
        time.sleep(pause)

    def settle_left(self) -> None:
        """Settle what draws of this process hold that are over and have not said so."""
        raise NotImplementedError

    def outlast(self, epoch: int) -> None:
        """Wait until nobody goes by an earlier epoch, but for those who do not answer."""
        until = time.monotonic() + MOST_BEHIND
        with suppress(psycopg.Error), self.opened().connections.lent() as connection:
            while (left := until - time.monotonic()) > 0:
                ((behind,),) = connection.execute(self.sql["behind"], (epoch,)).fetchall()
                if behind is None:
                    return
                with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                    connection.execute(b"SET LOCAL lock_timeout = %d" % max(1, int(left * 1000)))
                    connection.execute(self.sql["outlast"], (behind,))

    def epoch(self) -> int:
        """Return the epoch that this process was told of; below zero where it is not told."""
        opened = self._open_as
        return UNKNOWN if opened is None else opened.line.epoch


_parents: list[OpenServer] = []
"""What a forked child has let go of; nothing of it is ended here."""
_living = renewed_in_children(ServerSession.begin_in_child)


def _leave_soon(opened: OpenServer) -> None:
    """Close what a store had open that nobody refers to any more; a collection waits for nothing."""
    with suppress(RuntimeError):
        start_new_thread(opened.close, ())


def _close_all() -> None:
    for session in list(_living):
        with suppress(StoreError, psycopg.Error):
            session.close()
