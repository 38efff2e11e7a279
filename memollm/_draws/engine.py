"""What all draws on one store share in a process: who writes and who waits for them, and what was read already."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
import weakref
from _thread import start_new_thread
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._draws.watcher import Watcher
from memollm._draws.writer import Pending, Writer
from memollm._spending.accounts import HIT, Keeper
from memollm._types.locks import ForkedLock, WouldBlock
from memollm._types.samples import Busy, Sample, is_atomic
from memollm._types.warn import warn
from memollm.errors import NotStoredWarning, StoreError, UncacheableResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._spending.accounts import Given
    from memollm._types.calls import Call, Place
    from memollm._types.counting import Account, Counts
    from memollm._types.requests import Change
    from memollm._values.codec import Codec
    from memollm.stores.base import Store
    from memollm.stores.flights import Signal

TIDY_EVERY: Final = 600.0
"""Seconds between looks at whether the store keeps within its limits."""
SHELF_ENTRIES: Final = 10_000
SHELF_BYTES: Final = 64 << 20
NOTHING: Final = object()


class OnShelf(NamedTuple):
    """The first sample of a call as it was read, as of an epoch of the store."""

    epoch: int
    stored: float
    value: Any
    """The value itself where it cannot be changed, else its record."""
    is_record: bool
    given: Given
    """The note for the books when it is given."""


class Engine:
    """A store with what its draws share in this process; made anew in a forked child."""

    def __init__(
        self,
        store: Store,
        codec: Codec,
        clock: Callable[[], float] = time.time,
        *,
        place: str = "Cache(...)",
        path: str | None = None,
        tidy: Callable[[], object] = bool,
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.place = place
        """The cache as the user would write it."""
        self.path = path
        """What the command line calls it, if it can be reached from there."""
        self.closed = False
        self._tidy = tidy
        """Keeps the store within the limits that are configured."""
        self._reading: Engine | None = None
        self._begin_process()
        _living.add(self)
        # The last to be registered is the first to be called: before the store closes its files.
        atexit.unregister(_at_exit)
        atexit.register(_at_exit)

    def _begin_process(self) -> None:
        self.writer = Writer(self.store, self._owe)
        self.keeper = Keeper(self.store, self._begin_counting, self.clock)
        self.watcher = Watcher(self.store.poll, self._tend, self.keeper.due_in)
        self._helper: ThreadPoolExecutor | None = None
        self.asking = 0
        """How many operations wait for the helper; who comes later is to queue behind them."""
        self._flush_is_due = False
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self.known: dict[tuple[str, str], str] = {}
        """What has been introduced to the store: by kind and name, the version to use."""
        self._tidy_at = 0.0
        """When the limits are looked at next; not yet, in this process, if it is 0."""
        self._epoch_now = self.store.epoch
        self.clear_shelf()

    def __memollm_engine__(self) -> Engine:
        return self

    @property
    def reading(self) -> Engine:
        """The engine of draws that are to change nothing here."""
        # One for all threads: what one of them has drawn is not for the others.
        with _beginning_to_read:
            if self.closed:
                return self
            if self._reading is None:
                from memollm.stores.reading import reading_store

                self._reading = Engine(
                    reading_store(self.store), self.codec, self.clock, place=self.place, path=self.path
                )
            return self._reading

    # Writing.

    def save(self, changes: Sequence[Change]) -> None:
        """Write changes, together with those of other threads."""
        pending = self.writer.put(changes)
        while not pending.done.is_set():
            self.writer.flush()
        pending.outcome()

    def save_soon(self, changes: Sequence[Change]) -> Pending:
        """Have a helper write changes, together with those that others hand in meanwhile."""
        pending = self.writer.put(changes)
        if not self._flush_is_due:
            self._flush_is_due = True
            try:
                self.helper.submit(self._flush)
            except RuntimeError:
                # The cache or the interpreter is being closed, and no thread begins any more.
                self._flush()
        return pending

    def _flush(self) -> None:
        self._flush_is_due = False
        self.writer.flush()

    def owe(self, changes: Sequence[Change]) -> None:
        """Have changes written soon, by a thread of ours; this one waits for nothing and takes no lock."""
        self.writer.debts.extend(changes)
        start_new_thread(self.watcher.tend, ())

    def _owe(self) -> None:
        self.watcher.tend()

    def _tend(self) -> bool:
        """Do what is due; tell whether anything is still owed."""
        due_in = self.keeper.due_in()
        if due_in is not None and due_in <= 0:
            self.keeper.hand_over()
            # In a thread of its own, since it takes its time, and whoever waits for a slot waits for this one.
            self._stay_within_limits(lambda: threading.Thread(target=self._tidy, daemon=True).start())
        return self._pay()

    def _stay_within_limits(self, tidy: Callable[[], object]) -> None:
        if self.keeper.has_paid and time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_EVERY
            tidy()

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted, by this process up to now."""
        self.keeper.hand_over()
        return self.store.counted()

    def leave(self) -> None:
        """Do what is left to do at the end of the process."""
        self.keeper.hand_over()
        if not self._tidy_at:
            self._stay_within_limits(self._tidy)

    def _begin_counting(self) -> None:
        self.watcher.tend()
        at_end_of_process()

    def _pay(self) -> bool:
        """Try again to settle what could not be settled; tell whether anything is still owed."""
        if self.writer.debts:
            self.writer.flush()
        # What a draw owes that outlived its closed cache cannot be paid: its ticket is no longer aloft, which says it.
        return bool(self.writer.debts) and not self.closed

    def pay_first(self, *, wait: bool) -> None:
        """Settle what is owed before positions are taken: what was delivered may still look free."""
        if not wait:
            raise WouldBlock
        self.writer.flush()

    @property
    def helper(self) -> ThreadPoolExecutor:
        """The thread that waits for locks and disks in place of event loops; one, so draws keep their order (P6)."""
        with self._lock:
            if self._helper is None:
                self._helper = ThreadPoolExecutor(1, thread_name_prefix="memollm-helper")
            return self._helper

    def ask_later(self, operation: Callable[[bool], None]) -> Future[None]:
        """Have the helper do an operation, after those that came before."""
        with self._lock:
            self.asking += 1
        return self.helper.submit(self._ask, operation)

    def _ask(self, operation: Callable[[bool], None]) -> None:
        try:
            operation(True)
        finally:
            with self._lock:
                self.asking -= 1

    # Waiting.

    def settling(self, place: Place, busy: Busy) -> Signal:
        """Return a signal for when a busy slot is worth another look."""
        if busy.ticket is None:
            return self.watcher.watch(place)
        return self.store.flights.landing(busy.ticket, place)

    # What was read already.

    def clear_shelf(self) -> None:
        """Forget what was read."""
        self._shelf: dict[str, OnShelf] = {}
        self._shelf_bytes = 0

    def recall(self, call: Call, newer_than: float) -> OnShelf | None:
        """Return the first sample of a call if it was read here and nothing was replaced since."""
        found = self._shelf.get(call.form)
        if found is not None and found.epoch == self._epoch_now() and found.stored > newer_than:
            return found
        return None

    def value_of(self, found: OnShelf, call: Call) -> Any:
        """Return an object of the caller's own."""
        return self.codec.decode(found.value, context=call.key) if found.is_record else found.value

    def shelve(self, call: Call, value: Any, sample: Sample, epoch: int) -> None:
        """Remember the first sample of a call, read no earlier than in the given epoch."""
        if epoch < 0:
            # The store was not open then.
            return
        if len(self._shelf) >= SHELF_ENTRIES or self._shelf_bytes > SHELF_BYTES:
            self.clear_shelf()
        atomic = is_atomic(value)
        given = (call, 0, sample[2:], 0.0, HIT)
        self._shelf[call.form] = OnShelf(epoch, sample.stored, value if atomic else sample.record, not atomic, given)
        self._shelf_bytes += len(sample.record) + len(call.form)

    # Telling the user.

    def not_stored(self, function: str, error: StoreError | UncacheableResult) -> None:
        """Warn that an answer is returned and not kept, once for each reason."""
        reason = str(error)
        if reason not in self._warned:
            self._warned.add(reason)
            warn(f"An answer of {function} was not stored. {reason}", NotStoredWarning)

    def after_fork_in_child(self) -> None:
        """Begin anew: threads and locks belong to the parent."""
        self._begin_process()

    def close(self) -> None:
        """Settle what is owed and close the store."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
        self.leave()
        self.closed = True
        self._pay()
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.shutdown()
        self.store.close()


_living: weakref.WeakSet[Engine] = weakref.WeakSet()
_beginning_to_read = ForkedLock()


def _at_exit() -> None:
    with ExitStack() as leaving:
        # One that fails keeps no other from leaving.
        for engine in list(_living):
            if not engine.closed:
                leaving.callback(engine.leave)


def at_end_of_process() -> None:
    """Have counts handed over at the end of a child of multiprocessing, which leaves without `atexit`."""
    processes = sys.modules.get("multiprocessing.process")
    if processes is not None and processes.parent_process() is not None and _ended_by.get("pid") != os.getpid():
        from multiprocessing.util import Finalize

        _ended_by["pid"] = os.getpid()
        Finalize(None, _at_exit, exitpriority=0)


_ended_by: dict[str, int] = {}
"""The process whose end is provided for."""


def _after_fork_in_child() -> None:
    for engine in list(_living):
        engine.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
