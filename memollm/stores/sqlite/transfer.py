"""Moving content into and out of a SQLite store."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memollm._types.calls import Call
from memollm._types.samples import Replaced, Sample
from memollm.stores.sqlite.connections import connect
from memollm.stores.sqlite.ledger import Ledger, new_generation
from memollm.stores.sqlite.looking import counted
from memollm.stores.sqlite.sql import statements
from memollm.stores.sqlite.upkeep import Upkeep
from memollm.stores.transfer import Cursor, Entry, Lane, Leading, Part, Reached, Shelf, Snapshot, Stretch, Transfer

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping
    from contextlib import AbstractContextManager

    from memollm._types.counting import Account, Counts
    from memollm.stores.sqlite.link import Link

T = TypeVar("T")
ASIDE: Final = -1
"""Where a sample stands while another takes its slot."""


class SqliteTransfer(Transfer):
    """Reads a snapshot, and merges in one transaction."""

    def __init__(
        self,
        link: Link,
        rows: Callable[[str], list[Any]],
        transact: Callable[[Callable[[Ledger], Any]], Any],
        translating: Callable[[], AbstractContextManager[None]],
    ) -> None:
        self._files = link.files
        self._lock = link.lock
        self._rows = rows
        self._transact = transact
        self._translating = translating

    @contextmanager
    def snapshot(self) -> Generator[SqliteSnapshot]:
        """Read on a connection of its own, inside one transaction, which keeps nobody from writing."""
        with self._translating():
            if self._rows("owners"):
                self._transact(_bury_the_dead)
            connection = connect(self._files.database, mode="rw")
            try:
                connection.execute("BEGIN")
                yield SqliteSnapshot(connection)
            finally:
                with self._lock.held():
                    connection.close()

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Work under the write lock, on the file that is at the path now."""

        def in_place(ledger: Ledger) -> T:
            ledger.rows.link.require_unmoved()
            return work(SqliteShelf(ledger))

        result: T = self._transact(in_place)
        return result


def _bury_the_dead(ledger: Ledger) -> None:
    """Free what dead processes had in flight; asking after any draw of theirs does it."""
    ledger.ownership.bury_the_dead()


class SqliteSnapshot(Snapshot):
    """What one transaction sees."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def _do(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statements()[statement], values)

    def _of(self, statement: str, part: Part) -> sqlite3.Cursor:
        if part.function is not None:
            return self._do(f"{statement}_of_function", part.function)
        if part.reader is not None:
            return self._do(f"{statement}_of_reader", part.reader, part.run)
        return self._do(statement)

    def size(self, part: Part) -> int:
        """Count the samples of a part."""
        return int(self._of("size", part).fetchone()[0])

    def entries(self, part: Part) -> Iterator[Entry]:
        """Give the calls of a part."""
        for number, key, form, function, made in self._of("entries", part):
            yield Entry(number, Call(key, form, function), made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples."""
        return _samples(self._connection.execute(statements()["samples"], (entry.handle,)))

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List what was replaced of a call."""
        return [Replaced(*row) for row in self._do("replaced", entry.handle)]

    def cursors(self, entry: Entry) -> list[Cursor]:
        """List the readers of a call."""
        return [
            Cursor(name, upto, [at for (at,) in self._do("not_given", reader, entry.handle)])
            for reader, name, upto in self._do("cursors_with_readers", entry.handle).fetchall()
        ]

    def lanes(self, entry: Entry) -> list[Lane]:
        """List the lanes of a call."""
        rows: list[tuple[str, str, int]] = self._do("lanes", entry.handle).fetchall()
        lanes = itertools.groupby(rows, key=lambda row: row[:2])
        return [Lane(recorder, name, [at for *_, at in group]) for (recorder, name), group in lanes]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """List what runs used of a call."""
        return [Stretch(*row) for row in self._do("stretches", entry.handle)]

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counted(self._connection.execute(statements()["counted"]))


class SqliteShelf(Shelf, Leading):
    """The rows that one transaction adds to."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = ledger.rows
        self._do = ledger.rows.do

    def call(self, call: Call, made: float) -> int:
        """Find a call, or add it."""
        number = self._numbers.find_call(call)
        if number is None:
            number = self._do("bring_call", call.key, call.function, call.form, made, time.time()).lastrowid or 0
        return number

    def size(self, handle: int) -> int:
        """Count the samples of a call."""
        return int(self._do("size_of_call", handle).fetchone()[0])

    def sample(self, handle: int, slot: int) -> Sample | None:
        """Read a slot."""
        row = self._do("sample", handle, slot).fetchone()
        return None if row is None else Sample._make(row)

    def samples(self, handle: int) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        return _samples(self._do("samples", handle))

    def replaced(self, handle: int) -> list[Replaced]:
        """List what was replaced of a call."""
        return [Replaced(*row) for row in self._do("replaced", handle)]

    def remember(self, handle: int, replaced: Replaced) -> None:
        """Know what was replaced."""
        self._do("remember_replaced", handle, *replaced)

    def is_claimed(self, handle: int, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        claimant = self._do("claim_of", handle, slot).fetchone()
        return claimant is not None and self._ledger.ownership.aloft(*claimant)

    def end(self, handle: int) -> int:
        """Return the first slot that nothing has reached."""
        return int(self._do("reached", handle).fetchone()[0])

    def put(self, handle: int, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._do("put_sample", handle, slot, *sample)

    def record(self, handle: int, lane: Lane) -> None:
        """Let positions be a lane's."""
        recorder = self._numbers.reader_numbers(lane.recorder)[0]
        self._do("bring_lane", lane.name)
        for at in lane.positions:
            self._do("bring_recorded", recorder, handle, at, lane.name)

    def drawn(self, handle: int, reader: str) -> Reached:
        """Read how far a reader has come."""
        number = self._numbers.find_reader(reader)
        row = self._do("cursor", number, handle).fetchone()
        return Reached(row[0] if row else 0, {at for (at,) in self._do("free_for", number, handle)})

    def draw(self, handle: int, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor."""
        number = self._numbers.reader_numbers(reader)[0]
        self._do("set_cursor", number, handle, upto, new_generation())
        for at in given:
            self._do("deliver_position", number, handle, at)
        for at in free:
            self._do("pass_over", number, handle, at)

    def lead(self, handle: int, is_it: Callable[[Sample], bool]) -> bool:
        """Let a sample take the slot 0."""
        slot = next((slot for slot, sample in self.samples(handle) if is_it(sample)), 0)
        (has_place,) = self._do("has_place", handle).fetchone()
        if not slot or has_place or Upkeep(self._ledger).is_held(handle):
            return False
        for before, after in ((0, ASIDE), (slot, 0), (ASIDE, slot)):
            for statement in ("move_slot", "move_use", "move_drawn"):
                self._do(statement, handle, before, after)
        self._numbers.link.begin_epoch()
        return True

    def use(self, handle: int, stretch: Stretch) -> None:
        """Note what a run used."""
        Upkeep(self._ledger).use(stretch.run, handle, stretch.first, stretch.last)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counted(self._do("counted"))

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        for account, amounts in counts.items():
            self._do("count_up", *account, *amounts)


def _samples(rows: sqlite3.Cursor) -> Iterator[tuple[int, Sample]]:
    return ((row[0], Sample._make(row[1:])) for row in rows)
