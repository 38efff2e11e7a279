"""One process's use of a SQLite file: opening and leaving it, and doing work in transactions."""

from __future__ import annotations

import atexit
import os
import sqlite3
import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from memollm._types.locks import WouldBlock
from memollm.errors import StoreClosed, StoreError
from memollm.stores.flights import Flights
from memollm.stores.sqlite.files import Files, refuse_foreign, refuse_network, refuse_old_sqlite, translated
from memollm.stores.sqlite.ledger import Ledger, schemas, statements
from memollm.stores.sqlite.link import FileVanished, Link
from memollm.stores.sqlite.owners import Neighbours

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
NOT_OPEN: Final = -1
"""The epoch of a store that is not open: what was read then must not be remembered."""
COMMITS_BETWEEN_CHECKS: Final = 1000
"""How many commits pass before the size of the write-ahead log is looked at."""


class Session:
    """One process's use of a SQLite file. It opens on first use, and again in a forked child."""

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
            self.files.require_writable()
            self.files.prepare()
            link = Link(self.files, schemas(), wait=wait)
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

    def _transact(
        self,
        work: Callable[[Ledger, *Arguments], T],
        *arguments: *Arguments,
        wait: bool = True,
        durable: bool = False,
    ) -> T:
        """Do work in one transaction under the write lock."""
        opened = self._open_as or self._opened(wait=wait)
        link = opened[0]
        try:
            result = link.lock.run(self._transaction, opened, work, arguments, wait, durable, wait=wait)
        except FileVanished:
            self._lose(link)
            raise
        except (sqlite3.Error, OSError) as error:
            raise translated(error, self.files.database) from error
        self._commits += 1
        if self._commits >= COMMITS_BETWEEN_CHECKS:
            self._tend(link)
        return result

    def _transaction(
        self,
        opened: tuple[Link, Ledger],
        work: Callable[[Ledger, *Arguments], T],
        arguments: tuple[*Arguments],
        wait: bool,  # noqa: FBT001 - what is run under the lock is given its arguments by place
        durable: bool,  # noqa: FBT001 - the same
    ) -> T:
        link, ledger = opened
        try:
            link.begin(wait=wait, durable=durable)
            if self._seen_epoch != link.epochs[0]:
                ledger.forget()
                self._seen_epoch = link.epochs[0]
            result = work(ledger, *arguments)
            link.commit()
            ledger.confirm()
        except BaseException:
            # Also an interrupt between any two of them: no transaction is left open.
            link.rollback()
            ledger.revert()
            raise
        return result

    def _tend(self, link: Link) -> None:
        """Now and then fold the write-ahead log into the database, on nobody's time."""
        self._commits = 0
        if link.wants_checkpoint():
            threading.Thread(target=_checkpoint, args=(weakref.ref(self), link), daemon=True).start()

    def _rows(self, statement: str, *values: object) -> list[Any]:
        link, _ = self._open_as or self._opened()
        with self._translating():
            return link.read(statements()[statement], values)

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


def _checkpoint(store: weakref.ref[Session], link: Link) -> None:
    living = store()
    # A failure here loses nothing: the log only stays long until the next attempt.
    with suppress(StoreError, sqlite3.Error, OSError, ValueError):
        if living is not None and not link.closed:
            link.checkpoint()


_living: weakref.WeakSet[Session] = weakref.WeakSet()


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
