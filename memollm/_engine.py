"""What all draws on one store share in a process: writing together, waiting together, and what was read already."""

from __future__ import annotations

import os
import threading
import time
import weakref
from _thread import start_new_thread
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._flights import Signal
from memollm._model import Busy, Call, Change, Fill, Place, Sample, WouldBlock, is_atomic
from memollm._warn import warn
from memollm.errors import NotStoredWarning, StoreError, StoreUnavailable, UncacheableResult

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._codec import Codec
    from memollm.stores.base import Store

POLL_FIRST: Final = 0.002
POLL_LAST: Final = 0.05
"""Seconds between looks at slots that other processes fill; the pause doubles while nothing happens."""
RETRY: Final = 1.0
"""Seconds between attempts to settle draws whose settlement failed."""
SHELF_ENTRIES: Final = 10_000
SHELF_BYTES: Final = 64 << 20
NOTHING: Final = object()


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


class Watcher:
    """One thread that looks, ever more gently, at the slots that other processes are filling."""

    def __init__(self, poll: Callable[[Sequence[Place]], Sequence[bool]], tend: Callable[[], bool]) -> None:
        self._poll = poll
        self._tend = tend
        self._changed = threading.Condition()
        self._watched: dict[Place, Signal] = {}
        self._thread: threading.Thread | None = None

    def watch(self, place: Place) -> Signal:
        """Return a signal for when nobody alive is filling the slot any more."""
        with self._changed:
            signal = self._watched.setdefault(place, Signal())
            self._begin()
        return signal

    def tend(self) -> None:
        """Let the thread come round for other work."""
        with self._changed:
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="memollm-watcher", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        pause = POLL_FIRST
        while True:
            with self._changed:
                places = list(self._watched)
            settled = self._settled(places)
            owing = self._tend()
            with self._changed:
                signals = [self._watched.pop(place) for place in settled]
                idle = not self._watched and not owing
                if idle:
                    self._thread = None
            for signal in signals:
                signal.set()
            if idle:
                return
            pause = POLL_FIRST if settled else min(2 * pause, POLL_LAST if self._watched else RETRY)
            with self._changed:
                self._changed.wait(pause)

    def _settled(self, places: list[Place]) -> list[Place]:
        try:
            return [place for place, settled in zip(places, self._poll(places), strict=True) if settled]
        except StoreError:
            # The store does not answer: the look that follows says so to each who waits.
            return places


class OnShelf(NamedTuple):
    """The first sample of a call as it was read, as of an epoch of the store."""

    epoch: int
    stored: float
    value: Any
    """The value itself where it cannot be changed, else its record."""
    is_record: bool


class Engine:
    """A store with what its draws share in this process; made anew in a forked child."""

    def __init__(
        self, store: Store, codec: Codec, clock: Callable[[], float] = time.time, *, place: str = "Cache(...)"
    ) -> None:
        self.store = store
        self.codec = codec
        self.clock = clock
        self.place = place
        """The cache as the user would write it."""
        self.closed = False
        self._begin_process()
        _living.add(self)

    def _begin_process(self) -> None:
        self.writer = Writer(self.store, self._owe)
        self.watcher = Watcher(self.store.poll, self._pay)
        self._helper: ThreadPoolExecutor | None = None
        self.asking = 0
        """How many operations wait for the helper; who comes later is to queue behind them."""
        self._flush_is_due = False
        self._lock = threading.Lock()
        self._warned: set[str] = set()
        self.known: dict[tuple[str, str], str] = {}
        """What has been introduced to the store: by kind and name, the version to use."""
        self.clear_shelf()

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

    def recall(self, call: Call, newer_than: float) -> Any:
        """Return the first sample of a call if it was read here and nothing was replaced since, or else `NOTHING`."""
        found = self._shelf.get(call.form)
        if found is None or found.stored <= newer_than or found.epoch != self.store.epoch():
            return NOTHING
        return self.codec.decode(found.value, context=call.key) if found.is_record else found.value

    def shelve(self, call: Call, value: Any, sample: Sample, epoch: int) -> None:
        """Remember the first sample of a call, read no earlier than in the given epoch."""
        if epoch < 0:
            # The store was not open then.
            return
        if len(self._shelf) >= SHELF_ENTRIES or self._shelf_bytes > SHELF_BYTES:
            self.clear_shelf()
        atomic = is_atomic(value)
        self._shelf[call.form] = OnShelf(epoch, sample.stored, value if atomic else sample.record, not atomic)
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
        self.closed = True
        self._pay()
        with self._lock:
            helper, self._helper = self._helper, None
        if helper is not None:
            helper.shutdown()
        self.store.close()


_living: weakref.WeakSet[Engine] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for engine in list(_living):
        engine.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
