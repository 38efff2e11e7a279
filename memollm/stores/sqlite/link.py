"""One process's link to a SQLite file: the connections to it, opened and closed together under the write lock."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, NoReturn, TypeVar

from memollm._types.locks import WouldBlock
from memollm.errors import ChangeRefused
from memollm.stores.sqlite.connections import Closed, Connection, Readers, abandon, connect, may_go_on
from memollm.stores.sqlite.epoch import Epoch
from memollm.stores.sqlite.files import APPLICATION_ID, Files, recognize
from memollm.stores.sqlite.schema import refuse_foreign_entries
from memollm.stores.sqlite.sql import SCHEMA_VERSION, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

    from memollm.stores.sqlite.lock import WriteLock

T = TypeVar("T")
BUSY_POLL: Final = 0.002
"""Seconds between attempts while a program that does not know our lock is writing to the file."""
BUSY_PATIENCE: Final = 60.0
"""Seconds after which such a program is taken to have hung."""
PAGES_AT_ONCE: Final = 500
"""How many free pages go back to the disk before whoever waits to write has a turn."""
CHECKPOINT_BYTES: Final = 16 << 20
"""Size of the write-ahead log past which it is folded into the database."""
CLOSE_PATIENCE: Final = 5.0
"""Seconds for which a close waits for threads that read."""


class Link:
    """The connections that one process has to a file, from their opening to their close."""

    def __init__(self, files: Files, lock: WriteLock) -> None:
        """Open them; under the lock, so it waits for nobody."""
        self.files = files
        self.lock = lock
        self.closed = False
        self.new_epoch = False
        self.durable = False
        self._log = files.database.with_name(files.database.name + "-wal")
        self.writer = self._connect(patience=0.0)
        try:
            self._prepare()
            epoch = files.open_private(files.epoch)
            self.epoch = Epoch(epoch)
        except BaseException:
            self.writer.close()
            raise
        # One cursor for all statements of a transaction: the next statement ends the one before it.
        self.execute = self.writer.cursor().execute
        self._readers = Readers(files.database, self._connect)
        self.read = self._readers.read
        """Read without any lock, on a connection that no other thread uses meanwhile."""
        self.identity = _identity(files.database)
        self._log_identity = _identity(self._log)
        beside = (files.lock, lock.descriptor), (files.epoch, epoch)
        self._beside = [(path, _identity_of(os.fstat(descriptor))) for path, descriptor in beside]

    def _connect(self, *, patience: float | None = None) -> Connection:
        # Made by us first, so that it is private from its first byte.
        if not self.files.database.exists():
            os.close(self.files.open_private(self.files.database))
        connection = connect(self.files.database, mode="rw", patience=patience)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            # Checkpoints happen when we say so: under the lock, and never in a hit.
            connection.execute("PRAGMA wal_autocheckpoint = 0")
            # The log shrinks when it is begun anew, so its size tells how much of it is not folded in yet.
            connection.execute("PRAGMA journal_size_limit = 0")
        except BaseException:
            connection.close()
            raise
        return connection

    def _prepare(self) -> None:
        execute = self.writer.execute
        version = recognize(self.writer, self.files.database)
        refuse_foreign_entries(self.writer, self.files.database)
        if not version:
            # Said before the first table, it lets removed samples give their space back.
            execute("PRAGMA auto_vacuum = INCREMENTAL")
        execute("PRAGMA journal_mode = WAL").fetchone()
        if version < SCHEMA_VERSION:
            execute("BEGIN IMMEDIATE")
            for statement in upgrade(version):
                execute(statement)
            execute(f"PRAGMA application_id = {APPLICATION_ID}")
            execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            execute("COMMIT")

    # Transactions.

    def begin_epoch(self) -> None:
        """Say that this transaction replaces or removes something, so that every process forgets what it remembers."""
        self.new_epoch = True

    def sync(self, *, durable: bool) -> None:
        """Say whether the next transactions are synced to the disk."""
        self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self.durable = durable

    def commit(self) -> None:
        """End the transaction for good; if it fails, `rollback` is still to be called."""
        if not self.new_epoch:
            self.execute("COMMIT")
            return
        # Before the commit, lest this process die between the two; and after it, for those who have read meanwhile.
        self.epoch.begin()
        self.execute("COMMIT")
        self.epoch.begin()
        self.new_epoch = False

    def may_go_on(self, error: Exception) -> bool:
        """Let a statement take as long as the file as it is now can need, if it was interrupted for taking long."""
        return may_go_on(self.writer, error, self.files.database)

    def rollback(self) -> bool:
        """End the transaction as if it had not been; tell whether there was one that had not ended."""
        self.new_epoch = False
        if self.closed or not self.writer.in_transaction:
            return False
        self.execute("ROLLBACK")
        return True

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the write lock for work on this file; `Closed` if it is not open any more by then."""
        with self.lock.held():
            if self.closed:
                raise Closed
            yield

    # The file.

    def require_unmoved(self) -> None:
        """Refuse to write into files that are no longer those at the path: nobody would find it there."""
        if self.has_moved():
            raise vanished(self.files.database)

    def has_moved(self, *, log: bool = True) -> bool:
        """Tell whether the database, or its log, was removed or replaced."""
        moved = _identity(self.files.database) != self.identity
        return moved or (log and _identity(self._log) != self._log_identity)

    def require_shared(self) -> None:
        """Refuse to write by a lock or an epoch that whoever opens the cache now does not find at its path."""
        if self.is_unshared():
            raise Unshared

    def is_unshared(self) -> bool:
        """Tell whether the lock or the epoch was removed, or replaced."""
        return any(_identity(path) != identity for path, identity in self._beside)

    def wants_checkpoint(self) -> bool:
        """Tell whether the write-ahead log has grown long."""
        try:
            return self._log.stat().st_size > CHECKPOINT_BYTES
        except FileNotFoundError:
            return False

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database."""
        # Most of the log goes to the disk before anybody has to wait for it. SQLite keeps no lock on the log, so
        # closing it here drops none.
        with suppress(OSError), self._log.open("rb") as log:
            os.fsync(log.fileno())
        with self.locked():
            if not self.is_unshared():
                self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Give the pages of what was removed back to the disk, a few at a time, so that nobody waits long."""
        with self.locked():
            (page,) = self.execute("PRAGMA page_size").fetchone()
            (free,) = self.execute("PRAGMA freelist_count").fetchone()
        given, total = 0, free
        while free:
            told(given * page, total * page)
            with self.locked():
                self.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
                (left,) = self.execute("PRAGMA freelist_count").fetchone()
            given, free = given + max(0, free - left), min(left, free - 1)
        told(total * page, total * page)
        self.checkpoint()

    # Its end.

    def close(self, at_last: Callable[[], object] = bool) -> None:
        """Close every connection, under the lock: the last one folds the log into the database.

        What is done at last is done under the same lock, so that nobody writes between it and the close.
        """
        if not self.closed:
            self._readers.close(time.monotonic() + CLOSE_PATIENCE)
            with self.lock.held():
                try:
                    if not self.closed:
                        at_last()
                except FileVanished:
                    # Closing would remove a log that is another file's by now.
                    self.abandon()
                    raise
                finally:
                    self._end()

    def close_by(self, until: float) -> bool:
        """Close, unless that takes until past a time of the monotonic clock; then it stays open, and this is false."""
        with self.lock.threads_held(until) as alone:
            try:
                return alone and self._readers.close(until) and self.lock.run_by(self._end, until)
            finally:
                # Also where whoever closes was interrupted.
                if not self.closed:
                    self._readers.go_on()

    def _end(self) -> None:
        if not self.closed:
            self.closed = True
            self.execute = self._refuse
            self.writer.close()

    @staticmethod
    def _refuse(*_: object) -> NoReturn:
        raise Closed

    def abandon(self) -> None:
        """Let go without closing.

        Of a replaced file a close would remove the log that now belongs to another, and in a forked child all that is
        open is the parent's.
        """
        self.closed = True
        self.execute = self._refuse
        self._readers.abandon()
        abandon(self.writer)


class Unshared(Closed):
    """Somebody removed the lock or the epoch that this process goes by, so the cache is to be opened anew."""


class FileVanished(ChangeRefused):
    """The database is no longer the file at its path."""


def vanished(database: Path) -> FileVanished:
    """Say that the file is gone."""
    return FileVanished(
        f"The cache {database} was removed or replaced while it was in use. The next draw makes it anew."
    )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 - half the time of Path.stat
    except FileNotFoundError:
        return None
    return _identity_of(status)


def _identity_of(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


class Patience:
    """Waiting, without any lock, for a program that does not know ours and is writing to the file."""

    has_hung = False
    """Somebody was waited for in vain, and so is not waited for again and again."""

    def until(self) -> float:
        """Return when who is in the way now will have been waited for long enough, on the monotonic clock."""
        return time.monotonic() + (0.0 if self.has_hung else BUSY_PATIENCE)

    def after(self, error: Exception, until: float, *, wait: bool) -> None:
        """Wait a little for another attempt; raise what is no reason to wait, and `WouldBlock` where nobody may."""
        if not is_busy(error):
            raise error
        if not wait:
            raise WouldBlock from error
        if time.monotonic() >= until:
            self.has_hung = True
            raise error
        time.sleep(BUSY_POLL)


def until_free(attempt: Callable[[], T], *, wait: bool) -> T:
    """Repeat what a program that does not know our lock makes fail; whoever calls this holds no lock."""
    patience = Patience()
    until = patience.until()
    while True:
        try:
            return attempt()
        except sqlite3.OperationalError as error:
            patience.after(error, until, wait=wait)


def is_busy(error: BaseException) -> bool:
    """Tell whether another connection is in the way."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
