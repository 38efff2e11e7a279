"""What is asked of a store that draws, and what it answers."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from memollm._types.samples import EVER, Sample, State, Taken

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.calls import Place, Position, Want
    from memollm._types.samples import Lent


class Take(NamedTuple):
    """Take the next positions of each want, and read or claim their slots.

    Free positions (given back, or of a dead owner) come first, then the cursor moves. A slot whose sample is not newer
    than `newer_than` is vacant. If every slot of a want is filled, its positions are delivered at once; otherwise they
    are in flight for the ticket until it settles.

    A want in a lane is given what is recorded for the lane (under the reader's `recorder`) and the reader has not been
    given yet, in the order of recording; then positions like any other, which are recorded for the lane. What is
    recorded for a lane is passed over by all others, from a reader's first draw of the call or the latest draw in a
    lane on; free, for whatever reason, it is free for its lane alone.

    Where the want says an order of lanes, what its lane has too little of is recorded for all of them, round by round:
    each round gives each lane of the order one position, in their order, from the cursor on.

    A reader that resumes another (`resumed`) is given what that one had been given when this one's first draw of the
    call came, and no more: of a want it gets as many positions as are left, lowest first or in the order of the lane,
    and maybe none. What was in flight then does not count as given.

    Asked again with the same ticket, because the answer was lost, it gives the same answer and takes nothing more.
    """

    ticket: int
    wants: Sequence[Want]
    newer_than: float = EVER


class Look(NamedTuple):
    """Read each place again, or claim it for the ticket if it has become vacant."""

    ticket: int
    places: Sequence[Place]
    newer_than: float = EVER


class Fill(NamedTuple):
    """A change: this answer fills the slot, and the draw's claim of it ends.

    It is lost where the slot holds a sample that is newer than `newer_than`: a delivered sample never changes.
    """

    ticket: int
    place: Place
    sample: Sample
    newer_than: float = EVER
    """That of its draw."""


class Settle(NamedTuple):
    """A change: the draw is over. Of the positions in flight for it, those in `returned` are free, others delivered.

    With `None` nothing that was taken for the ticket was delivered: neither what is in flight for it, nor what taking
    delivered. It is for a caller that does not know what it was given.

    Its claims end with it; or they are kept, for calls that go on without it, and each ends with its own fill or
    release, or when the ticket is no longer aloft.

    Those in `refused` are a lane's whose answer was given and not kept: they are not drawn, and the reader is given
    them no more, unless it is set back or they are returned. So the lane of another reader finds their place.
    """

    ticket: int
    returned: Sequence[Position] | None
    keeps_claims: bool = False
    refused: Sequence[Position] = ()


class Return(NamedTuple):
    """A change: this position was delivered and could not be used after all, so it is free again."""

    ticket: int
    position: Position


class Release(NamedTuple):
    """A change: the draw goes on and no longer fills this slot, whose answer was not to be kept; others may."""

    ticket: int
    place: Place
    lent: Lent | None = None
    """What its draw was given instead, for whoever waits for the slot in this process."""


Change = Fill | Settle | Return | Release


class Write(NamedTuple):
    """Make changes, in order. Asked again with the same id it answers the same and changes nothing."""

    id: int
    """Unique in this process, as `Flights.depart` gives it."""
    changes: Sequence[Change]


class Written(NamedTuple):
    """What became of changes."""

    lost: Mapping[Place, Sample] = MappingProxyType({})
    """Fills that came second, and the sample that is there: that one is to be delivered."""
    void: Sequence[Position] = ()
    """Settled positions that were no longer the draw's: it was taken for dead, and others may have got them."""


Request = Take | Look | Write
Answer = list[Taken] | list[State] | Written
