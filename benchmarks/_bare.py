"""The floors: what a program would do with `sqlite3` alone, on the file of a cache and with its pragmas."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Self

import msgspec

from benchmarks._model import ANSWER
from memollm._values.frame import HEAD
from memollm.stores.sqlite.lock import WriteLock

if TYPE_CHECKING:
    from memollm import Cache

READER = "namespace:bare"
NEW_CALLS = 1 << 40
"""Numbers of calls that no cache has reached."""


class Bare:
    """A connection of its own to the file of a cache."""

    def __init__(self, cache: Cache) -> None:
        self.files = cache.store.files
        self.connection = sqlite3.connect(self.files.database, timeout=30, isolation_level=None)
        self.execute = self.connection.cursor().execute
        self.execute("PRAGMA synchronous = NORMAL")
        self.execute("PRAGMA wal_autocheckpoint = 0")
        self._next = NEW_CALLS

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def begin_cursor(self, key: str) -> None:
        """Make a reader of our own, with a cursor on the call of a key."""
        (self.call,) = self.execute("SELECT id FROM call WHERE key = ?", (bytes.fromhex(key),)).fetchone()
        self.execute("INSERT OR IGNORE INTO reader (name) VALUES (?)", (READER,))
        (self.reader,) = self.execute("SELECT id FROM reader WHERE name = ?", (READER,)).fetchone()
        self.execute("INSERT OR REPLACE INTO cursor (reader, call, next) VALUES (?, ?, 0)", (self.reader, self.call))
        (self.slots,) = self.execute("SELECT count(*) FROM sample WHERE call = ?", (self.call,)).fetchone()

    def draw(self) -> object:
        """Take the next sample: begin immediate, two selects, update, commit."""
        execute = self.execute
        execute("BEGIN IMMEDIATE")
        where = (self.reader, self.call)
        (at,) = execute("SELECT next FROM cursor WHERE reader = ? AND call = ?", where).fetchone()
        slot = (self.call, at % self.slots)
        (record,) = execute("SELECT record FROM sample WHERE call = ? AND slot = ?", slot).fetchone()
        execute("UPDATE cursor SET next = ? WHERE reader = ? AND call = ?", (at + 1, *where))
        execute("COMMIT")
        return msgspec.json.decode(record[HEAD:])

    def lock(self) -> None:
        """Use the lock under which caches write."""
        self._lock = WriteLock(self.files.open_private(self.files.lock))

    def draw_locked(self) -> object:
        """Take the next sample under the file lock."""
        with self._lock.held():
            return self.draw()

    def read(self, call: int) -> object:
        """Read a sample by its primary key and decode it."""
        (record,) = self.execute("SELECT record FROM sample WHERE call = ? AND slot = 0", (call,)).fetchone()
        return msgspec.json.decode(record[HEAD:])

    def sync_commits(self) -> None:
        """Sync every commit to the disk from now on."""
        self.execute("PRAGMA synchronous = FULL")

    def insert(self) -> None:
        """Store a row in one commit."""
        self._next += 1
        self.execute("BEGIN IMMEDIATE")
        record = msgspec.json.encode(ANSWER)
        self.execute("INSERT INTO sample (call, slot, stored, record) VALUES (?, 0, 0.0, ?)", (self._next, record))
        self.execute("COMMIT")
