"""The rules of lookups and updates, which come in separate calls and may never come.

1. A held slot belongs to the task or thread that looked it up, or to whom it named; of one call, the first that was
   looked up is the first to be updated, by the reader that updates if it has looked up any.
2. Who holds anything never waits: where it would have to, its lookup is a miss that holds nothing. So no two callers
   wait for each other.
3. The first lookup after an update releases what is left: that round is over.
4. The caller's end, its word, or the end of a lease releases. A slot that is released gives its position back.
5. An update without a lookup fills the first vacant slot and moves no cursor. One whose lookup holds nothing (any more)
   is stored, too, and counts as delivered: whoever asked has that answer.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from memollm._types.calls import Call

MOST: Final = 10_000
"""How many lookups a caller is remembered to have made that no update came of."""


class LetGo(BaseException):
    """Why a draw ends whose slot is released: nothing has failed, and nothing was delivered."""


class Droppable(Protocol):
    """A draw that has claimed a slot and stands where the function would run."""

    def drop(self) -> None:
        """End it; this waits for nothing, and may happen in any thread."""
        ...


class Ending(Protocol):
    """A task, as far as its end is concerned."""

    def add_done_callback(self, callback: Callable[[Any], object], /) -> object:
        """Have something called when it has ended."""
        ...


class Missed:
    """A lookup that was a miss: what it holds, if anything, and what an update of it is to know."""

    __slots__ = ("_held", "request", "since")

    def __init__(self, request: Any, held: Droppable | None) -> None:
        self.request = request
        """The lookup as it was asked."""
        self.since = time.perf_counter()
        self._held = [] if held is None else [held]
        """A list, since several threads may want to be the one that takes from it."""

    def holds(self) -> bool:
        """Tell whether a slot is held for it."""
        return bool(self._held)

    def take(self) -> Any:
        """Return the draw that it holds, to whoever asks first; else None."""
        try:
            return self._held.pop()
        except IndexError:
            return None

    def release(self) -> None:
        """Let go of what it holds."""
        held = self.take()
        if held is not None:
            held.drop()


class Caller:
    """Who looks up and updates: a task, a thread, or whom a host names."""

    def __init__(self, lookups: Lookups, *, is_named: bool = False) -> None:
        self.is_named = is_named
        self._lookups = lookups
        self._missed: dict[Call, deque[Missed]] = {}
        self._count = 0
        self._has_updated = False
        # Whom a host names may be several threads. Reentrant, since a garbage collection may end another caller.
        self._lock = threading.RLock()

    def __del__(self) -> None:
        # A thread has ended. At the end of the interpreter nothing may be left to do that with.
        with suppress(Exception):
            self.leave()

    def looks_up(self) -> bool:
        """Begin a lookup, and tell whether it may wait."""
        if self._has_updated:
            self.leave()
        return not (self._missed and any(missed.holds() for missed in self._all()))

    def misses(self, call: Call, missed: Missed, lease: float) -> None:
        """Remember a lookup that was a miss."""
        if self._count >= MOST:
            self.leave()
        with self._lock:
            self._count += 1
            self._missed.setdefault(call, deque()).append(missed)
        self._lookups.remember(self)
        if missed.holds():
            self._lookups.lend(missed, lease)

    def updates(self, call: Call, reader: str | None) -> Missed | None:
        """Begin an update; return the first lookup that it can be of, if there was any."""
        self._has_updated = True
        return self._pop(call, reader)

    def leave(self, call: Call | None = None) -> int:
        """Release what is held, of one call or of all; return how much that was."""
        released = 0
        for each in [call] if call is not None else list(self._missed):
            while (missed := self._pop(each)) is not None:
                released += missed.holds()
                missed.release()
        if call is None:
            self._has_updated = False
        return released

    def is_idle(self) -> bool:
        """Tell whether there is nothing to remember of it."""
        return not self._missed and not self._has_updated

    def _pop(self, call: Call, reader: str | None = None) -> Missed | None:
        with self._lock:
            waiting = self._missed.get(call)
            if not waiting:
                return None
            self._count -= 1
            missed = next((each for each in waiting if each.request.plan.reader == reader), waiting[0])
            waiting.remove(missed)
            if not waiting:
                del self._missed[call]
            if not self._missed:
                self._lookups.forget(self)
        self._lookups.returned(missed)
        return missed

    def _all(self) -> list[Missed]:
        with self._lock:
            return [missed for waiting in self._missed.values() for missed in waiting]


class _ThisThread(threading.local):
    """The caller that this thread is."""

    caller: Caller | None = None


class Lookups:
    """All callers of one engine in this process, and the leases of what they hold."""

    def __init__(self, begin: Callable[[], object]) -> None:
        self._begin = begin
        """Has somebody ask when a lease ends."""
        self._here = _ThisThread()
        self._tasks: WeakKeyDictionary[Ending, Caller] = WeakKeyDictionary()
        # One that waits is known to its lookup alone, one that has missed is remembered; all others go.
        self._named: WeakValueDictionary[Hashable, Caller] = WeakValueDictionary()
        self._remembered: set[Caller] = set()
        self._leases: dict[Missed, float] = {}
        """When what is held is released, on the monotonic clock."""
        self._next = float("inf")
        """When somebody asks next, at the latest."""
        self._lending = threading.RLock()

    # Who calls.

    def thread(self) -> Caller:
        """Return the caller that this thread is; its end releases."""
        caller = self._here.caller
        if caller is None:
            caller = self._here.caller = Caller(self)
        return caller

    def task(self, task: Ending) -> Caller:
        """Return the caller that a task is; its end releases."""
        caller = self._tasks.get(task)
        if caller is None:
            caller = self._tasks[task] = made = Caller(self)
            task.add_done_callback(lambda _: made.leave())
        return caller

    def named(self, name: Hashable) -> Caller:
        """Return the caller of a name; its word or a lease releases."""
        caller = self._named.get(name)
        if caller is None:
            caller = self._named.setdefault(name, Caller(self, is_named=True))
        return caller

    def remember(self, caller: Caller) -> None:
        """Keep whom a host has named as long as an update may come."""
        if caller.is_named:
            self._remembered.add(caller)

    def forget(self, caller: Caller) -> None:
        """Know that none is to come."""
        self._remembered.discard(caller)

    # Leases.

    def lend(self, missed: Missed, lease: float) -> None:
        """Have what is held released after so many seconds."""
        due = time.monotonic() + lease
        with self._lending:
            self._leases[missed] = due
            is_next = due < self._next
            self._next = min(due, self._next)
        if is_next:
            self._begin()

    def returned(self, missed: Missed) -> None:
        """Know that a lease is over."""
        with self._lending:
            self._leases.pop(missed, None)

    def due_in(self) -> float | None:
        """Tell in how many seconds the next lease ends."""
        with self._lending:
            due = self._next = min(self._leases.values(), default=float("inf"))
        return None if due == float("inf") else due - time.monotonic()

    def end_leases(self, now: float | None = None) -> None:
        """Release what was held for its time."""
        now = time.monotonic() if now is None else now
        with self._lending:
            over = [missed for missed, due in self._leases.items() if due <= now]
            for missed in over:
                del self._leases[missed]
        for missed in over:
            missed.release()

    def release_all(self) -> None:
        """Release everything."""
        self.end_leases(float("inf"))
