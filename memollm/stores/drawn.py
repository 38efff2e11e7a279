"""What the draws of this process hold at a server, as far as it was told."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.calls import Place, Position
from memollm._types.requests import Fill, Look, Release, Settle, Take, Write, Written
from memollm._types.samples import MINE, Sample
from memollm.stores.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Want
    from memollm._types.requests import Answer, Change, Request
    from memollm._types.samples import Taken
    from memollm.stores.flights import Flights

MANY: Final = 64
"""How many answers have come before the server is told that it need not remember them."""


@dataclass(slots=True)
class HeldByDraw:
    """At least what a draw has at the server."""

    positions: list[Position] = field(default_factory=list[Position])
    claims: dict[Place, None] = field(default_factory=dict[Place, None])
    unsure: set[Place] = field(default_factory=set[Place])
    """Which of the claims were looked at without an answer having come: maybe there is none."""


class LeftByDraw(NamedTuple):
    """What a draw has at the server when it is settled."""

    delivered: Sequence[Position] = ()
    """What taking alone has delivered, and the draw gives back as it knows nothing of it."""
    positions: Sequence[tuple[Position, bool, bool]] = ()
    """What it has in flight: whether it goes back, and whether it was refused."""
    claims: Sequence[Place] = ()
    """What it does not go on filling."""


class Drawn:
    """The draws of this process, by ticket."""

    def __init__(self, flights: Flights, *, tells_arrived: bool = True) -> None:
        """Without `tells_arrived` it is for others to say what the server need not remember any more."""
        self._flights = flights
        self._tells_arrived = tells_arrived
        self._lock = threading.RLock()
        self.held: dict[int, HeldByDraw] = {}
        self.late: Repeats[HeldByDraw] = Repeats()
        """What draws had that were over before they settled: whoever settles so late is told what is void."""
        self.written: Repeats[Written] = Repeats()
        self._unsure: dict[int, Take | None] = {}
        """What was asked and maybe done, without an answer having come; takes are known by their tickets."""
        self._alone: dict[int, int] = {}
        """Of those, the numbers of single draws, in the order in which they were asked for first."""
        self._numbers = count(1)
        self._arrived: list[int] = []

    # Before something is asked.

    def held_by(self, ticket: int) -> HeldByDraw | None:
        """Return what a draw holds, or held when it was over."""
        return self.held.get(ticket) or self.late.get(ticket)

    def is_unsure(self, id: int) -> bool:  # noqa: A002 - as in `Write`
        """Tell whether something was asked and maybe done."""
        return id in self._unsure

    def unsure_take(self, ticket: int) -> Take | None:
        """Return what a draw has asked for of which nobody knows what it was given."""
        return self._unsure.get(ticket)

    def delivered(self, ticket: int) -> list[Position]:
        """List what taking alone has delivered to a draw that has not taken note of it."""
        answer: Any = self._flights.answers.get(ticket)
        if answer is None:
            return []
        return [
            position
            for want, taken in zip(*answer, strict=True)
            if _is_delivered(want, taken)
            for position in _positions(want, taken)
        ]

    def left_by(self, settle: Settle) -> LeftByDraw:
        """Tell what a draw that is settled has at the server, as far as it is known here."""
        returned, held = settle.returned, self.held_by(settle.ticket)
        delivered = self.delivered(settle.ticket) if returned is None else ()
        if held is None:
            return LeftByDraw(delivered)
        back = set(held.positions if returned is None else returned)
        return LeftByDraw(
            delivered,
            [(position, position in back, position in settle.refused) for position in held.positions],
            () if settle.keeps_claims else [*held.claims],
        )

    def over(self) -> list[tuple[int, HeldByDraw, bool]]:
        """List the draws that are over and have not said so: what each holds, and whether its positions are void.

        They are not where a draw has delivered them and owes to say so.
        """
        flights = self._flights
        with self._lock:
            held = [(ticket, held) for ticket, held in self.held.items() if not flights.aloft(ticket)]
        return [(ticket, held, void) for ticket, held in held if (void := not flights.holds(ticket)) or held.claims]

    def lost(self) -> list[int]:
        """List the draws that are over and of which nobody knows what they were given."""
        with self._lock:
            return [each for each, take in self._unsure.items() if take is not None and not self._flights.holds(each)]

    def begin(self, requests: Sequence[Request]) -> None:
        """Know that something is asked."""
        with self._lock:
            for request in requests:
                match request:
                    case Take():
                        self._unsure[request.ticket] = request
                    case Write():
                        self._unsure[request.id] = None
                    case Look():
                        self._looks(request)

    def begin_alone(self, take: Take) -> tuple[int, int] | None:
        """Know that one draw is asked for; return its number, and that of the first whose answer may not have come.

        None says that it is not alone: other draws are over and have not said so, or it was asked for before. Tickets
        tell nothing of the order in which draws are asked for.
        """
        with self._lock:
            unsure = self._unsure
            if (self.held and self.over()) or take.ticket in unsure or (unsure and self.lost()):
                return None
            unsure[take.ticket] = take
            self._alone[take.ticket] = number = next(self._numbers)
            return number, next(iter(self._alone.values()))

    def done_alone(self, take: Take, answer: list[Taken]) -> None:
        """Know that it was given a sample."""
        self._flights.answers[take.ticket] = (take.wants, answer)
        self._known(take.ticket)
        self.answered(take.ticket)

    def _looks(self, look: Look) -> None:
        """Know that places may be claimed, which is for their end alone: nobody may wait for such a draw to fill them.

        It may be told that others fill them, and wait for that together with whoever waits for it.
        """
        held = self._of(look.ticket)
        held.unsure.update(place for place in look.places if place not in held.claims)
        held.claims.update(dict.fromkeys(look.places))

    def filling(self) -> dict[Place, int]:
        """Return by which draws which places are claimed for certain."""
        with self._lock:
            return {
                place: ticket for ticket, held in self.held.items() for place in held.claims if place not in held.unsure
            }

    def many_arrived(self) -> bool:
        """Tell whether there is much that the server need not remember any more."""
        return len(self._arrived) >= MANY

    def arrived(self) -> list[int]:
        """List what the server need not remember any more, if it is much."""
        with self._lock:
            if not self.many_arrived():
                return []
            arrived, self._arrived = self._arrived, []
            return arrived

    # After it was answered.

    def end(self, over: Sequence[tuple[int, HeldByDraw, bool]], lost: Sequence[int]) -> None:
        """Know that draws that were over are settled."""
        with self._lock:
            for ticket, held, void in over:
                held.claims.clear()
                if void and self.held.pop(ticket, None) is not None:
                    self.late.remember(ticket, held)
            for ticket in lost:
                self._known(ticket)

    def done(self, requests: Sequence[Request], answers: Sequence[Answer]) -> None:
        """Know what came of what was asked."""
        with self._lock:
            for request, answer in zip(requests, answers, strict=True):
                if isinstance(request, Take):
                    self._taken(request, answer)
                    self._sure(request.ticket)
                elif isinstance(request, Look):
                    self._looked(request, answer)
                elif isinstance(answer, Written):
                    for change in request.changes:
                        self._changed(change)
                    self.written.remember(request.id, answer)
                    self._sure(request.id)

    def refused(self, requests: Sequence[Request]) -> None:
        """Know that nothing was done of it."""
        with self._lock:
            for request in requests:
                if not isinstance(request, Look):
                    self._known(request.ticket if isinstance(request, Take) else request.id)

    def answered(self, id: int) -> None:  # noqa: A002 - the same
        """Know that the server need not remember an id any more."""
        if self._tells_arrived:
            with self._lock:
                self._arrived.append(id)

    def _known(self, id: int) -> None:  # noqa: A002 - the same
        self._unsure.pop(id, None)
        self._alone.pop(id, None)

    def _sure(self, id: int) -> None:  # noqa: A002 - the same
        self._known(id)
        self.answered(id)

    def _of(self, ticket: int) -> HeldByDraw:
        return self.held.setdefault(ticket, HeldByDraw())

    def _taken(self, take: Take, answer: Any) -> None:
        self._flights.answers[take.ticket] = (take.wants, answer)
        for want, taken in zip(take.wants, answer, strict=True):
            if want.reader is not None and not _is_delivered(want, taken):
                self._of(take.ticket).positions.extend(_positions(want, taken))
            for at, state in zip(taken.positions, taken.states, strict=True):
                if state is MINE:
                    self._of(take.ticket).claims[Place(want.call, want.slot(at))] = None

    def _looked(self, look: Look, answer: Any) -> None:
        """Know that what others are filling is not claimed: who takes it for its own would wait for itself."""
        held = self._of(look.ticket)
        held.unsure.difference_update(look.places)
        for place, state in zip(look.places, answer, strict=True):
            if state is not MINE:
                held.claims.pop(place, None)

    def _changed(self, change: Change) -> None:
        held = None
        if isinstance(change, Fill | Release):
            held = self.held.get(change.ticket)
            if held is not None:
                held.claims.pop(change.place, None)
        elif isinstance(change, Settle):
            self._flights.answers.pop(change.ticket, None)
            self._known(change.ticket)
            self.late.forget(change.ticket)
            held = self.held.get(change.ticket)
            if held is not None:
                held.positions.clear()
                if not change.keeps_claims:
                    held.claims.clear()
        if held is not None and not held.positions and not held.claims and isinstance(change, Fill | Release | Settle):
            self.held.pop(change.ticket, None)


def _is_delivered(want: Want, taken: Taken) -> bool:
    return want.reader is not None and all(type(state) is Sample for state in taken.states)


def _positions(want: Want, taken: Taken) -> list[Position]:
    return [Position(want.call, want.reader or "", at, taken.generation) for at in taken.positions]
