"""What all draws on one store share in a process: who brings requests to it, and what was read already."""

from __future__ import annotations

import atexit
import os
import threading
import time
from _thread import start_new_thread
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Final

from memollm._draws.desk import Debt, Desk
from memollm._draws.left import LeftCalls
from memollm._draws.lookups import Lookups
from memollm._draws.shelf import FirstSamples
from memollm._draws.tender import Tender
from memollm._spending.accounts import Keeper
from memollm._spending.prices import load_library
from memollm._spending.program import ProgramBudget
from memollm._types.children import is_child
from memollm._types.locks import ForkedLock, renewed_in_children
from memollm._types.requests import Write
from memollm._types.warn import warn
from memollm.errors import NotStoredWarning, StoreError, UncacheableResult
from memollm.stores.drawing import InLine
from memollm.stores.flights import Signal
from memollm.stores.limiting import limiting
from memollm.stores.looking import looking
from memollm.stores.there import existing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._draws.desk import Then
    from memollm._types.calls import Place
    from memollm._types.counting import Account, Counts
    from memollm._types.requests import Change
    from memollm._types.samples import Busy
    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing

TIDY_EVERY: Final = 600.0
"""Seconds between looks at whether the store keeps within its limits."""
NOTHING: Final = object()


def _not_in_line(_: object) -> None:
    """Tell of any request that it would have to wait."""


class Engine:
    """A store with what its draws share in this process; made anew in a forked child."""

    def __init__(
        self,
        store: Drawing,
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
        self.flights = self.store.flights
        self.in_line = self.store.at_once if isinstance(self.store, InLine) else _not_in_line
        self.keeper = Keeper(self.store, self._begin_counting, self.clock)
        self.left = LeftCalls(self)
        self.tender = Tender(self._tend, self._due_in)
        self.lookups = Lookups(self.tender.begin)
        self.desk = Desk(self.store, self.tender.begin)
        self.shelf = FirstSamples()
        self._waited_for: dict[Place, Signal] = {}
        self._warned: set[str] = set()
        self.ready: Signal | None = None
        """That what keeping answers needs is loaded, once somebody has had that begun."""
        self.program: ProgramBudget | None = None
        """The budget of the whole program, if it is counted here."""
        self.known: dict[tuple[str, str], tuple[str, ...]] = {}
        """What has been introduced to the store: by kind and name; of functions, the older versions that are read."""
        self._tidy_at = 0.0
        """When the limits are looked at next; not yet, in this process, if it is 0."""

    def __memollm_engine__(self) -> Engine:
        return self

    @property
    def existing(self) -> Drawing:
        """The store as it is looked into and kept: an empty one where no cache is yet, so that none is made."""
        return existing(self.store)

    @property
    def reading(self) -> Engine:
        """The engine of draws that are to change nothing here."""
        # Few programs draw so.
        from memollm.stores.reading import reading_store

        # One for all threads: what one of them has drawn is not for the others.
        with _beginning_to_read:
            if self.closed:
                return self
            if self._reading is None:
                store = reading_store(self.store)
                made = Engine(store, self.codec, self.clock, place=self.place, path=self.path)
                # Whoever has interrupted this thread may have made one, too.
                self._reading = self._reading or made
            return self._reading

    # What is done besides drawing.

    def get_ready(self) -> None:
        """Load what keeping answers needs, which takes its time; where that fails, who needs it is told."""
        for load in (self.codec.load_key, load_library):
            with suppress(Exception):
                load()

    def owe(self, changes: Sequence[Change]) -> None:
        """Have changes written soon, by a thread of ours; this one waits for nothing and takes no lock."""
        self.insist(Write(self.flights.new_id(), changes))

    def insist(self, write: Write, then: Then | None = None) -> None:
        """Have something written soon that was maybe asked for already, and counts once; then what follows from it."""
        self.desk.debts.append(Debt(write, then))
        self._be_tended()

    def _be_tended(self) -> None:
        with suppress(RuntimeError):
            # At the end of the interpreter no thread begins any more; what is owed is paid as the cache is closed.
            start_new_thread(self.tender.begin, ())

    def limited(self, program: str) -> ProgramBudget:
        """Return what counts here what the whole program spends."""
        found = self.program
        if found is None:
            made = ProgramBudget(program, limiting(self.store), self._be_tended)
            # Another thread may have made one, too.
            found = self.program = self.program or made
            at_end_of_process()
        return found

    def _tend(self) -> bool:
        """Do what is due; tell whether anything is still owed."""
        self.left.end_graces()
        self.lookups.end_leases()
        # First: what draws have given back others may wait for, and for counts nobody does.
        self._pay()
        due_in = self.keeper.due_in()
        if due_in is not None and due_in <= 0:
            self.keeper.hand_over()
            # In a thread of its own, since it takes its time.
            self._stay_within_limits(lambda: threading.Thread(target=self._tidy, daemon=True).start())
        if self.program is not None:
            self.program.settle()
        return self._pay()

    def _due_in(self) -> float | None:
        dues = (self.keeper.due_in(), self.left.due_in(), self.lookups.due_in())
        due = [each for each in dues if each is not None]
        return min(due, default=None)

    def _stay_within_limits(self, tidy: Callable[[], object]) -> None:
        if self.keeper.has_paid and time.monotonic() >= self._tidy_at:
            self._tidy_at = time.monotonic() + TIDY_EVERY
            tidy()

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted, by whatever in this process draws from the same place up to now."""
        for other in living_engines():
            if other is self or other.store is self.store or (self.path is not None and other.path == self.path):
                other.keeper.hand_over()
        return looking(self.existing).counted()

    def leave(self) -> None:
        """Do what is left to do at the end of the process."""
        self.keeper.hand_over()
        if self.program is not None:
            self.program.settle()
        if not self._tidy_at:
            self._stay_within_limits(self._tidy)

    def _begin_counting(self) -> None:
        self.tender.begin()
        at_end_of_process()

    def _pay(self) -> bool:
        """Try again to write what could not be written; tell whether anything is still owed."""
        self.desk.paid(wait=True)
        # What a draw owes that outlived its closed cache cannot be paid: its ticket is no longer aloft, which says it.
        return bool(self.desk.debts) and not self.closed

    # Waiting.

    def settling(self, place: Place, busy: Busy) -> Signal:
        """Return a signal for when a busy slot is worth another look."""
        if busy.ticket is not None:
            return self.flights.landing(busy.ticket, place)
        signal = self._waited_for.get(place)
        if signal is None:
            # Of two threads that begin to wait at one moment, both wait for what one of them has put there.
            signal = self._waited_for.setdefault(place, mine := Signal())
            if signal is mine:
                self.store.watch((place,), self._worth_a_look)
        return signal

    def _worth_a_look(self, place: Place) -> None:
        signal = self._waited_for.pop(place, None)
        if signal is not None:
            signal.set()

    # Telling the user.

    def not_stored(self, function: str, error: StoreError | UncacheableResult) -> None:
        """Warn that an answer is returned and not kept, once for each function and reason."""
        self.tell_once(f"An answer of {function} was not stored. {error}")

    def tell_once(self, told: str) -> None:
        """Warn that something is not kept, unless the same was said before."""
        if told not in self._warned:
            self._warned.add(told)
            try:
                warn(told, NotStoredWarning)
            except NotStoredWarning:
                # Where the user has made it an error, each answer that is not stored is one.
                self._warned.discard(told)
                raise

    def after_fork_in_child(self) -> None:
        """Begin anew: threads and locks belong to the parent."""
        self._begin_process()

    def close(self) -> None:
        """Settle what is owed and close the store."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
        # Others may wait for it.
        self._pay()
        self.leave()
        self.left.stop_all()
        self.lookups.release_all()
        self.closed = True
        self._pay()
        self.desk.close()
        self.store.close()


_living = renewed_in_children(Engine.after_fork_in_child)
_beginning_to_read = ForkedLock()


def living_engines() -> list[Engine]:
    """Return all that are open in this process, and those of draws that change nothing."""
    return [engine for engine in list(_living) if not engine.closed]


def _at_exit() -> None:
    with ExitStack() as leaving:
        # One that fails keeps no other from leaving.
        for engine in list(_living):
            if not engine.closed:
                leaving.callback(engine.leave)


def at_end_of_process() -> None:
    """Have counts handed over at the end of a child of multiprocessing, which leaves without `atexit`."""
    if is_child() and _ended_by.get("pid") != os.getpid():
        from multiprocessing.util import Finalize

        _ended_by["pid"] = os.getpid()
        Finalize(None, _at_exit, exitpriority=0)


_ended_by: dict[str, int] = {}
"""The process whose end is provided for."""
