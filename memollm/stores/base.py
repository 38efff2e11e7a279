"""The store protocol: the few atomic operations that the rules of drawing stand on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from memollm.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._flights import Flights
    from memollm._model import Call, Change, Move, Place, Reader, Sample, State, Stored, Taken, Want

Document = dict[str, Any]
"""An entry of the catalog; what JSON can hold."""


class Store(Protocol):
    """Keeps samples and cursors. It promises atomicity and nothing else; what to draw is decided by its caller.

    An operation with `wait=False` raises `WouldBlock`, and has done nothing, when it would have to wait for a lock, a
    disk or a network. Failures are `StoreError`. A claim or a position in flight belongs to a live owner or is void: an
    owner is a process, whose death the store notices by itself, and within this process a ticket that is aloft.
    """

    flights: Flights
    """The draws of this process; the store asks it whether a ticket of its own is still aloft."""

    def take(self, wants: Sequence[Want], ticket: int, *, newer_than: float, wait: bool) -> list[Taken]:
        """Take the next positions of each want and read or claim their slots; each want is atomic.

        Free positions (given back, or of a dead owner) come first, then the cursor moves. A slot whose sample is not
        newer than `newer_than` is vacant. If every slot of a want is filled, its positions are delivered at once;
        otherwise they are recorded as in flight for the ticket until it settles.
        """
        ...

    def look(self, places: Sequence[Place], ticket: int, *, newer_than: float, wait: bool) -> list[State]:
        """Read each place again, or claim it for the ticket if it has become vacant."""
        ...

    def write(self, changes: Sequence[Change]) -> None:
        """Apply fills and settlements, in order and in one commit; when there are fills, durably.

        A release ends the ticket's claim of one slot. A fill whose claim is void stores its sample only into a slot
        that holds none. A settlement concerns what is in flight for its ticket and nothing else, so that one that comes
        late or twice does no harm.
        """
        ...

    def poll(self, places: Sequence[Place]) -> list[bool]:
        """Tell for each place whether nobody alive is filling it any more, so that a look is worth while."""
        ...

    def peek(self, call: Call) -> dict[int, Sample]:
        """Read every sample of a call, by slot, changing nothing."""
        ...

    def epoch(self) -> int:
        """Return a number that changes when something stored was replaced or removed, by whichever process."""
        ...

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function, in order of storing."""
        ...

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to other calls, all or nothing; return how many samples moved.

        `rewrite` makes of each record what it is under its new call; if it raises, nothing has changed.

        Where both have samples, the moved ones come after: what readers have drawn of either stays drawn, and what they
        have not stays to be drawn. While one of the calls is being filled it is `StoreUnavailable`.
        """
        ...

    def forget(self, call: Call) -> int:
        """Remove a call with its samples and cursors; return how many samples there were."""
        ...

    def rewind(self, reader: str) -> bool:
        """Set every cursor of a reader to its start; tell whether there was such a reader.

        What it had in flight is no longer its own. A reader is there as long as it has a cursor in some call.
        """
        ...

    def drop(self, reader: str) -> bool:
        """Remove a reader with its cursors; tell whether there was such a reader."""
        ...

    def readers(self) -> list[Reader]:
        """List the readers, by name."""
        ...

    def note(self, kind: str, name: str, document: Document) -> None:
        """Keep a document of the catalog (kinds: function, namespace, run), replacing one of that name."""
        ...

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read the documents of a kind, by name: all, or the one of that name if there is one."""
        ...

    def close(self) -> None:
        """Let go of everything that is held; what is stored stays."""
        ...


def in_use(call: Call) -> StoreUnavailable:
    """Say that a call cannot be moved while somebody is filling it."""
    return StoreUnavailable(
        f"Samples of {call.function} are being made at this moment, so they cannot be moved. Nothing was changed; "
        "try again when the programs that draw them have ended."
    )
