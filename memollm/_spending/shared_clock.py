"""The clock by which time is spent: it runs while any call of this process is in flight, and those in flight share it.

Of two calls that are in flight at once, each takes half of that time. So what all calls of a process took adds up to
the time in which at least one was in flight, as a clock on the wall shows it, however many were in flight at once.
"""

from __future__ import annotations

import weakref
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.locks import ForkedLock, renewed_in_children

if TYPE_CHECKING:
    from collections.abc import Callable


class ClockState(NamedTuple):
    """How a clock stands."""

    shown: float
    """What each call would have taken that was in flight since the clock began."""
    at: float
    """When it stood so."""
    flying: int
    """How many calls were in flight then."""


class SharedClock:
    """A clock that runs so much slower for each call as there are calls in flight."""

    def __init__(self, now: Callable[[], float] = perf_counter) -> None:
        self.now = now
        self._lock = ForkedLock()
        self.renew()
        _living.add(self)

    def renew(self) -> None:
        """Begin anew, in a forked child: what was in flight is the parent's."""
        self._flying: weakref.WeakSet[Any] = weakref.WeakSet()
        self._stands = ClockState(0.0, 0.0, 0)

    def begin(self, who: object) -> float:
        """Know that a call is in flight from now on; return what the clock shows."""
        with self._lock:
            self._flying.add(who)
            return self._read()

    def end(self, who: object) -> float | None:
        """Know that it is not any more; return what the clock shows. None: it was in flight in another process."""
        with self._lock:
            if who not in self._flying:
                return None
            self._flying.discard(who)
            return self._read()

    def _read(self) -> float:
        while True:
            before, at = self._stands, self.now()
            passed = (at - before.at) / before.flying if before.flying else 0.0
            stands = ClockState(before.shown + max(0.0, passed), at, len(self._flying))
            # A garbage collection may have ended a call meanwhile, in this very thread.
            if self._stands is before:
                self._stands = stands
                return stands.shown


_living = renewed_in_children(SharedClock.renew)
shared_clock: Final = SharedClock()
