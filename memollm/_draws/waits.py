"""Who waits for whom in this process: draws that would wait for each other for ever are told so instead.

A draw that waits is a thing of its own only while it does: what is drawn without waiting is not known here. The edges
are certain or they are none: a call waits for the draws that are made inside it (in its context, or in a copy), for the
thread that it runs in, and for nothing else. So whoever merely waits long is accused of nothing.
"""

from __future__ import annotations

import gc
import inspect
import json
import os
import time
from contextvars import ContextVar
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._spending.track import LOG
from memollm._types.locks import ForkedLock
from memollm.errors import ReentrantCall

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from memollm._types.calls import Call, Place
    from memollm.stores.flights import Signal

UNREAD: Final = 1.0
"""Seconds after which a stream that nobody reads may have been forgotten somewhere."""
BETWEEN_COLLECTIONS: Final = 60.0
"""Seconds between garbage collections of ours, in a process."""
LONG: Final = 10.0
"""Seconds after which it is told that another process is waited for inside a call."""
DRAWING: Final = "memollm._dr"
"""How the names of the modules begin that draw."""
LONGEST: Final = 60
"""How many characters of a call's arguments are told."""


class Making:
    """A call of a function that a draw makes; what is done there is done inside it."""

    __slots__ = ("_gaps", "_place", "thread", "ticket", "waiting")

    def __init__(self, ticket: int, gaps: Sequence[Any], place: Callable[[Any], Place], thread: int | None) -> None:
        self.ticket = ticket
        self._gaps = gaps
        self._place = place
        self.thread = thread
        """The one thread that it can go on in, if there is one."""
        self.waiting: dict[int, Waiting] = {}
        """Who waits inside, by identity."""

    def places(self) -> Iterator[Place]:
        """Give the slots that it fills."""
        return map(self._place, self._gaps)

    def begin(self) -> None:
        """Be one of the calls that the draw waits for."""
        calls.setdefault(self.ticket, {})[self] = None

    def end(self) -> None:
        """Be over; this waits for no lock."""
        calls.get(self.ticket, {}).pop(self, None)

    def is_unread(self) -> bool:
        """Tell whether it is a stream that nobody has read for a while."""
        return False


under: ContextVar[tuple[Making, ...]] = ContextVar("memollm_under", default=())
"""The calls inside which this code runs, and the streams that it reads."""
driven: Final[dict[int, int]] = {}
"""By the ticket of each draw that goes on: the thread that drives it."""
calls: Final[dict[int, dict[Making, None]]] = {}
"""By ticket: the calls that it is making at this moment, or the reading of its stream."""
_blocked: Final[dict[int, dict[int, Waiting]]] = {}
"""By thread: who waits there and keeps it from all else."""
_looking: Final = ForkedLock()
_collected: Final[list[float]] = []
"""When garbage was last collected for somebody's sake, on the monotonic clock."""


def ended(ticket: int) -> None:
    """Know that a draw is over; this waits for no lock."""
    driven.pop(ticket, None)
    calls.pop(ticket, None)


class Awaited(NamedTuple):
    """A slot that another draw is filling: one of this process, or of another."""

    place: Place
    ticket: int | None
    signal: Signal


class Waiting:
    """A draw that waits until others have filled slots, or have ended."""

    def __init__(self, awaited: Sequence[Awaited], *, streams: bool = False) -> None:
        self._awaited = awaited
        self._streams = streams
        """Whether they are streams that it waits for."""
        self._insides: tuple[Making, ...] = ()
        self._thread: int | None = None
        self._since = 0.0
        self._told = False

    # As a driver uses it: inside `with waiting.here(...)`, `look` after each pause.

    def here(self, thread: int | None) -> Waiting:
        """Say which thread it blocks, if any."""
        self._thread = thread
        return self

    def __enter__(self) -> None:
        self._insides, self._since = under.get(), time.monotonic()
        if not self._insides and self._thread is None:
            # Nothing waits for it, so it is in no circle.
            return
        with _looking:
            for inside in self._insides:
                inside.waiting[id(self)] = self
            if self._thread is not None:
                _blocked.setdefault(self._thread, {})[id(self)] = self
            # In one go, so that of a circle one draw is given up and not two.
            circle = self._circle(self, set())
        if circle is not None and self._may_be_left() and _collect():
            # Nobody reads it any more: this very thread may have dropped it.
            with _looking:
                circle = self._circle(self, set())
        if circle is not None:
            self.__exit__()
            raise ReentrantCall(_told_of(circle))

    def __exit__(self, *_: object) -> None:
        # This may be a garbage collection in the middle of anything, so it waits for no lock.
        for inside in self._insides:
            inside.waiting.pop(id(self), None)
        if self._thread is not None:
            _blocked.get(self._thread, {}).pop(id(self), None)

    def pause(self) -> float | None:
        """Tell in how many seconds to look, if ever."""
        if self._streams and any(each.ticket is not None for each in self._awaited):
            return UNREAD
        if self._insides and not self._told and any(each.ticket is None for each in self._awaited):
            return max(0.0, self._since + LONG - time.monotonic())
        return None

    def look(self) -> None:
        """Do what may help: nobody has come for a while."""
        if any(each.is_unread() for awaited in self._awaited for each in list(calls.get(awaited.ticket or 0, ()))):
            _collect()
        if self._insides and not self._told and time.monotonic() >= self._since + LONG:
            self._told = True
            for each in self._awaited:
                if each.ticket is None and not each.signal.is_set():
                    self._tell(each.place)

    def _tell(self, place: Place) -> None:
        inside = next(self._insides[-1].places())
        LOG.warning(
            "Process %d has waited for %.0f s, inside %s, for %s, which another process is making. If that one waits "
            "for this one in turn, neither ever ends: ask for such calls in one order everywhere, or call the "
            "undecorated function (.__wrapped__) inside.",
            os.getpid(),
            time.monotonic() - self._since,
            _named(inside.call),
            _named(place.call),
        )

    def _may_be_left(self) -> bool:
        """Tell whether a stream is waited for that nobody asks for a chunk at this moment."""
        making = [each for awaited in self._awaited for each in list(calls.get(awaited.ticket or 0, ()))]
        return any(isinstance(each, Listening) and each.left_at is not None for each in making)

    # Circles.

    def _circle(self, first: Waiting, passed: set[int]) -> list[Place] | None:
        """Return the slots that are waited for in a circle from here back to the first; None if there is no circle."""
        passed.add(id(self))
        for each in self._awaited:
            if each.ticket is not None and not each.signal.is_set():
                rest = self._beyond(each, each.ticket, first, passed)
                if rest is not None:
                    return [each.place, *rest]
        return None

    def _beyond(self, awaited: Awaited, ticket: int, first: Waiting, passed: set[int]) -> list[Place] | None:
        """Return the rest of a circle beyond a slot: whoever fills it waits, too, and cannot do without."""
        making = list(calls.get(ticket, ()))
        own = [each for each in making if awaited.place in each.places()]
        found: list[Place] | None = None
        # A slot whose call has still to begin waits for one of the others to end, so all of these must be stuck.
        waiters = [[*each.waiting.values(), *_blocking(each.thread)] for each in own or making]
        for some in waiters or [_blocking(driven.get(ticket) or _driven_beneath(ticket))]:
            found = next(filter(_is_some, (other._back_to(first, passed) for other in some)), None)  # noqa: SLF001
            if found is None:
                return None
        return found

    def _back_to(self, first: Waiting, passed: set[int]) -> list[Place] | None:
        if self is first:
            return []
        return None if id(self) in passed else self._circle(first, passed)


def _is_some(found: object) -> bool:
    return found is not None


def _blocking(thread: int | None) -> list[Waiting]:
    return [] if thread is None else list(_blocked.get(thread, {}).values())


def _driven_beneath(ticket: int) -> int | None:
    """Return this thread where it was interrupted in the middle of a draw that is not known to go on yet."""
    frame = inspect.currentframe()
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).startswith(DRAWING) and _is_of(frame, ticket):
            return get_ident()
        frame = frame.f_back
    return None


def _is_of(frame: FrameType, ticket: int) -> bool:
    return any(getattr(frame.f_locals.get(name), "_ticket", None) == ticket for name in ("draw", "self"))


# Streams that nobody reads.


class Listening(Making):
    """The reading of a stream that a draw makes; whoever reads it is inside it, and each chunk may go elsewhere.

    Its end is noted here instead of in the context: a collected stream ends in the middle of anything, and setting a
    context variable while one is being set corrupts the context of CPython 3.11.
    """

    __slots__ = ("left_at", "over")

    def __init__(self, ticket: int, gaps: Sequence[Any], place: Callable[[Any], Place], thread: int | None) -> None:
        super().__init__(ticket, gaps, place, thread)
        self.over = False
        self.left_at: float | None = None
        """When its latest chunk went to its reader, unless that has asked for the next one."""

    def here(self) -> None:
        """Say that this context reads the stream, and asks for a chunk."""
        self.left_at = None
        driven[self.ticket] = get_ident()
        inside = under.get()
        if self not in inside:
            under.set((*(each for each in inside if not (isinstance(each, Listening) and each.over)), self))

    def leave(self) -> None:
        """Say that the chunk is with its reader."""
        self.left_at = time.monotonic()

    def end(self) -> None:
        """Be over; this waits for no lock."""
        self.over = True
        super().end()

    def is_unread(self) -> bool:
        """Tell whether it is a stream that nobody has read for a while."""
        return self.left_at is not None and time.monotonic() - self.left_at >= UNREAD


def _collect() -> bool:
    """Collect garbage, and with it streams that were dropped in a circle of references; at most once a minute.

    A thread that waits for such a stream makes no garbage, so that nothing else would collect it.
    """
    with _looking:
        if _collected and time.monotonic() - _collected[0] < BETWEEN_COLLECTIONS:
            return False
        _collected[:] = [time.monotonic()]
    gc.collect()
    return True


# What is said.


def _told_of(circle: Sequence[Place]) -> str:
    names = [_named(place.call) for place in circle]
    if len(names) == 1:
        return (
            f"{names[0]} was called with the same arguments from inside its own call, or where its stream is being "
            "read, and would wait for itself for ever. Call the undecorated function there (.__wrapped__), or use "
            "other arguments."
        )
    return (
        "These calls would wait for each other for ever, each inside the one before it: "
        f"{' -> '.join((names[-1], *names))}. This draw is given up, so that the others can go on. Ask for such calls "
        "in one order everywhere, or call the undecorated function inside (.__wrapped__)."
    )


def _named(call: Call) -> str:
    """Name a call by its function and what can be read of its arguments."""
    try:
        given = json.loads(call.form)["arguments"]
        told = ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in given.items())
    except (ValueError, TypeError, KeyError, AttributeError):
        told = call.key.hex()[:12]
    return f"{call.function}({told if len(told) <= LONGEST else told[: LONGEST - 1] + '…'})"


def _forget() -> None:
    """Know nothing of the parent's threads."""
    for of in (driven, calls, _blocked):
        of.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
