"""One process's link to a SQLite file: the write lock, the connections, and what a fork or a lost file does to them."""

from __future__ import annotations

import ctypes
import itertools
import mmap
import os
import sqlite3
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from filelock import lock_descriptor, unlock_descriptor

from memollm._types.locks import WouldBlock
from memollm.errors import StoreUnavailable
from memollm.stores.sqlite.files import APPLICATION_ID, SCHEMA_VERSION, Files, connect, recognize

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
BUSY_POLL: Final = 0.002
"""Seconds between attempts while a program that does not know our lock is writing to the file."""
BUSY_PATIENCE: Final = 60.0
"""Seconds after which such a program is taken to have hung."""
EPOCH_BYTES: Final = 8
PAGES_AT_ONCE: Final = 500
"""How many free pages go back to the disk before whoever waits to write has a turn."""
CHECKPOINT_BYTES: Final = 16 << 20
"""Size of the write-ahead log past which it is folded into the database."""


class AtOnce:
    """A thread's lock for a block that nobody waits for: `WouldBlock` where another has it."""

    def __init__(self, lock: threading.Lock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise WouldBlock

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class WriteLock:
    """The one lock under which every write, checkpoint and close happens: threads queue, then processes do."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._threads = threading.Lock()
        self._threads_at_once = AtOnce(self._threads)

    def run(self, work: Callable[[*Arguments], T], *arguments: *Arguments, wait: bool) -> T:
        """Do work under the lock; without `wait`, raise `WouldBlock` if anybody has it."""
        # An interrupt may come right after a call of `acquire` has taken a lock; into `with` it does not come.
        with self._threads if wait else self._threads_at_once:
            try:
                if not lock_descriptor(self.descriptor, blocking=False):
                    self._queue(wait=wait)
                return work(*arguments)
            finally:
                # This does no harm where an interrupt came before the lock.
                unlock_descriptor(self.descriptor)

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock for a block."""
        with self._threads:
            try:
                self._acquire_file(wait=True)
                yield
            finally:
                unlock_descriptor(self.descriptor)

    def acquire(self, *, wait: bool) -> None:
        """Take the lock; without `wait`, raise `WouldBlock` if anybody has it."""
        if not self._threads.acquire(blocking=wait):
            raise WouldBlock
        try:
            self._acquire_file(wait=wait)
        except BaseException:
            self._threads.release()
            raise

    def _acquire_file(self, *, wait: bool) -> None:
        if not lock_descriptor(self.descriptor, blocking=False):
            self._queue(wait=wait)

    def _queue(self, *, wait: bool) -> None:
        if not wait:
            raise WouldBlock
        if sys.platform == "win32":
            lock_descriptor(self.descriptor, poll_interval=BUSY_POLL)
        else:
            # The same lock as lock_descriptor's, but the kernel queues us and nothing polls.
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    def release(self) -> None:
        """Let the next one in."""
        try:
            unlock_descriptor(self.descriptor)
        finally:
            self._threads.release()


class Link:
    """What one process holds open: it is made anew in a forked child and after the file was replaced."""

    def __init__(self, files: Files, schemas: Sequence[Sequence[str]], *, wait: bool) -> None:
        self.files = files
        self.closed = False
        self._new_epoch = False
        self._durable = False
        self._connections: list[sqlite3.Connection] = []
        self._idle: list[Callable[[str, Sequence[Any]], sqlite3.Cursor]] = []
        """The `execute` of a cursor of each reading connection that no thread uses at this moment."""
        self.lock = WriteLock(files.open_private(files.lock))
        try:
            self.lock.acquire(wait=wait)
            try:
                self._writer = self._open(schemas)
                # One cursor for all statements of a transaction: the next statement ends the one before it.
                self.execute = self._writer.cursor().execute
                self._epoch_map, self.epochs = self._map_epoch()
            except BaseException:
                for connection in self._connections:
                    connection.close()
                raise
            finally:
                self.lock.release()
        except BaseException:
            os.close(self.lock.descriptor)
            raise
        status = files.database.stat()
        self._inode = (status.st_dev, status.st_ino)

    def _open(self, schemas: Sequence[Sequence[str]]) -> sqlite3.Connection:
        # Made by us first, so that it is private from its first byte.
        if not self.files.database.exists():
            os.close(self.files.open_private(self.files.database))
        writer = self._connect()
        version = self.until_free(lambda: recognize(writer, self.files.database), wait=True)
        if not version:
            # Said before the first table, it lets removed samples give their space back.
            self.until_free(lambda: writer.execute("PRAGMA auto_vacuum = INCREMENTAL"), wait=True)
        self.until_free(lambda: writer.execute("PRAGMA journal_mode = WAL").fetchone(), wait=True)
        if version < SCHEMA_VERSION:
            self.until_free(lambda: writer.execute("BEGIN IMMEDIATE"), wait=True)
            for statement in itertools.chain.from_iterable(schemas[version:]):
                writer.execute(statement)
            writer.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            writer.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            writer.execute("COMMIT")
        # From here on it waits by our rules.
        writer.execute("PRAGMA busy_timeout = 0")
        return writer

    def _connect(self) -> sqlite3.Connection:
        connection = connect(self.files.database, mode="rw")
        # Known from here on, so that it is closed also where the file is too damaged for what follows.
        self._connections.append(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        # Checkpoints happen when we say so: under the lock, and never in a hit.
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        # The log shrinks when it is begun anew, so its size tells how much of it is not folded in yet.
        connection.execute("PRAGMA journal_size_limit = 0")
        return connection

    def _map_epoch(self) -> tuple[mmap.mmap, memoryview]:
        descriptor = self.files.open_private(self.files.epoch)
        try:
            if os.fstat(descriptor).st_size < EPOCH_BYTES:
                os.write(descriptor, bytes(EPOCH_BYTES))
            mapped = mmap.mmap(descriptor, EPOCH_BYTES)
        finally:
            os.close(descriptor)
        return mapped, memoryview(mapped).cast("Q")

    @property
    def epoch(self) -> int:
        """The number of times that something stored was replaced or removed; reading it costs no system call."""
        return self.epochs[0]

    def begin_epoch(self) -> None:
        """Say that this transaction replaces or removes something, so that every process forgets what it remembers."""
        self._new_epoch = True

    def begin(self, *, wait: bool, durable: bool = False) -> None:
        """Begin a transaction, synced to disk if durable; under the write lock, which stays with the caller."""
        if durable is not self._durable:
            self.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        try:
            self.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            self.until_free(lambda: self.execute("BEGIN IMMEDIATE"), wait=wait)

    @staticmethod
    def until_free(attempt: Callable[[], T], *, wait: bool) -> T:
        """Repeat what a program that does not know our lock makes fail."""
        deadline = time.monotonic() + BUSY_PATIENCE
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if not is_busy(error) or time.monotonic() > deadline:
                    raise
                if not wait:
                    raise WouldBlock from error
                time.sleep(BUSY_POLL)

    def commit(self) -> None:
        """End the transaction for good; if it fails, `rollback` is still to be called."""
        if not self._new_epoch:
            self.execute("COMMIT")
            return
        # Before the commit, lest this process die between the two; and after it, for those who have read meanwhile.
        self.epochs[0] += 1
        self.execute("COMMIT")
        self.epochs[0] += 1
        self._new_epoch = False

    def rollback(self) -> None:
        """End the transaction, if one was begun, as if it had not been."""
        self._new_epoch = False
        if self._writer.in_transaction:
            self.execute("ROLLBACK")

    def read(self, statement: str, values: Sequence[Any]) -> list[Any]:
        """Read without any lock, on a connection that no other thread uses meanwhile."""
        try:
            execute = self._idle.pop()
        except IndexError:
            execute = self._connect().cursor().execute
        try:
            return execute(statement, values).fetchall()
        finally:
            # After an interrupt between the two the next statement ends the one before it.
            self._idle.append(execute)

    def require_unmoved(self) -> None:
        """Refuse to write into a file that is no longer the one at the path: nobody would find it there."""
        try:
            status = self.files.database.stat()
            moved = (status.st_dev, status.st_ino) != self._inode
        except FileNotFoundError:
            moved = True
        if moved:
            raise vanished(self.files.database)

    def wants_checkpoint(self) -> bool:
        """Tell whether the write-ahead log has grown long."""
        log = self.files.database.with_name(self.files.database.name + "-wal")
        try:
            return log.stat().st_size > CHECKPOINT_BYTES
        except FileNotFoundError:
            return False

    @contextmanager
    def locked(self) -> Generator[None]:
        """Hold the write lock for work on another connection."""
        with self.lock.held():
            yield

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the database."""
        # Most of the log goes to the disk before anybody has to wait for it. SQLite keeps no lock on the log, so
        # closing it here drops none.
        with suppress(OSError), self.files.database.with_name(self.files.database.name + "-wal").open("rb") as log:
            os.fsync(log.fileno())
        with self.locked():
            self.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Give the pages of what was removed back to the disk, a few at a time, so that nobody waits long."""
        with self.locked():
            (incremental,) = self.execute("PRAGMA auto_vacuum").fetchone()
            (page,) = self.execute("PRAGMA page_size").fetchone()
            (free,) = self.execute("PRAGMA freelist_count").fetchone()
            if not incremental and free:
                # A file of the first version is written anew, once.
                self.execute("PRAGMA auto_vacuum = INCREMENTAL")
                self.execute("VACUUM")
        given, total = 0, free
        while incremental and free:
            told(given * page, total * page)
            with self.locked():
                self.execute(f"PRAGMA incremental_vacuum({PAGES_AT_ONCE})").fetchall()
                (left,) = self.execute("PRAGMA freelist_count").fetchone()
            given, free = given + max(0, free - left), min(left, free - 1)
        told(total * page, total * page)
        self.checkpoint()

    def close(self) -> None:
        """Close every connection, under the lock: the last one folds the log into the database."""
        if self.closed:
            return
        self.closed = True
        with self.locked():
            for connection in self._connections:
                connection.close()
        self.release_files()

    def abandon(self) -> None:
        """Let go without closing, and keep everything alive for ever.

        In a forked child the parent still uses the connections, and another of its threads may have been inside one;
        of a replaced file a close would remove the log that now belongs to another, and threads may still wait for
        the lock of the old one.
        """
        self.closed = True
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))

    def release_files(self) -> None:
        """Close what is open beside the connections."""
        descriptor, self.lock.descriptor = self.lock.descriptor, -1
        os.close(descriptor)
        self.epochs.release()
        self._epoch_map.close()


class FileVanished(StoreUnavailable):
    """The database is no longer the file at its path."""


def vanished(database: Path) -> FileVanished:
    """Say that the file is gone."""
    return FileVanished(
        f"The cache {database} was removed or replaced while it was in use. The next draw makes it anew."
    )


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another connection is in the way."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
