"""What a flow yields for its drivers to do."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from memollm._draws.waits import Listening, Making, under
from memollm._spending.meter import Meter
from memollm._types.requests import Look, Take, Write

if TYPE_CHECKING:
    from types import TracebackType

    from memollm._draws.waits import Waiting
    from memollm._spending.accounts import Told
    from memollm._types.calls import Place
    from memollm.stores.flights import Signal

Flow = Generator["Effect", Any, Any]


class Calling:
    """Marks the code of a function, while it is called for a draw, and meters it."""

    __slots__ = ("_entered", "_making", "asked", "meter")

    def __init__(self, making: Making, asked: float) -> None:
        self._making = making
        self.asked = asked
        """When it was called, by the engine's clock."""
        self.meter = Meter()

    def __enter__(self) -> Self:
        self._making.begin()
        # Kept here and not with the call, which is known to all: they hold the context, and with it this very task.
        self._entered = under.set((*under.get(), self._making))
        self.meter.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.meter.__exit__(kind, failure, traceback)
        self._making.end()
        # A coroutine that is destroyed instead of ended is closed in the context of whoever does it.
        with suppress(ValueError):
            under.reset(self._entered)


class Outdated(Exception):
    """What a function reads has changed since its call was keyed: the draw is to be keyed and taken anew.

    It is no failure of the function, which was not called.
    """


class Gap(NamedTuple):
    """A slot that a draw is to fill, and which of its wants that is for."""

    want: int
    slot: int


Flight = list[Gap]
"""The gaps that one call of the function is to fill."""


class Paid(NamedTuple):
    """What is known of a call that has returned."""

    asked: float
    """When it was made, by the engine's clock: the age of its answers counts from there, however long it took (P13)."""
    meter: Meter
    """What it took."""
    returned: Any = None
    """All that it returned, of which its results are parts."""
    told: Told | None = None
    """What it took, where that is known already."""


class Run(NamedTuple):
    """Call the function once for each flight. As each call returns, drive the flow `land(flight, results, paid)`."""

    ticket: int
    flights: list[Flight]
    land: Callable[[Flight, Sequence[Any], Paid], Flow]
    failed: Callable[[BaseException, Meter | None], None]
    """To be called for each flight whose call did not return, with what that took if it was begun."""
    finishes: bool
    """Whether calls that have begun are finished when nobody waits for them any more (P13)."""
    leave: Callable[[Sequence[Flight]], None]
    """To be called before the flow is told why nobody waits any more, with the flights that go on without it."""
    end: Callable[[Flight], Flow]
    """To be driven at the end of each of these, after `land` or `failed`."""
    place: Callable[[Gap], Place]
    """Tells where the store keeps a slot."""
    origin: Sequence[int] | None = None
    """Which of the wants that were asked for each of the draw's is, where it draws a part of them."""

    def items(self, flight: Flight) -> list[int]:
        """Return which of the wants that were asked for a flight is to serve, one for each sample."""
        return [gap.want if self.origin is None else self.origin[gap.want] for gap in flight]

    def inside(self, flight: Flight) -> Making:
        """Return what says that this thread calls the function for a flight."""
        return Making(self.ticket, flight, self.place, get_ident())

    def reading(self, flight: Flight, thread: int | None = None) -> Listening:
        """Return what says that the stream is being read which a flight is."""
        return Listening(self.ticket, flight, self.place, thread)


class Await(NamedTuple):
    """Wait for all of the signals."""

    signals: list[Signal]
    waiting: Waiting


class Do(NamedTuple):
    """Do what may take a while, where nobody's event loop waits for it; the flow is sent what it returns."""

    work: Callable[[], Any]
    computes: bool = False
    """It asks the store nothing: it need not queue with what does, and is not waited for by what comes later."""


Effect = Take | Look | Write | Run | Await | Do
"""A request is to be brought to the store; the flow is sent the answer."""
