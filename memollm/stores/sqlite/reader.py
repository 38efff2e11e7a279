"""Reading a SQLite store where nothing may be written: no file is made, no lock is taken, nothing is migrated."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from memollm.errors import MemollmError, StoreRefused, StoreUnavailable
from memollm.stores.sqlite import forks
from memollm.stores.sqlite.connections import Closed, Connection, Readers, connect
from memollm.stores.sqlite.epoch import Epoch
from memollm.stores.sqlite.files import (
    Files,
    recognize,
    refuse_network,
    refuse_old_sqlite,
    refuse_unreadable,
    translated,
)
from memollm.stores.sqlite.lock import acquired
from memollm.stores.sqlite.looking import SqliteLooking, peeked
from memollm.stores.sqlite.own_files import open_own, require_own
from memollm.stores.sqlite.schema import refuse_foreign_entries
from memollm.stores.sqlite.sql import SCHEMA_VERSION, statements

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm.stores.matches import StoredMatches
    from memollm.stores.sqlite.transfer import SqliteSnapshot


class NoCache(Exception):
    """The file is empty: nobody has made a cache of it yet."""


class SqliteReader:
    """What a SQLite store's file says, for a `ReadingStore` to draw from; a missing file is an empty cache."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        self.files = Files(path)
        self._log = self.files.database.with_name(self.files.database.name + "-wal")
        self._index = self.files.database.with_name(self.files.database.name + "-shm")
        self._allow_network = allow_network
        self._begin_process()
        forks.know(self)

    def _begin_process(self) -> None:
        self._lock = threading.RLock()
        """Held by who opens and closes, never while somebody reads."""
        self._readers: Readers | None = None
        self._opened_as: object = None
        self._epoch: Epoch | None = None

    def before_fork(self, until: float) -> bool:
        """Close what is open, and open nothing until the fork is over."""
        if not acquired(self._lock, until):
            return False
        try:
            if self._readers is None or self._readers.close(until):
                self._readers = self._opened_as = None
                return True
            self._readers.go_on()
        except BaseException:
            self._lock.release()
            raise
        self._lock.release()
        return False

    def after_fork(self) -> None:
        """Open again when it is needed."""
        self._lock.release()

    def begin_in_child(self) -> None:
        """Begin anew: what is open is the parent's."""
        if self._readers is not None:
            self._readers.abandon()
        if self._epoch is not None:
            self._epoch.close()
        self._begin_process()

    @property
    def looking(self) -> SqliteLooking:
        """Looks into the file."""
        return SqliteLooking(self._rows, self.files.database)

    @property
    def matching(self) -> StoredMatches:
        """Reads vectors and matches."""
        from memollm.stores.matches import StoredMatches

        return StoredMatches(self._rows)

    @contextmanager
    def snapshot(self) -> Generator[SqliteSnapshot]:
        """Read on a connection of its own, inside one transaction."""
        from memollm.stores.sqlite.transfer import SqliteSnapshot

        try:
            connection = self._connected()
        except NoCache:
            raise StoreRefused(f"There is no cache at {self.files.database}, so nothing can be taken out.") from None
        except sqlite3.DatabaseError as error:
            refuse_unreadable(self.files.database, error)
            raise self._unreadable(error) from error
        try:
            connection.execute("BEGIN")
            yield SqliteSnapshot(connection)
        finally:
            connection.close()

    def _connected(self) -> Connection:
        how = self._look()
        if how is None:
            raise NoCache
        return self._open(how[0])

    # Opening.

    def _rows(self, statement: str, *values: object) -> list[Any]:
        while True:
            try:
                readers = self._current()
                return [] if readers is None else readers.read(statements()[statement], values)
            except Closed:
                # The file is another one by now, or a fork came between.
                continue
            except NoCache:
                return []
            except sqlite3.DatabaseError as error:
                refuse_unreadable(self.files.database, error)
                raise self._unreadable(error) from error
            except MemollmError:
                raise
            except (OSError, ValueError, TypeError) as error:
                raise translated(error, self.files.database) from error

    def _current(self) -> Readers | None:
        """Return what reads the file as it is now; none if there is no cache."""
        now = self._look()
        with self._lock:
            if now != self._opened_as:
                self._let_go()
                if now is not None:
                    self._readers = Readers(self.files.database, partial(self._open, now[0]))
                self._opened_as = now
            return self._readers

    def _look(self) -> tuple[str, *tuple[int, ...]] | None:
        """Tell how the file is to be opened, and what would change when that no longer holds."""
        try:
            status = self.files.database.stat()
        except FileNotFoundError:
            return None
        if not status.st_size and not _size(self._log):
            return None
        if self._index.exists() and self._log.exists():
            # Somebody has it open, or left it in a hurry: the index tells what of the log is valid.
            return ("mode=ro", status.st_dev, status.st_ino)
        if _size(self._log):
            return ("mode=ro&readonly_shm=1", status.st_dev, status.st_ino)
        # Nobody has it open and the database alone says all. Any other mode would make the files of a log.
        return ("mode=ro&immutable=1", status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)

    def _open(self, how: str) -> Connection:
        refuse_old_sqlite()
        if not self._allow_network:
            refuse_network(self.files.folder)
        require_own(self.files.database, writes=False)
        connection = connect(self.files.database, mode=how.removeprefix("mode="))
        try:
            version = recognize(connection, self.files.database)
            refuse_foreign_entries(connection, self.files.database)
            self._require_current(version)
        except BaseException:
            connection.close()
            raise
        if not version:
            connection.close()
            raise NoCache
        return connection

    def _require_current(self, version: int) -> None:
        if 0 < version < SCHEMA_VERSION:
            raise StoreUnavailable(
                f"The cache {self.files.database} is of an older memollm, and can be brought up to date only where it "
                "may be written. Open it there once."
            )

    def _unreadable(self, error: sqlite3.DatabaseError) -> StoreUnavailable:
        if _size(self._log) and not self._index.exists():
            return StoreUnavailable(
                f"The cache {self.files.database} was not closed by whoever wrote it last, and its log cannot be read "
                "without writing beside it. Open it once where it may be written, or copy its folder to such a place."
            )
        return translated(error, self.files.database)

    def _let_go(self) -> None:
        readers, self._readers, self._opened_as, self._epoch = self._readers, None, None, None
        if readers is not None:
            # Those that are in use are closed when they have been used.
            readers.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._let_go()

    # Reading.

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        return peeked(self._rows, call, slots)

    def epoch(self) -> int:
        """Read the number beside the file; below zero where there is none."""
        epoch = self._epoch
        if epoch is None:
            with suppress(OSError, StoreRefused):
                epoch = self._epoch = Epoch(open_own(self.files.epoch, os.O_RDONLY))
        return -1 if epoch is None else epoch.recent()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
