"""The SQLite connections of this process: each is known while it is open, so that none is when the process forks."""

from __future__ import annotations

import ctypes
import sqlite3
import sys
import time
import weakref
from contextlib import suppress
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final, NoReturn, Self, cast

from memollm.errors import StoreUnavailable
from memollm.stores.sqlite.lock import POLL, acquired

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

RECOVERY_PATIENCE: Final = 5.0
"""Seconds for which a new connection waits: another's recovery after a crash keeps out even those who only read."""


STEPS: Final = 20_000_000
"""How many steps of SQLite's machine a statement may take on the smallest file: less than a second's."""
STEPS_PER_BYTE: Final = 50
"""How many more it may take for each byte of the file; the longest of ours take half of one."""
PARTS: Final = 100
"""In how many parts those steps are counted."""


WARNS_OF_NUMBERS: Final = (3, 12) <= sys.version_info < (3, 12, 4)
"""Whether `?1` is warned of at each statement, as a name that is given by its place."""


class Connection(sqlite3.Connection):
    """A connection that is known while it is open, and closed if everybody has forgotten it.

    A statement that goes on for far longer than the file is large is interrupted: in a damaged file, or one that was
    made for it, rows can lead back to themselves.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.thread = get_ident()
        _open[id(self)] = self
        super().__init__(*arguments, **options)
        self._left: list[int] = []
        self._steps = 0
        # What is in the schema is ours, or nothing is read; these are for what might be put there later.
        self.execute("PRAGMA trusted_schema = OFF")
        self.execute("PRAGMA cell_size_check = ON")
        if sys.version_info >= (3, 12):
            self.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_TRIGGER, False)
            self.setconfig(sqlite3.SQLITE_DBCONFIG_ENABLE_VIEW, False)

    def allow_work(self, database: Path) -> None:
        """Let the statements to come take as long as the file as it is now can need."""
        self._left = [1, *[0] * PARTS]
        # A method of C: a signal is handled after the statement, where what it raises is not lost.
        self._steps = (STEPS + STEPS_PER_BYTE * size_of(database)) // PARTS
        self.set_progress_handler(self._left.pop, self._steps)

    def be_interruptible(self) -> None:
        """Let Ctrl-C end a statement in the middle."""
        left = self._left

        def count() -> int:
            # Python handles signals in a function of its own.
            return left.pop()

        self.set_progress_handler(count, self._steps)

    def has_run_away(self, error: BaseException) -> bool:
        """Tell whether a failure says that what was allowed has been used up."""
        return not self._left and getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT

    def close(self) -> None:
        """Close it; that nobody had done so is nothing to warn of."""
        try:
            super().close()
        finally:
            _open.pop(id(self), None)

    def __del__(self) -> None:
        with suppress(sqlite3.Error):
            self.close()


class NumberedCursor(sqlite3.Cursor):
    """A cursor for a Python that takes `?1` for a name: what stands there is given by that name."""

    def execute(self, statement: str, parameters: Any = (), /) -> Self:
        """Run a statement."""
        return super().execute(statement, _named(statement, parameters))

    def executemany(self, statement: str, rows: Any, /) -> Self:
        """Run it for each row."""
        return super().executemany(statement, (_named(statement, row) for row in rows))


def _named(statement: str, parameters: Any) -> Any:
    if "?1" not in statement:
        return parameters
    return {str(number): value for number, value in enumerate(parameters, 1)}


class NumberedConnection(Connection):
    """A connection whose cursors are such."""

    def cursor(self, factory: Any = NumberedCursor) -> Any:
        """Make a cursor."""
        return super().cursor(factory)

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """Run a statement."""
        return cast("NumberedCursor", self.cursor()).execute(statement, parameters)

    def executemany(self, statement: str, rows: Any, /) -> sqlite3.Cursor:
        """Run it for each row."""
        return cast("NumberedCursor", self.cursor()).executemany(statement, rows)


_open: weakref.WeakValueDictionary[int, Connection] = weakref.WeakValueDictionary()
_inherited: list[str] = []
"""That SQLite was in use when this process was forked, if it was."""


def connect(database: Path, *, mode: str, patience: float | None = None) -> Connection:
    """Open a connection that any one thread at a time may use, with transactions under our own control."""
    if _inherited:
        raise StoreUnavailable(
            f"The cache {database} cannot be used here: a cache was in use when this process was forked, and stayed in "
            "use for too long, so that nothing may be opened here any more. Fork while no other thread draws, or have "
            "multiprocessing start its processes by spawn or forkserver."
        )
    connection = sqlite3.connect(
        f"{database.as_uri()}?mode={mode}",
        uri=True,
        timeout=RECOVERY_PATIENCE if patience is None else patience,
        isolation_level=None,
        check_same_thread=False,
        factory=NumberedConnection if WARNS_OF_NUMBERS else Connection,
    )
    connection.allow_work(database)
    return connection


def may_go_on(connection: sqlite3.Connection, error: Exception, database: Path) -> bool:
    """Let a statement take as long as the file as it is now can need, if it was interrupted for taking long."""
    if not isinstance(connection, Connection) or not connection.has_run_away(error):
        return False
    connection.allow_work(database)
    return True


def size_of(database: Path) -> int:
    """Return how many bytes a database and its log have."""
    size = 0
    for path in (database, database.with_name(f"{database.name}-wal")):
        with suppress(OSError):
            size += path.stat().st_size
    return size


def wait_until_closed(until: float) -> None:
    """Wait until no other thread has a connection open, or a time of the monotonic clock has come."""
    me = get_ident()
    while any(connection.thread != me for connection in _known()) and time.monotonic() < until:
        time.sleep(POLL)


def abandon(connection: sqlite3.Connection) -> None:
    """Keep a connection as it is, for ever: closing it might release or remove what others use.

    It is not known any more, and no fork is held up by it: of a file that is gone nobody will want another.
    """
    if _open.pop(id(connection), None) is not None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def leave_to_parent() -> None:
    """Leave alone, in a forked child, what is the parent's; if anything is, SQLite is not to be used here.

    Its table of the locks that this process has is the parent's.
    """
    for connection in _known():
        abandon(connection)
        _inherited.append("a connection")


def _known() -> list[Connection]:
    return [connection for reference in _open.valuerefs() if (connection := reference()) is not None]


class Closed(Exception):
    """What was to be used has been closed meanwhile; whoever has the store opens it anew."""


def _refuse() -> NoReturn:
    raise Closed


class Readers:
    """Connections that read without any lock, each of them for one thread at a time."""

    def __init__(self, database: Path, connect: Callable[[], Connection]) -> None:
        self._database = database
        self._connect = connect
        # Reentrant: whoever interrupts this thread may read, too.
        self._connecting = RLock()
        self._closed = False
        self._idle: list[sqlite3.Cursor] = []
        """A cursor of each connection that no thread uses at this moment."""
        self._connections: weakref.WeakSet[Connection] = weakref.WeakSet()
        """Those that are open; one that an interrupt has lost is closed by that."""

    def read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Read, on a connection that no other thread uses meanwhile."""
        try:
            cursor = self._idle.pop()
        except IndexError:
            cursor = self._another()
        try:
            return cursor.execute(statement, values).fetchall()
        except sqlite3.OperationalError as error:
            # It may have been used up by others before this one, or the file has grown.
            if not may_go_on(cursor.connection, error, self._database):
                raise
            return cursor.execute(statement, values).fetchall()
        finally:
            # After an interrupt between the two the next statement ends the one before it.
            self._idle.append(cursor)
            if self._closed:
                self._close_idle()

    def _another(self) -> sqlite3.Cursor:
        with self._connecting:
            if self._closed:
                raise Closed
            connection = self._connect()
            self._connections.add(connection)
        return connection.cursor()

    def _close_idle(self) -> None:
        with suppress(IndexError):
            while True:
                connection = self._idle.pop().connection
                connection.close()
                self._connections.discard(cast("Connection", connection))

    def close(self, until: float = 0.0) -> bool:
        """Close those that nobody uses, and each of the others when it has been used; tell whether all are by a time.

        None of them is the last one to a file that was written: the connection that writes is closed after them.
        """
        if not acquired(self._connecting, until):
            return False
        try:
            self._closed = True
        finally:
            self._connecting.release()
        self._close_idle()
        while self._connections and time.monotonic() < until:
            time.sleep(POLL)
        return not self._connections

    def abandon(self) -> None:
        """Let nobody begin to read, and close nothing."""
        self._idle, self._abandoned = [], self._idle
        self._connect = _refuse
        for connection in list(self._connections):
            abandon(connection)

    def go_on(self) -> None:
        """Read on: they were to be closed, and that came to nothing."""
        self._closed = False
