"""Checking a SQLite store's file: read as it lies there, whatever its state."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from memollm.errors import StoreError, StoreRefused, StoreUnavailable
from memollm.stores.checking import Unreadable
from memollm.stores.sqlite.connections import connect
from memollm.stores.sqlite.files import Files, refuse_foreign, translated
from memollm.stores.sqlite.inside import SqliteInside
from memollm.stores.sqlite.lock import WriteLock
from memollm.stores.sqlite.own_files import require_own
from memollm.stores.sqlite.repair import SqliteRepair, repairing

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")


class SqliteChecks:
    """Opens the file for checks, whatever its state."""

    def __init__(self, files: Files, rest: Callable[[], None]) -> None:
        self._files = files
        self._rest = rest

    @contextmanager
    def inside(self) -> Generator[SqliteInside]:
        """Look inside, in a transaction of its own."""
        with self._locking() as lock:
            require_own(self._files.database, writes=True)
            # Whoever makes the file at this moment does so under the lock.
            with lock.held():
                connection = connect(self._files.database, mode="rw")
            try:
                yield SqliteInside(connection, self._files)
            finally:
                # The last connection to close folds the log into the database.
                with lock.held():
                    connection.close()

    @contextmanager
    def repair(self, stamp: str) -> Generator[SqliteRepair]:
        """Repair under the write lock, so that all others wait."""
        with suppress(StoreError):
            self._rest()
        with (
            self._locking() as lock,
            lock.held(),
            repairing(self._files, stamp, lambda connection: SqliteInside(connection, self._files)) as repair,
        ):
            yield repair

    def aside(self, stamp: str) -> Path:
        """Say where to keep what cannot stay in the store."""
        return self._files.database.with_name(f"{self._files.database.name}.aside-{stamp}.jsonl")

    @contextmanager
    def _locking(self) -> Generator[WriteLock]:
        if not self._files.database.exists():
            raise StoreRefused(f"There is no cache at {self._files.database}. Look at the path; nothing was checked.")
        try:
            refuse_foreign(self._files.database)
            lock = WriteLock(self._files.open_private(self._files.lock))
            try:
                yield lock
            finally:
                lock.close()
        except (sqlite3.Error, OSError) as error:
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error
            raise translated(error, self._files.database) from error
        except Unreadable as error:
            raise StoreUnavailable(f"The cache {self._files.database} cannot be read: {error}.") from error
