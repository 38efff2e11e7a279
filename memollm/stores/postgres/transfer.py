"""Moving content into and out of a PostgreSQL store."""

from __future__ import annotations

import itertools
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from memollm._types.calls import Call
from memollm._types.samples import Replaced, Sample
from memollm.stores.postgres.looking import counts_of
from memollm.stores.postgres.upkeep import Upkeeping
from memollm.stores.transfer import Cursor, Entry, Lane, Part, Reached, Shelf, Snapshot, Stretch, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping

    from memollm._types.counting import Account, Counts
    from memollm.stores.postgres.session import ServerSession

T = TypeVar("T")
PAGE = 500
"""How many rows are read at a time where all may be too many for a machine's memory."""


@contextmanager
def reading(store: ServerSession) -> Generator[PostgresSnapshot]:
    """Read inside one transaction, which keeps nobody from writing."""
    with store.transaction() as connection:
        work = Upkeeping(connection, store.sql, store.opened().line.owner)
        work.do("snapshot")
        yield PostgresSnapshot(work, connection)


class PostgresTransfer(Transfer):
    """Reads a snapshot, and merges in one transaction."""

    def __init__(self, store: ServerSession) -> None:
        self._store = store

    def _work(self, connection: Any) -> Upkeeping:
        return Upkeeping(connection, self._store.sql, self._store.opened().line.owner)

    @contextmanager
    def snapshot(self) -> Generator[PostgresSnapshot]:
        """Read what is there now."""
        self._store.settle_left()
        self._void_dead()
        with reading(self._store) as snapshot:
            yield snapshot

    def _void_dead(self) -> None:
        """Have what is left free be no longer its draws': they may be those of a process that was taken for dead."""

        def void(connection: Any) -> None:
            upkeep = self._work(connection)
            upkeep.do("alone")
            upkeep.do("void_dead", upkeep.me)

        ((has_dead,),) = self._store.rows("has_dead", self._store.opened().line.owner)
        if has_dead:
            self._store.changed(void, is_once=True)

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Work while nobody draws."""
        self._store.settle_left()
        with self._store.transaction() as connection:
            upkeep = self._work(connection)
            upkeep.do("alone")
            return work(PostgresShelf(upkeep))


class PostgresSnapshot(Snapshot):
    """What one transaction sees."""

    def __init__(self, work: Upkeeping, connection: Any) -> None:
        self._work = work
        self._connection = connection
        self._names = itertools.count()

    def _paged(self, statement: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        cursor = self._connection.cursor(name=f"memollm_{next(self._names)}", binary=True)
        cursor.itersize = PAGE
        with cursor:
            cursor.execute(self._work.text(statement), values or None)
            yield from cursor

    def size(self, part: Part) -> int:
        """Count the samples of a part."""
        return int(self._work.value(*_of("size", part)))

    def entries(self, part: Part) -> Iterator[Entry]:
        """Give the calls of a part."""
        for number, key, form, function, made in self._paged(*_of("entries", part)):
            yield Entry(number, Call(key, form, function), made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples."""
        return ((row[0], Sample._make(row[1:])) for row in self._paged("samples", entry.handle))

    def cursors(self, entry: Entry) -> list[Cursor]:
        """List the readers of a call."""
        rows = self._work.do("cursors_of", entry.handle)
        return [Cursor(name, upto, free) for name, upto, free in rows.fetchall()]

    def lanes(self, entry: Entry) -> list[Lane]:
        """List the lanes of a call."""
        lanes = itertools.groupby(self._work.do("lanes", entry.handle).fetchall(), key=lambda row: row[:2])
        return [Lane(recorder, name, [at for *_, at in group]) for (recorder, name), group in lanes]

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List what was replaced of a call."""
        return [Replaced(*row) for row in self._work.do("replaced", entry.handle).fetchall()]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """List what runs used of a call."""
        return [Stretch(*row) for row in self._work.do("stretches", entry.handle).fetchall()]

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counts_of(self._work.do("counted").fetchall())


def _of(statement: str, part: Part) -> tuple[Any, ...]:
    if part.function is not None:
        return f"{statement}_of_function", part.function
    if part.reader is not None:
        return f"{statement}_of_reader", part.reader, part.run
    return (statement,)


class PostgresShelf(Shelf):
    """The rows that one transaction adds to."""

    def __init__(self, work: Upkeeping) -> None:
        self._work = work
        self._do = work.do
        self._value = work.value

    def call(self, call: Call, made: float) -> int:
        """Find a call, or add it."""
        number = self._value("find_call", call.key, call.form)
        values = (call.key, call.function, call.form, call.form, made, time.time())
        return int(number or self._value("bring_call", *values))

    def size(self, handle: int) -> int:
        """Count the samples of a call."""
        return int(self._value("size_of_call", handle))

    def sample(self, handle: int, slot: int) -> Sample | None:
        """Read a slot."""
        row = self._do("sample", handle, slot).fetchone()
        return None if row is None else Sample._make(row)

    def samples(self, handle: int) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        return ((row[0], Sample._make(row[1:])) for row in self._do("samples", handle).fetchall())

    def replaced(self, handle: int) -> list[Replaced]:
        """List what was replaced of a call."""
        return [Replaced(*row) for row in self._do("replaced", handle).fetchall()]

    def remember(self, handle: int, replaced: Replaced) -> None:
        """Know what was replaced."""
        self._do("remember_replaced", handle, *replaced)

    def is_claimed(self, handle: int, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        return bool(self._value("claim_of", handle, slot, self._work.me))

    def end(self, handle: int) -> int:
        """Return the first slot that nothing has reached."""
        return int(self._value("reached", id=handle))

    def put(self, handle: int, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._do("put_sample", handle, slot, *sample)

    def record(self, handle: int, lane: Lane) -> None:
        """Let positions be a lane's."""
        recorder = self._value("bring_reader", lane.recorder)
        for at in lane.positions:
            self._do("bring_recorded", recorder=recorder, call=handle, at=at, lane=lane.name)

    def drawn(self, handle: int, reader: str) -> Reached:
        """Read how far a reader has come."""
        number = self._value("find_reader", reader)
        free = {at for (at,) in self._do("free_for", number, handle, self._work.me).fetchall()}
        return Reached(self._value("cursor_of", number, handle) or 0, free)

    def draw(self, handle: int, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor."""
        number = self._value("bring_reader", reader)
        self._do("set_cursor", number, handle, upto)
        self._do("deliver", number, handle, list(given))
        self._do("pass_over", number, handle, list(free))

    def use(self, handle: int, stretch: Stretch) -> None:
        """Note what a run used."""
        self._work.use(stretch.run, handle, stretch.first, stretch.last)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counts_of(self._do("counted").fetchall())

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        self._work.count(counts)
