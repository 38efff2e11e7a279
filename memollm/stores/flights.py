"""Who in this process is filling which slot, and waking those who wait for it without any polling."""

from __future__ import annotations

import itertools
import threading
from functools import partial
from typing import TYPE_CHECKING

from memollm._types.locks import renewed_in_children
from memollm._types.requests import Fill, Release, Settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memollm._types.calls import Place
    from memollm._types.requests import Change, Written
    from memollm._types.samples import Lent, Sample


tickets = itertools.count(1)


class Signal:
    """Something that happens once; threads and event loops wait for it by leaving a callback."""

    __slots__ = ("_callbacks", "_lock", "_set", "sample")

    def __init__(self) -> None:
        # Reentrant, since a garbage collection may end a draw while this thread holds it.
        self._lock = threading.RLock()
        self._set = False
        self._callbacks: list[Callable[[], None]] = []
        self.sample: Sample | Lent | None = None
        """What the slot holds for which somebody waits, once that is known, or what is given instead."""

    def is_set(self) -> bool:
        """Tell whether it has happened."""
        return self._set

    def set(self) -> None:
        """Let it happen and call everybody who waits; calling it again does nothing."""
        # Under the lock, so that nobody who comes only now is called before those who have waited.
        with self._lock:
            callbacks, self._callbacks, self._set = self._callbacks, [], True
            for callback in callbacks:
                callback()

    def then(self, callback: Callable[[], None]) -> None:
        """Call back when it happens, or now if it already has; the callback must be quick and must not raise."""
        with self._lock:
            if not self._set:
                self._callbacks.append(callback)
                return
        callback()

    def unless(self, callback: Callable[[], None]) -> None:
        """Take back a callback whose owner no longer waits."""
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)

    def wait(self, seconds: float | None = None) -> bool:
        """Block this thread until it happens, or so many seconds have passed; tell whether it has."""
        if not self._set:
            latch = threading.Lock()
            latch.acquire()
            self.then(latch.release)
            if not latch.acquire(timeout=-1 if seconds is None else seconds):
                self.unless(latch.release)
        return self._set


class Flights:
    """The draws of this process that are under way, by ticket.

    A claim in the store whose ticket is not aloft here is void: its draw has ended, however it ended.
    """

    def __init__(self) -> None:
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Know of no draw, as at the beginning of a process: a forked child has none of its parent's.

        Whoever refers to this goes on with it there, so it matters to nobody who is told of a fork first.
        """
        # Reentrant, since a garbage collection may end a draw while this thread holds it.
        self._lock = threading.RLock()
        self.under_way: dict[int, dict[object, Signal]] = {}
        """By ticket, who waits for which place. A draw of stored samples claims none: it may come and go without us."""
        self._owing: set[int] = set()
        self._over: set[int] = set()
        self.answers: dict[int, object] = {}
        """What the store answered a draw when it took, for as long as the draw may have missed it: until it arrives."""

    def depart(self) -> int:
        """Begin a draw and return its ticket, unique in this process."""
        ticket = next(tickets)
        self.under_way[ticket] = {}
        return ticket

    @staticmethod
    def new_id() -> int:
        """Return a number for something that is asked once, unique in this process among these and tickets."""
        return next(tickets)

    def aloft(self, ticket: int) -> bool:
        """Tell whether the draw is still under way."""
        return ticket in self.under_way

    def owe(self, ticket: int) -> None:
        """Remember that a draw delivered positions and could not say so to the store yet."""
        self._owing.add(ticket)

    def holds(self, ticket: int) -> bool:
        """Tell whether positions that are recorded for the draw are not free: in flight, or delivered."""
        return ticket in self.under_way or ticket in self._owing

    def landing(self, ticket: int, place: object) -> Signal:
        """Return the signal that the draw has filled this place or has ended."""
        with self._lock:
            waiting = self.under_way.get(ticket)
            signal = None if waiting is None else waiting.setdefault(place, Signal())
            # Asked only now: a garbage collection, or a signal's handler, may have ended the draw just before.
            if signal is not None and ticket in self.under_way and ticket not in self._over:
                return signal
        over = Signal()
        over.set()
        return over

    def land(self, ticket: int, place: object, sample: Sample | Lent | None = None) -> None:
        """Wake those who wait for this place, and tell them the sample that fills it, if any does."""
        with self._lock:
            waiting = self.under_way.get(ticket)
            # A signal of its own stays behind, set, for those who looked before the fill and ask only now.
            signal = waiting.setdefault(place, Signal()) if waiting is not None else None
        if signal is not None:
            signal.sample = sample or signal.sample
            signal.set()

    def settle(self, ticket: int) -> None:
        """Wake all who wait for a place of this draw, which fills none any more; what it took is its own still."""
        with self._lock:
            waiting = self.under_way.get(ticket)
            if waiting is not None:
                self._over.add(ticket)
        for signal in list(waiting.values()) if waiting else ():
            signal.set()

    def arrive(self, ticket: int) -> None:
        """End a draw and wake all who still wait for one of its places."""
        self.answers.pop(ticket, None)
        with self._lock:
            waiting = self.under_way.pop(ticket, None)
            self._over.discard(ticket)
        for signal in list(waiting.values()) if waiting else ():
            signal.set()

    # For stores.

    def landed(self, changes: Iterable[Change], written: Written) -> None:
        """Wake those who wait for what these changes have filled or let go, once they are made and no lock is held."""
        for change in changes:
            if isinstance(change, Fill):
                self.land(change.ticket, change.place, written.lost.get(change.place, change.sample))
            elif isinstance(change, Release):
                self.land(change.ticket, change.place, change.lent)
            elif isinstance(change, Settle) and not change.keeps_claims:
                self.settle(change.ticket)

    def watch(self, holders: Mapping[Place, int], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Call `wake` for each place when its draw has filled it or has ended; return what stops that."""
        waiting = [(self.landing(ticket, place), partial(wake, place)) for place, ticket in holders.items()]
        for signal, callback in waiting:
            signal.then(callback)

        def stop() -> None:
            for signal, callback in waiting:
                signal.unless(callback)

        return stop


_living = renewed_in_children(Flights.begin)
