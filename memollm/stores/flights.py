"""Who in this process is filling which slot, and waking those who wait for it without any polling."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


_tickets = itertools.count(1)


class Signal:
    """Something that happens once; threads and event loops wait for it by leaving a callback."""

    __slots__ = ("_callbacks", "_lock", "_set")

    def __init__(self) -> None:
        # Reentrant, since a garbage collection may end a draw while this thread holds it.
        self._lock = threading.RLock()
        self._set = False
        self._callbacks: list[Callable[[], None]] = []

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

    def wait(self) -> None:
        """Block this thread until it happens."""
        if self._set:
            return
        latch = threading.Lock()
        latch.acquire()
        self.then(latch.release)
        latch.acquire()


class Flights:
    """The draws of this process that are under way, by ticket.

    A claim in the store whose ticket is not aloft here is void: its draw has ended, however it ended.
    """

    def __init__(self) -> None:
        # Reentrant, since a garbage collection may end a draw while this thread holds it.
        self._lock = threading.RLock()
        self._aloft: dict[int, dict[object, Signal]] = {}
        self._owing: set[int] = set()

    def depart(self) -> int:
        """Begin a draw and return its ticket, unique in this process."""
        ticket = next(_tickets)
        self._aloft[ticket] = {}
        return ticket

    def aloft(self, ticket: int) -> bool:
        """Tell whether the draw is still under way."""
        return ticket in self._aloft

    def owe(self, ticket: int) -> None:
        """Remember that a draw delivered positions and could not say so to the store yet."""
        self._owing.add(ticket)

    def holds(self, ticket: int) -> bool:
        """Tell whether positions that are recorded for the draw are not free: in flight, or delivered."""
        return ticket in self._aloft or ticket in self._owing

    def landing(self, ticket: int, place: object) -> Signal:
        """Return the signal that the draw has filled this place or has ended."""
        with self._lock:
            waiting = self._aloft.get(ticket)
            if waiting is not None:
                return waiting.setdefault(place, Signal())
        over = Signal()
        over.set()
        return over

    def land(self, ticket: int, place: object) -> None:
        """Wake those who wait for this place, which is filled now."""
        with self._lock:
            waiting = self._aloft.get(ticket)
            # A signal of its own stays behind, set, for those who looked before the fill and ask only now.
            signal = waiting.setdefault(place, Signal()) if waiting is not None else None
        if signal is not None:
            signal.set()

    def arrive(self, ticket: int) -> None:
        """End a draw and wake all who still wait for one of its places."""
        with self._lock:
            waiting = self._aloft.pop(ticket, None)
        for signal in list(waiting.values()) if waiting else ():
            signal.set()
