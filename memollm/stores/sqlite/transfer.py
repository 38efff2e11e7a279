"""Moving content into and out of a SQLite store."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from memollm._types.calls import Call
from memollm._types.samples import Sample
from memollm.stores.sqlite.files import connect
from memollm.stores.sqlite.ledger import Ledger, statements
from memollm.stores.sqlite.upkeep import Upkeep, counted
from memollm.stores.transfer import Cursor, Drawn, Entry, Lane, Part, Stretch

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    from memollm._types.counting import Account, Counts
    from memollm.stores.sqlite.link import Link

T = TypeVar("T")
FILE = "transfer.sql"


class SqliteTransfer:
    """See `stores.transfer.Transfer`."""

    def __init__(
        self,
        link: Link,
        transact: Callable[[Callable[[Ledger], Any]], Any],
        translating: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._link = link
        self._transact = transact
        self._translating = translating

    @contextmanager
    def snapshot(self) -> Generator[SqliteSnapshot]:
        """Read on a connection of its own, inside one transaction, which keeps nobody from writing."""
        with self._translating():
            if self._link.read(statements()["owners"], ()):
                self._transact(_bury_the_dead)
            connection = connect(self._link.files.database, mode="rw")
            try:
                connection.execute("BEGIN")
                yield SqliteSnapshot(connection)
            finally:
                with self._link.locked():
                    connection.close()

    def merge(self, work: Callable[[SqliteShelf], T]) -> T:
        """Work under the write lock, on the file that is at the path now."""

        def in_place(ledger: Ledger) -> T:
            self._link.require_unmoved()
            return work(SqliteShelf(ledger, self._link.execute))

        result: T = self._transact(in_place)
        return result


def _bury_the_dead(ledger: Ledger) -> None:
    """Free what dead processes had in flight; asking after any draw of theirs does it."""
    for owner in ledger.owners():
        ledger.aloft(owner, 0)


class SqliteSnapshot:
    """See `stores.transfer.Snapshot`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statements(FILE)[statement], values)

    def _of(self, statement: str, part: Part) -> sqlite3.Cursor:
        if part.function is not None:
            return self._do(f"{statement}_of_function", part.function)
        if part.reader is not None:
            return self._do(f"{statement}_of_reader", part.reader, part.run)
        return self._do(statement)

    def size(self, part: Part) -> int:
        """See `Snapshot.size`."""
        return int(self._of("size", part).fetchone()[0])

    def entries(self, part: Part) -> Iterator[Entry]:
        """See `Snapshot.entries`."""
        for number, key, form, function, made in self._of("entries", part):
            yield Entry(number, Call(key, form, function), made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """See `Snapshot.samples`."""
        return _samples(self._connection.execute(statements()["samples"], (entry.handle,)))

    def cursors(self, entry: Entry) -> list[Cursor]:
        """See `Snapshot.cursors`."""
        return [
            Cursor(name, upto, [at for (at,) in self._do("not_given", reader, entry.handle)])
            for reader, name, upto in self._do("cursors", entry.handle).fetchall()
        ]

    def lanes(self, entry: Entry) -> list[Lane]:
        """See `Snapshot.lanes`."""
        rows: list[tuple[str, str, int]] = self._do("lanes", entry.handle).fetchall()
        lanes = itertools.groupby(rows, key=lambda row: row[:2])
        return [Lane(recorder, name, [at for *_, at in group]) for (recorder, name), group in lanes]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """See `Snapshot.stretches`."""
        return [Stretch(*row) for row in self._do("stretches", entry.handle)]

    def counted(self) -> Mapping[Account, Counts]:
        """See `Snapshot.counted`."""
        return counted(self._connection.execute(statements()["counted"]))


class SqliteShelf:
    """See `stores.transfer.Shelf`."""

    def __init__(self, ledger: Ledger, execute: Callable[..., sqlite3.Cursor]) -> None:
        self._ledger = ledger
        self._execute = execute

    def _do(self, statement: str, *values: object, file: str = FILE) -> sqlite3.Cursor:
        return self._execute(statements(file)[statement], values)

    def _draw(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._do(statement, *values, file="sqlite.sql")

    def call(self, call: Call, made: float) -> int:
        """See `Shelf.call`."""
        number = self._ledger.find_call(call)
        if number is None:
            number = self._do("bring_call", call.key, call.function, call.form, made, time.time()).lastrowid or 0
        return number

    def size(self, handle: int) -> int:
        """See `Shelf.size`."""
        return int(self._do("size_of_call", handle).fetchone()[0])

    def sample(self, handle: int, slot: int) -> Sample | None:
        """See `Shelf.sample`."""
        row = self._draw("sample", handle, slot).fetchone()
        return None if row is None else Sample._make(row)

    def samples(self, handle: int) -> Iterator[tuple[int, Sample]]:
        """See `Shelf.samples`."""
        return _samples(self._draw("samples", handle))

    def is_claimed(self, handle: int, slot: int) -> bool:
        """See `Shelf.is_claimed`."""
        claimant = self._draw("claim_of", handle, slot).fetchone()
        return claimant is not None and self._ledger.aloft(*claimant)

    def end(self, handle: int) -> int:
        """See `Shelf.end`."""
        return int(self._do("reached", handle).fetchone()[0])

    def put(self, handle: int, slot: int, sample: Sample) -> None:
        """See `Shelf.put`."""
        self._draw("put_sample", handle, slot, *sample)

    def record(self, handle: int, lane: Lane) -> None:
        """See `Shelf.record`."""
        recorder = self._ledger.reader_numbers(lane.recorder)[0]
        self._do("bring_lane", lane.name)
        for at in lane.positions:
            self._do("bring_recorded", recorder, handle, at, lane.name)

    def drawn(self, handle: int, reader: str) -> Drawn:
        """See `Shelf.drawn`."""
        number = self._ledger.find_reader(reader)
        row = self._draw("cursor", number, handle).fetchone()
        return Drawn(row[0] if row else 0, {at for (at,) in self._do("free_for", number, handle)})

    def draw(self, handle: int, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """See `Shelf.draw`."""
        number = self._ledger.reader_numbers(reader)[0]
        self._draw("set_cursor", number, handle, upto)
        for at in given:
            self._draw("deliver_position", number, handle, at)
        for at in free:
            self._draw("pass_over", number, handle, at)

    def use(self, handle: int, stretch: Stretch) -> None:
        """See `Shelf.use`."""
        Upkeep(self._ledger, self._execute).use(stretch.run, handle, stretch.first, stretch.last)

    def counted(self) -> Mapping[Account, Counts]:
        """See `Shelf.counted`."""
        return counted(self._draw("counted"))

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """See `Shelf.count`."""
        for account, amounts in counts.items():
            self._draw("count_up", *account, *amounts)


def _samples(rows: sqlite3.Cursor) -> Iterator[tuple[int, Sample]]:
    return ((row[0], Sample._make(row[1:])) for row in rows)
