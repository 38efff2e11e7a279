"""Reading a SQLite store where nothing may be written: no file is made, no lock is taken, nothing is migrated."""

from __future__ import annotations

import mmap
import os
import sqlite3
import threading
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call, recorder
from memollm._types.listings import ListedReader, ReaderOfCall, Stored, Surveyed
from memollm._types.samples import Sample
from memollm.errors import StoreUnavailable
from memollm.stores.sqlite.catalog import documents_of
from memollm.stores.sqlite.files import (
    Files,
    connect,
    recognize,
    refuse_network,
    refuse_old_sqlite,
    refuse_unreadable,
    translated,
)
from memollm.stores.sqlite.ledger import ENDLESS, statements
from memollm.stores.sqlite.link import EPOCH_BYTES
from memollm.stores.sqlite.lists import drawn, surveyed
from memollm.stores.sqlite.upkeep import counted, items, standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from memollm._types.counting import Account, Counts
    from memollm._types.listings import Item, ReaderOfCall, Standing, Surveyed
    from memollm.stores.base import Document


class SqliteReader:
    """What a SQLite store's file says, for a `ReadingStore` to draw from; a missing file is an empty cache."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        self.files = Files(path)
        self._log = self.files.database.with_name(self.files.database.name + "-wal")
        self._index = self.files.database.with_name(self.files.database.name + "-shm")
        self._allow_network = allow_network
        self._begin_process()
        _living.add(self)

    def _begin_process(self) -> None:
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._opened_as: object = None
        self._epoch: mmap.mmap | None = None

    def after_fork_in_child(self) -> None:
        """Begin anew: the parent goes on with its connection, which therefore is not closed here."""
        _parents.append(self._connection)
        self._begin_process()

    # Opening.

    def _rows(self, statement: str, *values: object) -> list[Any]:
        with self._lock:
            try:
                connection = self._current()
                return [] if connection is None else connection.execute(statement, values).fetchall()
            except sqlite3.DatabaseError as error:
                refuse_unreadable(self.files.database, error)
                raise self._unreadable(error) from error
            except OSError as error:
                raise translated(error, self.files.database) from error

    def _current(self) -> sqlite3.Connection | None:
        """Return a connection to the file as it is now; none if there is no cache."""
        now = self._look()
        if now != self._opened_as:
            self._let_go()
            if now is not None:
                self._connection = self._open(now[0])
            self._opened_as = now
        return self._connection

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

    def _open(self, how: str) -> sqlite3.Connection | None:
        refuse_old_sqlite()
        if not self._allow_network:
            refuse_network(self.files.folder)
        connection = connect(self.files.database, mode=how.removeprefix("mode="))
        try:
            version = recognize(connection, self.files.database)
            if version == 1:
                connection.execute("PRAGMA temp_store = MEMORY")
                connection.executescript(statements()["schema_1_as_2"])
        except BaseException:
            connection.close()
            raise
        if not version:
            connection.close()
            return None
        return connection

    def _unreadable(self, error: sqlite3.DatabaseError) -> StoreUnavailable:
        if _size(self._log) and not self._index.exists():
            return StoreUnavailable(
                f"The cache {self.files.database} was not closed by whoever wrote it last, and its log cannot be read "
                "without writing beside it. Open it once where it may be written, or copy its folder to such a place."
            )
        return translated(error, self.files.database)

    def _let_go(self) -> None:
        connection, self._connection, self._opened_as = self._connection, None, None
        mapped, self._epoch = self._epoch, None
        if connection is not None:
            connection.close()
        if mapped is not None:
            mapped.close()

    def close(self) -> None:
        """See `Store.close`."""
        with self._lock:
            self._let_go()

    # Reading.

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """See `Store.peek`."""
        first, last = (0, ENDLESS) if slots is None else (min(slots, default=0), max(slots, default=-1))
        rows = self._rows(statements()["samples_of"], call.key, call.form, first, last)
        return {row[0]: Sample._make(row[1:]) for row in rows if slots is None or row[0] in slots}

    def standing(self, reader: str, call: Call) -> Standing:
        """See `Store.standing`."""
        return standing(self._rows(statements()["standing"], reader, recorder(reader), call.key, call.form))

    def drawn(self, reader: str, call: Call, lane: str | None) -> list[int]:
        """See `Store.drawn`."""
        return self.standing(reader, call).drawn(lane)

    def epoch(self) -> int:
        """See `Store.epoch`."""
        with self._lock:
            if self._epoch is None:
                self._epoch = self._map_epoch()
            return -1 if self._epoch is None else int.from_bytes(self._epoch[:EPOCH_BYTES], "little")

    def _map_epoch(self) -> mmap.mmap | None:
        with suppress(OSError, ValueError), self.files.epoch.open("rb") as file:
            return mmap.mmap(file.fileno(), EPOCH_BYTES, access=mmap.ACCESS_READ)
        return None

    def calls(self, function: str) -> list[Stored]:
        """See `Store.calls`."""
        rows = self._rows(statements()["calls_of_function"], function)
        return [Stored(Call(key, form, name), samples) for key, form, name, samples in rows]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """See `Store.survey`."""
        return surveyed(self._rows(statements()["survey"], function), text)

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """See `Store.readers_of`."""
        numbers = [row[0] for row in self._rows(statements()["calls_of_key"], call.key) if row[1] == call.form]
        return [each for number in numbers for each in drawn(self._rows(statements()["readers_of"], number))]

    def readers(self) -> list[ListedReader]:
        """See `Store.readers`."""
        return [ListedReader(*row) for row in self._rows(statements()["list_readers"])]

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """See `Store.notes`."""
        rows = self._rows(statements()[f"notes_{kind}"], name)
        return documents_of(rows, self.files.database)

    def counted(self) -> Mapping[Account, Counts]:
        """See `Store.counted`."""
        return counted(self._rows(statements()["counted"]))

    def inventory(self) -> list[Item]:
        """See `Store.inventory`."""
        return items(self._rows(statements()["inventory"]))


_parents: list[sqlite3.Connection | None] = []
_living: weakref.WeakSet[SqliteReader] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for reader in list(_living):
        reader.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
