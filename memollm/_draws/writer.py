"""Writing together: changes that arrive while a commit is under way share the next one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from memollm._types.requests import Change, Fill
from memollm.errors import StoreError, StoreUnavailable
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm.stores.base import Store


class Pending:
    """Changes on their way into the store."""

    __slots__ = ("changes", "done", "error")

    def __init__(self, changes: Sequence[Change]) -> None:
        self.changes = changes
        self.done = Signal()
        self.error: Exception | None = None

    def fail(self, error: Exception) -> None:
        """Be done, with an error, unless it is done already."""
        if not self.done.is_set():
            self.error = error
            self.done.set()

    def outcome(self) -> None:
        """Raise what went wrong, once it is done."""
        if self.error is not None:
            raise self.error


class Writer:
    """Writes changes; those that arrive while a commit is under way share the next one."""

    def __init__(self, store: Store, on_debt: Callable[[], None]) -> None:
        self._store = store
        self._on_debt = on_debt
        self._flushing = threading.Lock()
        self._queue: list[Pending] = []
        self.debts: list[Change] = []

    def put(self, changes: Sequence[Change]) -> Pending:
        """Hand in changes; some later `flush`, by whomever, writes them."""
        pending = Pending(changes)
        self._queue.append(pending)
        return pending

    def flush(self) -> None:
        """Write all that has been handed in."""
        with self._flushing:
            batch = list(self._queue)
            try:
                self._write(batch)
            except Exception as error:  # noqa: BLE001 - told to each of those who wait
                for pending in batch:
                    pending.fail(error)
            finally:
                # Who was interrupted, before or after the commit, leaves the rest: writing a change twice does no harm.
                self._queue[: len(batch)] = [pending for pending in batch if not pending.done.is_set()]

    def _write(self, batch: list[Pending]) -> None:
        if not batch and not self.debts:
            return
        debts = list(self.debts)
        try:
            self._store.write([*debts, *(change for pending in batch for change in pending.changes)])
        except StoreError as error:
            self._divide(batch, error)
            return
        del self.debts[: len(debts)]
        for pending in batch:
            pending.done.set()

    def _divide(self, batch: list[Pending], error: StoreError) -> None:
        """Find out whose change it was that failed, so that it fails alone."""
        if len(batch) > 1:
            for pending in batch:
                self._write([pending])
            return
        for pending in batch:
            pending.error = error
            if isinstance(error, StoreUnavailable) and not any(isinstance(change, Fill) for change in pending.changes):
                self.debts.extend(pending.changes)
                self._on_debt()
            pending.done.set()
