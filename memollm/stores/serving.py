"""One process's use of a server as a store: opening and leaving it, and asking until it answers."""

from __future__ import annotations

import atexit
import time
import weakref
from _thread import start_new_thread
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar, cast

from memollm._types.locks import ThreadLock, interrupted, renewed_in_children
from memollm._types.warn import warn
from memollm.errors import MemollmWarning, StoreClosed, StoreError
from memollm.stores.drawn import Drawn
from memollm.stores.flights import Flights

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from memollm._types.requests import Answer, Request

T = TypeVar("T")
PAUSE_FIRST: Final = 0.01
PAUSE_LAST: Final = 0.25
"""Seconds between attempts to reach a server that was lost; the pause doubles."""
TOLD_AGAIN: Final = 2.0
"""Seconds after a server has said nothing in which that is told again, and it is not tried."""
TRIED: Final = 3.0
"""Seconds in which a server that has said nothing must answer when it is tried again."""
_WAITING: Final = "If it is about to start: it is waited for, {:g} seconds at most, or as ?patience= in the URL says."
_SILENT: Final = (
    "The server of the cache {} says nothing so far: it is busy or stopped, or one of another kind. It is waited for, "
    "{:g} seconds at most, or as {}= in the URL says."
)


class NothingThere(Exception):
    """Nobody has made a cache there yet."""


class Connected(Protocol):
    """What is open at a time, in this process."""

    def close(self) -> None:
        """End all connections."""
        ...

    def leave_to_parent(self) -> None:
        """Let go of all in a forked child."""
        ...


class Vain(NamedTuple):
    """An attempt to open that has failed. It is no error, which would keep all alive that was under way."""

    kind: type[StoreError]
    said: tuple[object, ...]
    is_silent: bool
    """Whether the server said nothing, which takes long to find out."""
    at: float

    def again(self) -> StoreError:
        """Say it to another one."""
        return self.kind(*self.said)

    def is_new(self) -> bool:
        """Tell whether it is told for a moment still to whoever asks."""
        return self.is_silent and time.monotonic() < self.at + TOLD_AGAIN


Open = TypeVar("Open", bound=Connected)


class ServedSession(Generic[Open]):
    """One process's use of a server. It opens on first use, and again after a fork."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """What the client raises where the server, or the way to it, fails."""

    def __init__(self, shown: str, patience: float) -> None:
        self.shown = shown
        self._patience = self.opening_patience = patience
        self.flights = Flights()
        self._closed = False
        self._begin_process()
        _living.add(cast("ServedSession[Connected]", self))
        atexit.unregister(_close_all)
        atexit.register(_close_all)

    def _begin_process(self) -> None:
        opening = ThreadLock()
        self._opening, self._is_opening = opening.lock, opening.mine
        self._open_as: Open | None = None
        self._when_dropped: weakref.finalize[..., ServedSession[Open]] | None = None
        self._vain: Vain | None = None
        """The last attempt to open, if it has failed."""
        self._is_under_way = self._is_silence_told = False
        self._waited_for: frozenset[str] = frozenset()
        """Parts of the server that were waited for in vain and have not answered since; the empty name is all of it."""
        self.drawn = Drawn(self.flights)

    @property
    def described(self) -> str:
        """Say what it is, with no password."""
        return self.shown

    # Opening and leaving.

    def has_begun(self) -> bool:
        """Tell whether it was opened, and so is there, or was closed."""
        return self._closed or self._open_as is not None

    def opened(self) -> Open:
        """Return what is open; the first use opens it, and says why if that cannot be.

        Whoever waits for an attempt of another thread shares its outcome. One at a time tries a server that said
        nothing; all others are told so meanwhile.
        """
        opened = self._open_as
        if opened is not None:
            return opened
        if self._is_opening():
            raise interrupted()
        known = self._vain
        if known is not None and known.is_silent and self._is_under_way:
            raise known.again()
        with self._opening:
            if self._closed:
                raise StoreClosed(f"The cache {self.shown} was closed. Make a new Cache to go on.")
            if self._open_as is None:
                vain = self._vain
                if vain is not None and (vain is not known or vain.is_new()):
                    raise vain.again()
                self._open_as = self._opened_or_noted()
                self._when_dropped = weakref.finalize(self, _leave_soon, self._open_as)
                self._when_dropped.atexit = False
            return self._open_as

    def _opened_or_noted(self) -> Open:
        """Open, or note for others why that cannot be."""
        self._is_under_way = True
        try:
            opened = self._opened_in_time()
        except StoreError as error:
            is_silent = self.is_silent(error)
            if is_silent:
                self._waited_for |= {""}
            self._vain = Vain(type(error), error.args, is_silent, time.monotonic())
            raise
        else:
            self._vain, self._is_silence_told = None, False
            return opened
        finally:
            self._is_under_way = False

    def tell_silence(self, seconds: float, parameter: str) -> None:
        """Warn once that a server says nothing, while it is waited for."""
        if not self._is_silence_told:
            self._is_silence_told = True
            warn(_SILENT.format(self.shown, seconds, parameter), MemollmWarning)

    @property
    def within(self) -> float | None:
        """In which time whoever is opened must answer; None for the usual one, if it was not waited for in vain."""
        return TRIED if self._waited_for else None

    def _opened_in_time(self) -> Open:
        """Open; a server that is away is waited for, as by those that it was lost to, and who waits is told so."""
        until: float | None = None
        pause = PAUSE_FIRST
        while True:
            try:
                opened = self._open()
            except StoreError as error:
                if not self.is_coming(error):
                    raise
                now = time.monotonic()
                if until is None:
                    seconds = 0 if self._waited_for else self.opening_patience
                    until = now + seconds
                    if seconds:
                        warn(f"{error} {_WAITING.format(seconds)}", MemollmWarning)
                if now >= until or self._closed:
                    self._waited_for |= {""}
                    raise
                time.sleep(pause)
                pause = min(2 * pause, PAUSE_LAST)
            else:
                self._waited_for = frozenset()
                return opened

    def _open(self) -> Open:
        raise NotImplementedError

    def is_coming(self, error: StoreError) -> bool:
        """Tell whether what was not opened is a server that is away, as one that starts is: another error stays."""
        raise NotImplementedError

    def is_silent(self, error: StoreError) -> bool:
        """Tell whether what was not opened said nothing."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the server for good."""
        if self._open_as is not None and self.drawn.lost():
            with suppress(StoreError):
                self.settle_left()
        self._closed = True
        with self._opening:
            opened, self._open_as = self._open_as, None
            if self._when_dropped is not None:
                self._when_dropped.detach()
        if opened is None:
            return
        try:
            with suppress(StoreError, *self.failures):
                self._leave(opened)
        finally:
            opened.close()

    def _leave(self, opened: Open) -> None:
        """Void what this process has in flight; what its draws have in hand counts as delivered."""
        raise NotImplementedError

    def begin_in_child(self) -> None:
        """Begin anew in a forked child: leases, connections and draws are the parent's."""
        opened = self._open_as
        if self._when_dropped is not None:
            self._when_dropped.detach()
        if opened is not None:
            opened.leave_to_parent()
            _parents.append(opened)
        self._begin_process()

    # Asking.

    def patiently(self, work: Callable[[], T]) -> T:
        """Do what is done once however often it is asked, until the server answers or patience is at its end."""
        until: float | None = None
        pause = PAUSE_FIRST
        while True:
            try:
                done = work()
            except self.failures as error:
                now = time.monotonic()
                if until is None:
                    # Whoever has waited in vain once does not wait again before the server has answered.
                    until = now + (0 if self._hurries(error) else self._patience)
                if not self.may_pass(error) or now >= until:
                    if self.may_pass(error) and self.is_away(error):
                        self._waited_for |= {self.part_of(error), *self.parts_away()}
                    raise self.translated(error) from error
                self.get_ready(error, pause)
                time.sleep(pause)
                pause = min(2 * pause, PAUSE_LAST)
            else:
                if self._waited_for:
                    self._waited_for &= frozenset(self.parts_away())
                return done

    def _hurries(self, error: Exception) -> bool:
        part, known = self.part_of(error), self._waited_for
        return bool(known) and self.is_away(error) and (not part or part in known or "" in known)

    def may_pass(self, error: Exception) -> bool:
        """Tell whether the same may come about a moment later: the server restarts, or a connection was cut."""
        raise NotImplementedError

    def is_away(self, error: Exception) -> bool:  # noqa: ARG002 - for those who can tell
        """Tell whether it is the server that does not answer."""
        return True

    def part_of(self, error: Exception) -> str:  # noqa: ARG002 - for those that have parts
        """Name the part of the server that does not answer, if that is known; others may."""
        return ""

    def parts_away(self) -> Collection[str]:
        """Name the parts that did not answer when they were asked last."""
        return ()

    def translated(self, error: Exception) -> StoreError:
        """Say in one sentence what failed, why, and what can be done."""
        raise NotImplementedError

    def get_ready(self, error: Exception, pause: float) -> None:
        """Get ready for another attempt."""
        raise NotImplementedError

    def settle_left(self) -> None:
        """Settle what draws of this process hold that are over and have not said so."""
        self._brought(())

    def _brought(self, requests: Sequence[Request]) -> list[Answer]:
        """Bring requests to the server; who only reads brings none."""
        raise NotImplementedError


_parents: list[Connected] = []
"""What a forked child has let go of; nothing of it is ended here."""
_living = renewed_in_children(ServedSession[Connected].begin_in_child)


def _leave_soon(opened: Connected) -> None:
    """Close what a store had open that nobody refers to any more; a collection waits for nothing."""
    with suppress(RuntimeError):
        start_new_thread(opened.close, ())


def _close_all() -> None:
    for session in list(_living):
        with suppress(StoreError, *session.failures):
            session.close()
