"""The SQLite store: one file, shared by any number of threads and processes of one machine."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from memollm._types.calls import Call, Place, Want, recorder
from memollm._types.listings import Item, ListedReader, Move, ReaderOfCall, Standing, Stored, Surveyed
from memollm._types.requests import Change, Fill
from memollm._types.samples import Sample, State, Taken
from memollm.errors import StoreUnavailable
from memollm.stores.sqlite import catalog
from memollm.stores.sqlite.check import SqliteChecks
from memollm.stores.sqlite.files import translated
from memollm.stores.sqlite.ledger import FAR, Ledger, statements
from memollm.stores.sqlite.link import Link, vanished
from memollm.stores.sqlite.lists import drawn, surveyed
from memollm.stores.sqlite.session import NOT_OPEN, Session
from memollm.stores.sqlite.transfer import SqliteTransfer
from memollm.stores.sqlite.upkeep import Upkeep, counted, items, standing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from memollm._types.counting import Account, Counts, Use
    from memollm.stores.base import Document
    from memollm.stores.sqlite.reader import SqliteReader

T = TypeVar("T")


class SqliteStore(Session):
    """Keeps samples in one SQLite file."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        super().__init__(path, allow_network=allow_network)
        self._first_touch = statements()["first_touch"]

    def reader(self) -> SqliteReader:
        """Return what reads the same file and writes nowhere."""
        from memollm.stores.sqlite.reader import SqliteReader

        return SqliteReader(self.files.database, allow_network=self._allow_network)

    # Drawing.

    def take(self, wants: Sequence[Want], ticket: int, *, newer_than: float, wait: bool) -> list[Taken]:
        """See `Store.take`."""
        if self._open_as is None:
            self._opened(wait=wait)
        if len(wants) == 1 and wants[0].reader is None and wants[0].n == 1:
            sample = self._read(Place(wants[0].call, 0), newer_than, wait=wait)
            if sample is not None:
                return [Taken((0,), (sample,))]
        return self._transact(Ledger.take, wants, ticket, newer_than, wait=wait)

    def look(self, places: Sequence[Place], ticket: int, *, newer_than: float, wait: bool) -> list[State]:
        """See `Store.look`."""
        seen = [sample for place in places if (sample := self._read(place, newer_than, wait=wait)) is not None]
        if len(seen) == len(places):
            return list(seen)
        return self._transact(lambda ledger: [ledger.look(place, ticket, newer_than) for place in places], wait=wait)

    def _read(self, place: Place, newer_than: float, *, wait: bool) -> Sample | None:
        """Read a slot without any lock, comparing the call's form."""
        link, _ = self._open_as or self._opened(wait=wait)
        try:
            rows = link.read(self._first_touch, (place.call.key, place.slot))
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error
        for row in rows:
            if row[0] == place.call.form and row[2] > newer_than:
                return Sample._make(row[1:])
        return None

    def write(self, changes: Sequence[Change]) -> None:
        """See `Store.write`."""
        if self._first_ticket:
            changes = self._of_this_file(changes)
        link, _ = self._open_as or self._opened()

        def work(ledger: Ledger) -> None:
            link.require_unmoved()
            for change in changes:
                if ledger.apply(change):
                    link.begin_epoch()

        fills = any(isinstance(change, Fill) for change in changes)
        try:
            self._transact(work, durable=fills)
        except StoreUnavailable:
            if fills or not self._resign():
                raise

    def _resign(self) -> bool:
        """Settle what could not be written down by leaving, so that no other process waits for it."""
        opened = self._open_as
        if opened is None:
            return False
        link, ledger = opened
        with self._translating(), link.locked():
            return ledger.resign()

    def _of_this_file(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Refuse fills, and pass over settlements, of draws that were taken from a file that is gone.

        The file in its place knows nothing of their positions, so it would give their samples to the reader again.
        """
        kept = [change for change in changes if change.ticket >= self._first_ticket]
        if any(isinstance(change, Fill) and change.ticket < self._first_ticket for change in changes):
            raise vanished(self.files.database)
        return kept

    def poll(self, places: Sequence[Place]) -> list[bool]:
        """See `Store.poll`."""
        opened = self._open_as or self._opened()
        with self._translating():
            return [self._is_settled(*opened, place) for place in places]

    def _is_settled(self, link: Link, ledger: Ledger, place: Place) -> bool:
        rows = link.read(statements()["claimant"], (place.call.key, place.slot))
        return not any(
            form == place.call.form
            and (self.flights.aloft(ticket) if name == ledger.owner_name else self._watched.alive(name))
            for form, name, ticket in rows
        )

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """See `Store.peek`."""
        for number, form in self._rows("calls_of_key", call.key):
            if form == call.form:
                rows = self._rows("samples", number) if slots is None else self._samples_of(number, slots)
                return {row[0]: Sample._make(row[1:]) for row in rows}
        return {}

    def _samples_of(self, number: int, slots: Sequence[int]) -> list[Any]:
        if max(slots) - min(slots) < FAR * len(slots):
            rows = self._rows("samples_between", number, min(slots), max(slots))
            return [row for row in rows if row[0] in slots]
        return [(slot, *row) for slot in sorted(slots) for row in self._rows("sample", number, slot)]

    # Maintenance.

    def epoch(self) -> int:
        """See `Store.epoch`; a store that is not open has read nothing that could have been replaced."""
        opened = self._open_as
        return NOT_OPEN if opened is None else opened[0].epochs[0]

    def calls(self, function: str) -> list[Stored]:
        """See `Store.calls`."""
        link, _ = self._open_as or self._opened()
        with self._translating():
            rows = link.read(statements()["calls_of_function"], (function,))
        return [Stored(Call(key, form, name), samples) for key, form, name, samples in rows]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """See `Store.survey`."""
        return surveyed(self._rows("survey", function), text)

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """See `Store.readers_of`."""
        numbers = [number for number, form in self._rows("calls_of_key", call.key) if form == call.form]
        return [each for number in numbers for each in drawn(self._rows("readers_of", number))]

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """See `Store.adopt`."""
        return self._change(lambda upkeep: sum(upkeep.adopt(move, rewrite) for move in moves))

    def forget(self, call: Call) -> int:
        """See `Store.forget`."""
        return self._change(lambda upkeep: upkeep.forget(call))

    def rewind(self, reader: str) -> bool:
        """See `Store.rewind`."""
        return self._change(lambda upkeep: upkeep.rewind(reader))

    def drop(self, reader: str) -> bool:
        """See `Store.drop`."""
        return self._change(lambda upkeep: upkeep.drop(reader))

    def _change(self, work: Callable[[Upkeep], T]) -> T:
        """Replace or remove something, so that every process forgets what it remembers."""
        link, _ = self._open_as or self._opened()

        def and_begin_epoch(ledger: Ledger) -> T:
            result = work(Upkeep(ledger, link.execute))
            link.begin_epoch()
            return result

        return self._transact(and_begin_epoch, durable=True)

    def drawn(self, reader: str, call: Call, lane: str | None) -> list[int]:
        """See `Store.drawn`."""
        return self.standing(reader, call).drawn(lane)

    def standing(self, reader: str, call: Call) -> Standing:
        """See `Store.standing`."""
        return standing(self._rows("standing", reader, recorder(reader), call.key, call.form))

    def count(self, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:
        """See `Store.count`."""
        link, _ = self._open_as or self._opened()
        self._transact(lambda ledger: Upkeep(ledger, link.execute).count(counts, uses))

    def counted(self) -> Mapping[Account, Counts]:
        """See `Store.counted`."""
        return counted(self._rows("counted"))

    def inventory(self) -> list[Item]:
        """See `Store.inventory`."""
        return items(self._rows("inventory"))

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """See `Store.evict`."""
        return self._change(lambda upkeep: upkeep.evict(handles, used_by))

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """See `Store.shrink`."""
        link, _ = self._open_as or self._opened()
        with self._translating():
            link.shrink(told)

    def transfer(self) -> SqliteTransfer:
        """See `Transferable.transfer`."""
        link, _ = self._open_as or self._opened()
        return SqliteTransfer(link, functools.partial(self._transact, durable=True), self._translating)

    def checks(self) -> SqliteChecks:
        """See `Checkable.checks`; an older schema is brought up to date first, where the file allows it."""
        if self._open_as is None and self.files.database.exists():
            with suppress(StoreUnavailable):
                self._opened()
            with suppress(StoreUnavailable):
                self.rest()
        return SqliteChecks(self.files, self.rest)

    def readers(self) -> list[ListedReader]:
        """See `Store.readers`."""
        return [ListedReader(*row) for row in self._rows("list_readers")]

    def note(self, kind: str, name: str, document: Document) -> None:
        """See `Store.note`."""
        with self._for_catalog():
            catalog.put(self.files.database, kind, name, document)

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """See `Store.notes`."""
        with self._for_catalog():
            return catalog.get(self.files.database, kind, name)
