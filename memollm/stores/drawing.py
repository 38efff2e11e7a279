"""The store protocol: what every store does, that the rules of drawing stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Call, Place
    from memollm._types.requests import Answer, Look, Request, Take
    from memollm._types.samples import Sample, State, Taken
    from memollm.errors import StoreError
    from memollm.stores.flights import Flights


class Drawing(Protocol):
    """Keeps samples and cursors. It promises atomicity and nothing else; what to draw is decided by its caller.

    A claim or a position in flight belongs to a live owner or is void: an owner is a process, whose death the store
    notices by itself, and within this process a ticket that is aloft.

    What else a store can do it says by `looking` and `keeping`; see `stores.looking` and `stores.keeping`.
    """

    flights: Flights
    """The draws of this process; the store asks it whether a ticket of its own is still aloft."""

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what several draws ask for, in order, in one transaction where the store can.

        Each request is atomic. One that fails gives its `StoreError` and leaves the others alone. If there was any
        fill, all of it is durable when this returns. It may wait for a lock, a disk or a network.

        The answer of a `Take` has a `Taken` for each want, that of a `Look` a state for each place, and that of a
        `Write` is `Written`. A `Take` asked again with its ticket, and a `Write` asked again with its id, give the
        answer that they gave and change nothing: so what was lost on the way can be asked again.
        """
        ...

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Call `wake` once for each place when nobody alive is filling it any more, or the store cannot tell.

        From whichever thread, maybe before this returns; it must be quick and must not raise. What this returns stops
        it. This is quick, too.
        """
        ...

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call, by slot, of all slots or of some, changing nothing."""
        ...

    def epoch(self) -> int:
        """Return a number that changes when something stored was replaced or removed, or a reader was, by any process.

        This never waits. Below zero it says nothing: what is read then must not be remembered.
        """
        ...

    def close(self) -> None:
        """Let go of everything that is held; what is stored stays."""
        ...


@runtime_checkable
class InLine(Protocol):
    """A store that can answer at once, as an event loop needs it."""

    def at_once(self, request: Take | Look) -> list[Taken] | list[State] | None:
        """Answer without waiting for a lock, a disk or a network; None if that cannot be, and nothing has happened."""
        ...
