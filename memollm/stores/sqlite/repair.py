"""Repairing a SQLite store's file: a copy first, then what can be read is kept and the rest goes."""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from memollm._types.samples import Sample
from memollm.errors import StoreUnavailable
from memollm.stores.sqlite.connections import connect
from memollm.stores.sqlite.epoch import Epoch
from memollm.stores.sqlite.files import APPLICATION_ID, Files
from memollm.stores.sqlite.inside import ABSURD, KINDS, SqliteInside, is_whole
from memollm.stores.sqlite.link import is_busy
from memollm.stores.sqlite.salvage import be_lenient, salvage
from memollm.stores.sqlite.sql import SCHEMA_VERSION, statements, upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from memollm.stores.sqlite.connections import Connection
    from memollm.stores.transfer import Entry

    Look = Callable[[Connection], SqliteInside]

OF_CALL = (
    "forget_samples", "forget_cursors", "forget_loose", "forget_recorded", "forget_used", "forget_drawn",
    "forget_replaced",
)  # fmt: skip
ORPHANED = ("sample", "cursor", "loose", "claim", "recorded", "used", "drawn", "replaced", "vector", "likeness")
DEAD = ("bury_claims", "bury_loose", "bury_owner")


class SqliteRepair:
    """Changes what could be read."""

    def __init__(self, backup: Path, lost: list[str], connection: sqlite3.Connection, inside: SqliteInside) -> None:
        self.backup = backup
        self.lost = lost
        self.inside = inside
        self._execute = connection.execute

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._execute(statements()[statement], values)

    def _drop(self, counting: str) -> None:
        """Delete what a statement counts."""
        self._execute("DELETE " + statements()[counting].removeprefix("SELECT count(*) "))

    def orphans(self) -> Iterator[tuple[int, int, Sample]]:
        """Give samples whose call is gone."""
        for call, slot, *sample in self._do("abandoned_samples"):
            yield call, slot, Sample._make(sample)

    def remove(self, entry: Entry, slot: int | None) -> None:
        """Remove a sample or a call."""
        if slot is not None:
            self._do("remove_sample", entry.handle, slot)
            return
        for statement in OF_CALL:
            self._do(statement, entry.handle)
        self._do("remove_checked_call", entry.handle)

    def tidy(self) -> None:
        """Remove what belongs to nothing."""
        self._do("mend_absurd_call")
        for table in ABSURD:
            self._drop(f"absurd_{table}")
        for table in ORPHANED:
            self._drop(f"orphan_{table}")
        for owner in self.inside.dead():
            for statement in DEAD:
                self._do(statement, owner)
        for kind in KINDS:
            for name, document in self._do(f"notes_{kind}", None).fetchall():
                if not is_whole(kind, name, document):
                    self._do(f"remove_note_{kind}", name)


@contextmanager
def repairing(files: Files, stamp: str, look: Look) -> Generator[SqliteRepair]:
    """Repair in one transaction: in the file itself, or in a new one that then takes its place."""
    backup = _back_up(files, stamp)
    with closing(connect(files.database, mode="rw")) as damaged:
        broken = any(look(damaged).structure())
        if broken:
            _require_alone(damaged, files)
    if not broken:
        with _changing(files.database, look, backup, []) as repair:
            yield repair
    else:
        draft = files.database.with_name(f"{files.database.name}.{secrets.token_hex(4)}.part")
        try:
            lost = _salvaged(files, draft)
            with _changing(draft, look, backup, lost) as repair:
                yield repair
            _take_place(draft, files.database)
        finally:
            draft.unlink(missing_ok=True)
    _begin_epoch(files)


@contextmanager
def _changing(database: Path, look: Look, backup: Path, lost: list[str]) -> Generator[SqliteRepair]:
    with closing(connect(database, mode="rw")) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield SqliteRepair(backup, lost, connection, look(connection))
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")


def _back_up(files: Files, stamp: str) -> Path:
    """Copy the database and its log, which together are what there is; nobody writes meanwhile."""
    backup = files.database.with_name(f"{files.database.name}.backup-{stamp}")
    for suffix in ("", "-wal"):
        source = files.database.with_name(files.database.name + suffix)
        target = backup.with_name(backup.name + suffix)
        if source.exists() and source.stat().st_size:
            with source.open("rb") as read, os.fdopen(files.open_private(target), "wb") as write:
                shutil.copyfileobj(read, write)
                write.flush()
                os.fsync(write.fileno())
    return backup


def _require_alone(damaged: sqlite3.Connection, files: Files) -> None:
    """Fold the log in and leave write-ahead logging, which SQLite allows only where nobody else has the file open.

    Whoever had it open would go on in the old file, and lose what it writes there.
    """
    be_lenient(damaged)
    try:
        damaged.execute("PRAGMA journal_mode = DELETE").fetchone()
    except sqlite3.DatabaseError as error:
        if is_busy(error):
            raise StoreUnavailable(
                f"The cache {files.database} must be replaced, and another program has it open. End all programs that "
                "use it, then repair again; nothing was changed."
            ) from error


def _salvaged(files: Files, draft: Path) -> list[str]:
    """Make a new database of all rows that can be read; return what could not."""
    os.close(files.open_private(draft))
    with closing(connect(draft, mode="rw")) as target, closing(connect(files.database, mode="rw")) as source:
        be_lenient(source)
        target.execute("PRAGMA auto_vacuum = INCREMENTAL")
        target.execute("PRAGMA synchronous = OFF")
        target.execute("BEGIN IMMEDIATE")
        for statement in upgrade(0):
            target.execute(statement)
        target.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        target.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        lost = salvage(source, target, files.database)
        target.execute("COMMIT")
    return lost


def _take_place(draft: Path, database: Path) -> None:
    """Put the new file where the old one is; a log of the old one must be gone by then, or it would be read into it."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    for suffix in ("-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    draft.replace(database)


def _begin_epoch(files: Files) -> None:
    """Let every process forget what it remembers."""
    epoch = Epoch(files.open_private(files.epoch))
    epoch.begin()
    epoch.outlast()
    epoch.close()
