"""The store protocol: the few atomic operations that the rules of drawing stand on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from memollm.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call, Place, Want
    from memollm._types.counting import Account, Counts, Use
    from memollm._types.listings import Item, ListedReader, Move, ReaderOfCall, Standing, Stored, Surveyed
    from memollm._types.requests import Change
    from memollm._types.samples import Sample, State, Taken
    from memollm.stores.flights import Flights

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

        A want in a lane is given what is recorded for the lane (under the reader's `recorder`) and the reader has not
        been given yet, in the order of recording; then positions like any other, which are recorded for the lane. What
        is recorded for a lane is passed over by all others, from a reader's first draw of the call or the latest draw
        in a lane on; free, for whatever reason, it is free for its lane alone.
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

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call, by slot, of all slots or of some, changing nothing."""
        ...

    def drawn(self, reader: str, call: Call, lane: str | None) -> list[int]:
        """List the positions of a call that a reader was given in a lane, or outside lanes, in their order.

        Runs share a record, so that a run is told of its lanes what is recorded there and it was given, wherever.
        """
        ...

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call, and which of its positions are recorded for lanes."""
        ...

    def epoch(self) -> int:
        """Return a number that changes when something stored was replaced or removed, by whichever process."""
        ...

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function, in order of storing."""
        ...

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples, of one function or all, in order of making.

        With a text, only those whose canonical form `mentions` it.
        """
        ...

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call, by name; what is in flight or given back does not count as drawn."""
        ...

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to other calls, all or nothing; return how many samples moved.

        `rewrite` makes of each record what it is under its new call; if it raises, nothing has changed.

        Where both have samples, the moved ones come after: what readers have drawn of either stays drawn, and what they
        have not stays to be drawn. While somebody alive is drawing one of the calls it is `StoreUnavailable`.
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

    def readers(self) -> list[ListedReader]:
        """List the readers, by name."""
        ...

    def note(self, kind: str, name: str, document: Document) -> None:
        """Keep a document of the catalog (kinds: function, namespace, run), replacing one of that name."""
        ...

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read the documents of a kind, by name: all, or the one of that name if there is one."""
        ...

    def count(self, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:
        """Add to what was counted, and note what was used; not synced, and a call that is gone is passed over."""
        ...

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        ...

    def inventory(self) -> list[Item]:
        """List every call that has samples, in no order."""
        ...

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """Forget whole calls, in one transaction; return the handles of those that are gone.

        One that was used later than `used_by`, or that somebody alive is filling or has positions of in flight, stays.
        """
        ...

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Give the space of what was removed back, telling now and then how many bytes of how many were given."""
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


def mentions(form: str, text: str) -> bool:
    """Tell whether a text stands in a canonical form, in whatever case, as it is or as JSON writes it."""
    form, text = form.casefold(), text.casefold()
    return text in form or json.dumps(text, ensure_ascii=False)[1:-1] in form
