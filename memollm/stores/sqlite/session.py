"""One process's use of a SQLite file: opening and leaving it, and doing work in transactions."""

from __future__ import annotations

import atexit
import sqlite3
import threading
import weakref
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

from memollm._types.locks import ThreadLock, WouldBlock, interrupted
from memollm.errors import MemollmError, StoreClosed, StoreError
from memollm.stores.flights import Flights
from memollm.stores.sqlite import forks
from memollm.stores.sqlite.connections import Closed
from memollm.stores.sqlite.filelocks import lock_descriptor, unlock_descriptor
from memollm.stores.sqlite.files import FAILURES, Files, refuse_foreign, refuse_network, refuse_old_sqlite, translated
from memollm.stores.sqlite.leaving import leave, leave_soon
from memollm.stores.sqlite.ledger import Ledger
from memollm.stores.sqlite.link import FileVanished, Link, Patience, until_free
from memollm.stores.sqlite.lock import WriteLock, acquired
from memollm.stores.sqlite.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
Opened = tuple[Link, Ledger]
NOT_OPEN: Final = -1
"""The epoch of a store that is not open: what was read then must not be remembered."""
COMMITS_BETWEEN_CHECKS: Final = 1000
"""How many commits pass before the size of the write-ahead log is looked at."""


class Session:
    """One process's use of a SQLite file. It opens on first use, and again after a fork."""

    _open_as: Opened | None = None

    def __init__(self, path: Path, *, allow_network: bool = False) -> None:
        self.flights = Flights()
        self.files = Files(path)
        self._allow_network = allow_network
        self._closed = False
        self._begin_process()
        forks.know(self)
        _living[id(self)] = self

    def _begin_process(self) -> None:
        opening = ThreadLock()
        self._opening, self._is_opening = opening.lock, opening.mine
        self._open_as = None
        self._when_dropped: weakref.finalize[..., Session] | None = None
        self._rested: Opened | None = None
        """What was open before a fork or a repair; its link is closed, and its ledger goes on with the next."""
        self._seen_epoch = NOT_OPEN
        self._first_ticket = 0
        self._commits = 0
        self._patience = Patience()

    # Opening and leaving.

    def is_made(self) -> bool:
        """Tell whether the file is there, or was; what keeps it from being looked at is told by whoever opens it."""
        with suppress(PermissionError):
            return self._closed or self._open_as is not None or self.files.database.exists()
        return True

    def _opened(self, *, wait: bool = True) -> Opened:
        if not wait and not self._closed and self._open_as is None:
            # Opening reads the disk and waits for the lock.
            raise WouldBlock
        self._require_uninterrupted()
        with self._opening:
            if self._closed:
                raise StoreClosed(f"The cache {self.files.database} was closed. Make a new Cache to go on.")
            if self._open_as is None:
                self._open_as = opened = self._open(wait=wait)
                # It holds what is open, so that no garbage collection takes that apart together with this store.
                self._when_dropped = weakref.finalize(self, leave_soon, *opened)
                self._when_dropped.atexit = False
                self._rested = None
            return self._open_as

    def _open(self, *, wait: bool) -> Opened:
        refuse_old_sqlite()
        try:
            if not self._allow_network:
                refuse_network(self.files.folder)
            refuse_foreign(self.files.database)
            self.files.require_writable()
            self.files.prepare()
            lock = WriteLock(self.files.open_private(self.files.lock))
            link = until_free(lambda: lock.run(Link, self.files, lock, wait=wait), wait=wait)
        except FAILURES as error:
            raise translated(error, self.files.database) from error
        if self._rested is None:
            return link, Ledger(link, self.flights, self._first_ticket)
        return link, self._ledger_of(*self._rested, link)

    def _ledger_of(self, before: Link, ledger: Ledger, link: Link) -> Ledger:
        """Go on with a ledger, unless the file has become another one meanwhile."""
        self._seen_epoch = NOT_OPEN
        if before.identity == link.identity:
            ledger.rows.use(link)
            return ledger
        self._depart(ledger)
        return Ledger(link, self.flights, self._first_ticket)

    def _depart(self, ledger: Ledger) -> None:
        """Know that the file is gone which this ledger is of, and what was drawn from it."""
        ledger.ownership.abandon()
        self._first_ticket = self.flights.depart()
        self.flights.arrive(self._first_ticket)

    def close(self) -> None:
        """Close the file for good."""
        self._require_uninterrupted()
        self._closed = True
        self.leave()

    def leave(self) -> None:
        """Void what this process has in flight, and close the file; the next use opens it again."""
        self._require_uninterrupted()
        with self._opening:
            opened = self._taken_away() or self._reopened()
            rested, self._rested = self._rested, None
        if rested is not None:
            rested[1].ownership.leave()
        if opened is not None:
            with self.translating():
                leave(*opened)

    def _require_uninterrupted(self) -> None:
        """Refuse what would wait for what this very thread was interrupted in."""
        opened = self._open_as
        if self._is_opening() or (opened is not None and opened[0].lock.mine()):
            raise interrupted()

    def _reopened(self) -> Opened | None:
        """Open what was closed for a while, if there is anything in flight that somebody has to be told of."""
        if self._rested is None or not self.flights.under_way:
            return None
        with suppress(StoreError):
            opened = self._open(wait=True)
            self._rested = None
            return opened
        return None

    def rest(self) -> None:
        """Close the file, and leave what is in flight as it is; the next use opens the file again."""
        self._require_uninterrupted()
        with self._opening:
            opened = self._taken_away()
            self._rested = opened or self._rested
        if opened is not None:
            with self.translating():
                opened[0].close()

    def _taken_away(self) -> Opened | None:
        """Have nothing open any more; return what was."""
        opened, self._open_as = self._open_as, None
        if self._when_dropped is not None:
            self._when_dropped.detach()
        return opened

    def _lose(self, link: Link) -> None:
        """Let go of a file that is gone, without touching what may stand in its place; the next use opens that."""
        with self._opening:
            if self._open_as is None or self._open_as[0] is not link or not link.has_moved():
                return
            if link.has_moved(log=False):
                # Closing would remove a log that is another file's by now.
                link.abandon()
            else:
                # What was in the log goes back into the database, if this process is the only one left.
                link.close()
            self._depart(self._open_as[1])
            self._taken_away()

    def _rest_with(self, link: Link, *, wait: bool = True) -> None:
        """Know that a file is closed, if its closing was interrupted before it was said; close one without a lock."""
        if not wait:
            raise WouldBlock
        with self._opening:
            if self._open_as is None or self._open_as[0] is not link or not (link.closed or link.is_unshared()):
                return
            self._rested = self._taken_away()
        with self.translating():
            link.close()

    # Forks.

    def before_fork(self, until: float) -> bool:
        """Close what is open, and open nothing until the fork is over."""
        if not acquired(self._opening, until):
            return False
        try:
            opened = self._open_as
            if opened is None or opened[0].close_by(until):
                self._rested = self._taken_away() or self._rested
                return True
        except BaseException:
            self._opening.release()
            raise
        self._opening.release()
        return False

    def after_fork(self) -> None:
        """Open again when it is needed."""
        self._opening.release()

    def begin_in_child(self) -> None:
        """Begin anew: locks and claims belong to the parent."""
        for link, ledger in filter(None, (self._taken_away(), self._rested)):
            if not link.closed:
                link.abandon()
            link.lock.close()
            link.epoch.close()
            ledger.ownership.abandon()
        self._begin_process()

    # Transactions.

    @contextmanager
    def translating(self) -> Generator[None]:
        """Say in the user's words what fails in a block."""
        try:
            yield
        except MemollmError:
            raise
        except FAILURES as error:
            raise translated(error, self.files.database) from error

    def link(self) -> Link:
        """Return the connections, opened if need be."""
        return self._opened()[0]

    def transact(
        self,
        work: Callable[[Ledger, *Arguments], T],
        *arguments: *Arguments,
        wait: bool = True,
        durable: bool = False,
    ) -> T:
        """Do work in one transaction under the write lock."""
        until = None
        while True:
            opened = self._open_as or self._opened(wait=wait)
            link = opened[0]
            lock = link.lock
            try:
                # As `WriteLock.run` does, without a call of its own.
                if lock.mine():
                    raise interrupted()
                with lock.threads if wait else lock.threads_at_once:
                    try:
                        if not lock_descriptor(lock.descriptor, blocking=False):
                            lock.queue(wait=wait)
                        result = self._transaction(opened, work, arguments, durable)
                    finally:
                        unlock_descriptor(lock.descriptor)
                break
            except Closed:
                # A fork came between, or somebody who removed the lock.
                self._rest_with(link, wait=wait)
            except FileVanished:
                self._lose(link)
                raise
            except MemollmError:
                raise
            except FAILURES as error:
                until = self._until_again(link, error, until, wait=wait)
        if durable:
            # Whatever was replaced, nobody has a look at it in any process by the time that the caller is told.
            link.epoch.outlast()
        self._patience.has_hung = False
        self._commits += 1
        if self._commits >= COMMITS_BETWEEN_CHECKS:
            self._tend(link)
        return result

    def _until_again(self, link: Link, error: Exception, until: float | None, *, wait: bool) -> float:
        """Wait a little for another attempt, and return until when to make any; raise what is no reason to."""
        if until is None:
            until = self._patience.until()
            if link.may_go_on(error):
                return until
        with self.translating():
            self._patience.after(error, until, wait=wait)
        return until

    def _transaction(
        self,
        opened: Opened,
        work: Callable[[Ledger, *Arguments], T],
        arguments: tuple[*Arguments],
        durable: bool,  # noqa: FBT001 - what is run under the lock is given its arguments by place
    ) -> T:
        # All in one place, since a stored draw is hardly more than this.
        link, ledger = opened
        if not link.closed and link.writer.in_transaction:
            # Whoever was to undo it was interrupted again.
            ledger.revert()
            link.rollback()
        ledger.undo.clear()
        ledger.has_looked = False
        try:
            if durable is not link.durable:
                link.sync(durable=durable)
            link.execute("BEGIN IMMEDIATE")
            if self._seen_epoch != (epoch := link.epoch.now()):
                ledger.rows.forget()
                self._seen_epoch = epoch
            result = work(ledger, *arguments)
            if link.new_epoch:
                link.commit()
            else:
                link.execute("COMMIT")
        except BaseException as error:
            # Also an interrupt between any two of them: no transaction is left open. Just after the commit nothing is
            # undone, and what was answered is remembered. As long as it is open the next one can see that.
            if isinstance(error, sqlite3.Error) or (not link.closed and link.writer.in_transaction):
                ledger.revert()
            link.rollback()
            raise
        return result

    def _tend(self, link: Link) -> None:
        """Now and then fold the write-ahead log into the database, on nobody's time."""
        self._commits = 0
        if link.wants_checkpoint():
            threading.Thread(target=_checkpoint, args=(weakref.ref(self), link), daemon=True).start()

    def _read(self, statement: str, values: Sequence[Any], *, wait: bool = True) -> list[Any]:
        """Read without any lock."""
        while True:
            link, _ = self._open_as or self._opened(wait=wait)
            try:
                return link.read(statement, values)
            except Closed:
                self._rest_with(link, wait=wait)
            except FAILURES as error:
                raise translated(error, self.files.database) from error

    def rows(self, statement: str, *values: object) -> list[Any]:
        """Run a statement by its name, without any lock."""
        return self._read(statements()[statement], values)

    @contextmanager
    def _locked(self) -> Generator[Opened]:
        """Hold the write lock for a block, and have the file open."""
        while True:
            opened = self._open_as or self._opened()
            with opened[0].lock.held():
                if not opened[0].closed:
                    yield opened
                    return
            self._rest_with(opened[0])

    def in_place(self, work: Callable[[Link], T]) -> T:
        """Do other work than a transaction on the file, under the write lock, unless it is gone."""
        with ExitStack() as lock:
            link, _ = lock.enter_context(self._locked())
            try:
                link.require_unmoved()
                return work(link)
            except FileVanished:
                lock.close()
                self._lose(link)
                raise


def _checkpoint(store: weakref.ref[Session], link: Link) -> None:
    living = store()
    # A failure here loses nothing: the log only stays long until the next attempt.
    with suppress(StoreError, sqlite3.Error, OSError, ValueError, Closed):
        if living is not None and not link.closed:
            link.checkpoint()


_living: weakref.WeakValueDictionary[int, Session] = weakref.WeakValueDictionary()


def _at_exit() -> None:
    for store in [each for reference in _living.valuerefs() if (each := reference()) is not None]:
        with suppress(StoreError):
            store.leave()


atexit.register(_at_exit)
