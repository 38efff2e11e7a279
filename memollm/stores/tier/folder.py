"""A tier in a folder: a file of this machine that its processes share. Whatever fails there is as if nothing were kept.

Nothing in it is synced, and nothing in it is believed: each copy has a seal, and a server says of each what it should
be. So a file that is damaged is removed, and begun anew.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
from contextlib import suppress
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Any, Final, TypeVar

from xxhash import xxh3_128_digest

from memollm._types.locks import ThreadLock, renewed_in_children
from memollm._types.samples import Sample
from memollm._types.tables import counted, size_text
from memollm._types.warn import warn
from memollm.errors import MemollmWarning, StoreError, StoreRefused
from memollm.stores.sqlite.files import refuse_network
from memollm.stores.sqlite.own_files import open_own, require_own
from memollm.stores.tier.copies import Copies, Copy, HeldSlots, name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from memollm._types.calls import Call, Place
    from memollm.stores.thin import Stretches

T = TypeVar("T")
ROOM: Final = 8 << 30
"""How many bytes a file takes; then the copies that were kept first make room."""
APPLICATION_ID: Final = 0x6D74696  # "mti"
SCHEMA_VERSION: Final = 1
PATIENCE: Final = 0.2
"""Seconds that this waits for another process that is writing; then it does without."""
CALLS_KNOWN: Final = 100_000
LOOK_EVERY: Final = 64
"""How often, in puts, the size of the file is looked at."""
UNKEPT: Final = (ValueError, TypeError, OverflowError)
"""How a sample fails that no file can hold."""
PASSING: Final = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT})
UNWRITABLE: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY})
DAMAGED: Final = frozenset({0, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
REST: Final = 60.0
"""Seconds for which a file is left alone that cannot be used, or nothing is written into it; then it is tried again."""
FAILURES: Final = (sqlite3.Error, OSError, StoreError, *UNKEPT)


@cache
def statements() -> dict[str, str]:
    """Read the named statements."""
    text = package_files(__name__.rpartition(".")[0]).joinpath("folder.sql").read_text(encoding="utf-8")
    blocks = text.split("-- name: ")[1:]
    return {block.split(None, 1)[0]: block.partition("\n")[2].strip() for block in blocks}


class _Known:
    """What is known of the slots of a call that are here."""

    def __init__(self) -> None:
        self.upto = 0
        """The number of the copy up to which all are known."""
        self.version = -1
        self.slots = HeldSlots()


class FolderCopies(Copies):
    """Keeps copies in a SQLite file."""

    def __init__(self, path: Path, *, room: int = ROOM) -> None:
        self.path = path
        self._room = room
        self._has_warned = False
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Have nothing open, in this process: what is, is the parent's of a fork."""
        self._lock = ThreadLock()
        self._connection: sqlite3.Connection | None = None
        self._calls: dict[Call, _Known] = {}
        self._puts = 0
        self._has_begun_anew = False
        self._unusable_until = self._full_until = -math.inf

    # Reading.

    def stretches(self, call: Call) -> Stretches:
        """Tell which slots are here: those of other processes, too."""
        return self._tried(lambda connection: self._stretches(connection, call), [])

    def _stretches(self, connection: sqlite3.Connection, call: Call) -> Stretches:
        known = self._calls.get(call)
        if known is None:
            if len(self._calls) >= CALLS_KNOWN:
                self._calls.clear()
            known = self._calls[call] = _Known()
        (version,) = connection.execute("PRAGMA data_version").fetchone()
        if known.version != version:
            for number, slot in connection.execute(statements()["slots"], (name_of(call), known.upto)):
                known.upto = number
                known.slots.add(slot)
            known.version = version
        return known.slots.stretches()

    def get(self, call: Call, slots: Sequence[int]) -> dict[int, Copy]:
        """Read copies that are whole."""

        def read(connection: sqlite3.Connection) -> dict[int, Copy]:
            name = name_of(call)
            rows = [(slot, connection.execute(statements()["get"], (name, slot)).fetchone()) for slot in slots]
            return {slot: copy for slot, row in rows if row is not None and (copy := _copy_of(name, slot, row))}

        return self._tried(read, {})

    # Writing.

    def put(self, copies: Mapping[Place, Copy]) -> None:
        """Keep copies, unless the disk is full."""
        if copies and not self._is_full():
            self._tried(lambda connection: self._put(connection, copies), None)

    def _put(self, connection: sqlite3.Connection, copies: Mapping[Place, Copy]) -> None:
        with connection:
            for (call, slot), (sample, digest, epoch) in copies.items():
                name = name_of(call)
                values = (name, slot, digest, _seal(name, slot, digest, sample), epoch, *sample)
                connection.execute(statements()["put"], values)
        for call, slot in copies:
            if (known := self._calls.get(call)) is not None:
                known.slots.add(slot)
        self._puts += len(copies)
        if self._puts >= LOOK_EVERY:
            self._puts = 0
            self._keep_room(connection)

    def _keep_room(self, connection: sqlite3.Connection) -> None:
        size, pages, free = (
            connection.execute(f"PRAGMA {what}").fetchone()[0] for what in ("page_size", "page_count", "freelist_count")
        )
        if size * (pages - free) > self._room:
            with connection:
                connection.execute(statements()["evict"])
            self._calls.clear()

    def renew(self, copies: Mapping[Place, Copy]) -> None:
        """Know in which epoch the server has copies still."""

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                for (call, slot), copy in copies.items():
                    connection.execute(statements()["renew"], (copy.epoch, name_of(call), slot, copy.digest))

        if copies and not self._is_full():
            self._tried(write, None)

    def drop(self, places: Iterable[Place]) -> None:
        """Remove copies; what cannot be removed is known not to be of use."""
        places = list(places)

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                for call, slot in places:
                    connection.execute(statements()["drop"], (name_of(call), slot))

        for call, slot in places:
            if (known := self._calls.get(call)) is not None:
                known.slots.remove(slot)
        if places and not self._is_full():
            self._tried(write, None)

    # Failing.

    def _tried(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        """Do something with the file; where that fails, do without it."""
        if self._lock.mine() or time.monotonic() < self._unusable_until:
            # This very thread was interrupted in the middle of using it, or it is of no use.
            return otherwise
        with self._lock.lock:
            try:
                return self._done(work)
            except FAILURES as error:
                self._failed(error)
        return otherwise

    def _done(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with the file; with the one that stands there now, if the one that was open has been removed."""
        try:
            return work(self._connection or self._open())
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_DBMOVED:
                raise
        self._let_go()
        return work(self._open())

    def _is_full(self) -> bool:
        """Tell whether nothing is to be written for some time."""
        return time.monotonic() < self._full_until

    def _failed(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in PASSING or isinstance(error, UNKEPT):
            return
        if code in UNWRITABLE and self._connection is not None:
            # What is here can be read all the same.
            self._full_until = time.monotonic() + REST
            self._warn(error)
            return
        self._let_go()
        if self._has_begun_anew:
            self._unusable_until, self._has_begun_anew = time.monotonic() + REST, False
            self._warn(error)
            return
        self._has_begun_anew = True
        if isinstance(error, sqlite3.DatabaseError) and code in DAMAGED:
            with suppress(*FAILURES):
                self._remove()

    def _warn(self, error: Exception) -> None:
        if not self._has_warned:
            self._has_warned = True
            warn(
                f"The tier {self.path.parent} cannot be used: {error}. Draws go on without it, and ask the server; "
                "name another folder, or make room there.",
                MemollmWarning,
            )

    # The file.

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_network(self.path.parent)
        with suppress(FileExistsError, PermissionError):
            # Private to the user. One that is there is not opened: closing it again would end locks of this process.
            os.close(open_own(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL))
        require_own(self.path, writes=False)
        connection = sqlite3.connect(self.path, timeout=PATIENCE, check_same_thread=False)
        try:
            self._make_or_know(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _make_or_know(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) == (APPLICATION_ID, SCHEMA_VERSION):
            return
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and application != APPLICATION_ID:
            raise StoreRefused(f"{self.path} is a database of another program")
        if tables:
            raise sqlite3.DatabaseError(f"{self.path} was made by another version")
        connection.execute("PRAGMA page_size = 8192")
        connection.execute("BEGIN EXCLUSIVE")
        with connection:
            # Who waited for another process to make it finds it made.
            if not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                for statement in statements()["schema"].split(";\n"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _let_go(self) -> None:
        connection, self._connection = self._connection, None
        self._calls.clear()
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def _remove(self) -> None:
        require_own(self.path, writes=True)
        for suffix in ("-journal", ""):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}{suffix}")  # noqa: PTH108 - no path object has this name

    def look(self) -> str:
        """Tell how much is here."""
        if not self.path.exists():
            return f"{self.path.parent}: nothing is kept there yet"
        copies: int = self._tried(lambda connection: connection.execute(statements()["count"]).fetchone()[0], -1)
        if copies < 0:
            return f"{self.path.parent}: it cannot be read"
        return f"{self.path.parent}: {counted(copies, 'copy', 'copies')}, {size_text(self.path.stat().st_size)}"

    def close(self) -> None:
        """Close the file."""
        if not self._lock.mine():
            with self._lock.lock:
                self._let_go()

    def leave_to_parent(self) -> None:
        """Let go of it in a forked child, without closing: that would end what the parent is in the middle of."""
        if self._connection is not None:
            _parents.append(self._connection)
        self.begin()


_parents: list[sqlite3.Connection] = []
_living = renewed_in_children(FolderCopies.leave_to_parent)


def _seal(name: bytes, slot: int, digest: bytes, sample: Sample) -> bytes:
    """Return what tells that a copy is as it was put."""
    _, stored, seconds, tokens, more_tokens, cost, latency = sample
    numbers = *map(float, (stored, seconds, latency)), tokens, more_tokens, None if cost is None else float(cost)
    head = repr((name, slot, digest, numbers)).encode()
    return xxh3_128_digest(xxh3_128_digest(sample.record) + head)


def _copy_of(name: bytes, slot: int, row: tuple[Any, ...]) -> Copy | None:
    digest, seal, epoch, *values = row
    sample = Sample._make(values)
    is_whole = type(row[3]) is bytes and _seal(name, slot, digest, sample) == seal
    return Copy(sample, digest, epoch) if is_whole else None
