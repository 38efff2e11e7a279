"""The SQLite store: one file, shared by any number of threads and processes of one machine."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar

from memollm._flights import Flights
from memollm._model import (
    Call,
    Change,
    Fill,
    Move,
    Place,
    Reader,
    Sample,
    State,
    Stored,
    Taken,
    Want,
    WouldBlock,
)
from memollm.errors import StoreClosed, StoreError, StoreUnavailable
from memollm.stores import _catalog
from memollm.stores._owners import Neighbours
from memollm.stores._sqlite_files import Files, refuse_foreign, refuse_network, refuse_old_sqlite, translated
from memollm.stores._sqlite_ledger import Ledger, statements
from memollm.stores._sqlite_link import FileVanished, Link, vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from pathlib import Path

    from memollm.stores.base import Document

T = TypeVar("T")
NOT_OPEN: Final = -1
"""The epoch of a store that is not open: what was read then must not be remembered."""
COMMITS_BETWEEN_CHECKS: Final = 1000
"""How many commits pass before the size of the write-ahead log is looked at."""


class SqliteStore:
    """Keeps samples in one SQLite file. It opens on first use, and again in a forked child."""

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        self.flights = Flights()
        self.files = Files(path)
        self._allow_network = allow_network
        self._closed = False
        self._begin_process()
        _living.add(self)

    def _begin_process(self) -> None:
        self._opening = threading.Lock()
        self._open_as: tuple[Link, Ledger] | None = None
        self._watched = Neighbours(self.files.owners)
        self._seen_epoch = NOT_OPEN
        self._first_ticket = 0
        self._commits = 0

    # Opening and leaving.

    def _opened(self, *, wait: bool = True) -> tuple[Link, Ledger]:
        if not wait and not self._closed and self._open_as is None:
            # Opening reads the disk and waits for the lock.
            raise WouldBlock
        with self._opening:
            if self._closed:
                raise StoreClosed(f"The cache {self.files.database} was closed. Make a new Cache to go on.")
            if self._open_as is None:
                self._open_as = self._open(wait=wait)
            return self._open_as

    def _open(self, *, wait: bool) -> tuple[Link, Ledger]:
        refuse_old_sqlite()
        try:
            if not self._allow_network:
                refuse_network(self.files.folder)
            refuse_foreign(self.files.database)
            self.files.prepare()
            link = Link(self.files, statements()["schema"], wait=wait)
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error
        return link, Ledger(link, self.flights)

    def close(self) -> None:
        """See `Store.close`."""
        self._closed = True
        self.rest()

    def rest(self) -> None:
        """Close the file; unless the store is closed, the next use opens it again."""
        with self._opening:
            opened, self._open_as = self._open_as, None
        if opened is not None:
            with self._translating():
                self._leave(*opened)

    def _leave(self, link: Link, ledger: Ledger) -> None:
        try:
            with link.locked():
                link.require_unmoved()
                link.begin(wait=True)
                ledger.bury_myself()
                link.commit()
        except FileVanished:
            # Closing would remove a log that is another file's by now.
            link.abandon()
        finally:
            ledger.leave()
            self._watched.close()
            link.close()

    def _lose(self, link: Link) -> None:
        """Let go of a file that is gone, without touching what may stand in its place; the next use opens that."""
        with self._opening:
            if self._open_as is not None and self._open_as[0] is link:
                self._open_as[1].abandon()
                self._open_as = None
                self._first_ticket = self.flights.depart()
                self.flights.arrive(self._first_ticket)
                link.abandon()

    def after_fork_in_child(self) -> None:
        """Begin anew: locks, connections and claims belong to the parent."""
        if self._open_as is not None:
            link, ledger = self._open_as
            link.abandon()
            link.release_files()
            ledger.abandon()
        self._watched.close()
        self._begin_process()
        self.flights = Flights()

    # Transactions.

    @contextmanager
    def _translating(self) -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error

    def _transact(self, work: Callable[[Ledger], T], *, wait: bool = True, durable: bool = False) -> T:
        """Do work in one transaction under the write lock."""
        link, ledger = self._open_as or self._opened(wait=wait)

        def transaction() -> T:
            try:
                link.begin(wait=wait, durable=durable)
                if self._seen_epoch != link.epoch:
                    ledger.forget()
                    self._seen_epoch = link.epoch
                result = work(ledger)
                link.commit()
                ledger.confirm()
            except BaseException:
                # Also an interrupt between any two of them: no transaction is left open.
                link.rollback()
                ledger.revert()
                raise
            return result

        try:
            result = link.lock.run(transaction, wait=wait)
        except FileVanished:
            self._lose(link)
            raise
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error
        self._commits += 1
        if self._commits >= COMMITS_BETWEEN_CHECKS:
            self._tend(link)
        return result

    def _tend(self, link: Link) -> None:
        """Now and then fold the write-ahead log into the database, on nobody's time."""
        self._commits = 0
        if link.wants_checkpoint():
            threading.Thread(target=_checkpoint, args=(weakref.ref(self), link), daemon=True).start()

    # Drawing.

    def take(self, wants: Sequence[Want], ticket: int, *, newer_than: float, wait: bool) -> list[Taken]:
        """See `Store.take`."""
        if self._open_as is None:
            self._opened(wait=wait)
        if len(wants) == 1 and wants[0].reader is None and wants[0].n == 1:
            sample = self._read(Place(wants[0].call, 0), newer_than, wait=wait)
            if sample is not None:
                return [Taken((0,), (sample,))]

        def work(ledger: Ledger) -> list[Taken]:
            return [ledger.take(want, ticket, newer_than) for want in wants]

        return self._transact(work, wait=wait)

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
            rows = link.read(statements()["first_touch"], (place.call.key, place.slot))
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error
        for _, form, stored, record in rows:
            if form == place.call.form and stored is not None and stored > newer_than:
                return Sample(record, stored)
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

    def peek(self, call: Call) -> dict[int, Sample]:
        """See `Store.peek`."""
        link, _ = self._open_as or self._opened()
        with self._translating():
            for number, form in link.read(statements()["calls_of_key"], (call.key,)):
                if form == call.form:
                    rows = link.read(statements()["samples"], (number,))
                    return {slot: Sample(record, stored) for slot, stored, record in rows}
        return {}

    # Maintenance.

    def epoch(self) -> int:
        """See `Store.epoch`; a store that is not open has read nothing that could have been replaced."""
        opened = self._open_as
        return NOT_OPEN if opened is None else opened[0].epoch

    def calls(self, function: str) -> list[Stored]:
        """See `Store.calls`."""
        link, _ = self._open_as or self._opened()
        with self._translating():
            rows = link.read(statements()["calls_of_function"], (function,))
        return [Stored(Call(key, form, name), samples) for key, form, name, samples in rows]

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """See `Store.adopt`."""
        return self._change(lambda ledger: sum(ledger.adopt(move, rewrite) for move in moves))

    def forget(self, call: Call) -> int:
        """See `Store.forget`."""
        return self._change(lambda ledger: ledger.forget_call(call))

    def rewind(self, reader: str) -> bool:
        """See `Store.rewind`."""
        return self._change(lambda ledger: ledger.reset_reader(reader, "rewind_cursors"))

    def drop(self, reader: str) -> bool:
        """See `Store.drop`."""
        return self._change(lambda ledger: ledger.reset_reader(reader, "drop_cursors"))

    def _change(self, work: Callable[[Ledger], T]) -> T:
        """Replace or remove something, so that every process forgets what it remembers."""
        link, _ = self._open_as or self._opened()

        def and_begin_epoch(ledger: Ledger) -> T:
            result = work(ledger)
            link.begin_epoch()
            return result

        return self._transact(and_begin_epoch, durable=True)

    def readers(self) -> list[Reader]:
        """See `Store.readers`."""
        link, _ = self._open_as or self._opened()
        with self._translating():
            return [Reader(*row) for row in link.read(statements()["list_readers"], ())]

    def note(self, kind: str, name: str, document: Document) -> None:
        """See `Store.note`."""
        with self._for_catalog():
            _catalog.put(self.files.database, kind, name, document)

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """See `Store.notes`."""
        with self._for_catalog():
            return _catalog.get(self.files.database, kind, name)

    @contextmanager
    def _for_catalog(self) -> Generator[None]:
        """Let the catalog open the file, unless it is gone: it would make another, which no store is to use."""
        link, _ = self._open_as or self._opened()
        try:
            with self._translating(), link.locked():
                link.require_unmoved()
                yield
        except FileVanished:
            self._lose(link)
            raise


def _checkpoint(store: weakref.ref[SqliteStore], link: Link) -> None:
    living = store()
    # A failure here loses nothing: the log only stays long until the next attempt.
    with suppress(StoreError, sqlite3.Error, OSError, ValueError):
        if living is not None and not link.closed:
            link.checkpoint()


_living: weakref.WeakSet[SqliteStore] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in list(_living):
        store.after_fork_in_child()


def _at_exit() -> None:
    for store in list(_living):
        with suppress(StoreError):
            store.rest()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
