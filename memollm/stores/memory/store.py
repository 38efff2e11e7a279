"""The memory store: the reference model of drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.calls import Call, Place, Position, Want, choose_left, choose_positions, resumed
from memollm._types.locks import interrupted, renewed_in_children
from memollm._types.requests import Answer, Fill, Look, Release, Request, Return, Settle, Take, Write, Written
from memollm._types.samples import MINE, Busy, Replaced, Sample, State, Taken, digest_of
from memollm.errors import StoreError
from memollm.stores.drawing import Drawing, InLine
from memollm.stores.memory.content import REFUSED, MemoryContent, MemoryCursor
from memollm.stores.memory.keeping import MemoryKeeping
from memollm.stores.memory.limiting import MemoryLimiting
from memollm.stores.memory.looking import MemoryLooking
from memollm.stores.memory.matching import MemoryMatching
from memollm.stores.repeats import Repeats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.requests import Change
    from memollm.stores.flights import Flights
    from memollm.stores.keeping import Keeping
    from memollm.stores.limiting import Limiting
    from memollm.stores.looking import Looking
    from memollm.stores.matching import Matching


class MemoryDrawing(Drawing, InLine):
    """Draws from what is in this process; a forked child begins with a copy of its own."""

    def __init__(self) -> None:
        self._content = MemoryContent()
        self._claimed: dict[int, list[Place]] = {}
        self._in_flight: dict[int, list[Position]] = {}
        self._written: Repeats[Written] = Repeats()
        _living.add(self)

    @property
    def flights(self) -> Flights:  # type: ignore[override]
        """The draws of this process."""
        return self._content.flights

    def after_fork_in_child(self) -> None:
        """Begin anew: nothing of the parent's is under way here."""
        self._content.begin_process()

    # Asking.

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for."""
        if self._content.mine():
            return [interrupted()] * len(requests)
        with self._content.lock:
            answers = [self._tried(request) for request in requests]
        for request, answer in zip(requests, answers, strict=True):
            # Now that no lock is held.
            if isinstance(request, Write) and isinstance(answer, Written):
                self.flights.landed(request.changes, answer)
        return answers

    def _tried(self, request: Request) -> Answer | StoreError:
        try:
            if isinstance(request, Write):
                return self._write(request)
            return self._answered(request, wait=True)
        except StoreError as error:
            return error

    def _answered(self, request: Take | Look, *, wait: bool) -> list[Taken] | list[State]:  # noqa: ARG002 - here nothing waits
        if isinstance(request, Take):
            return self._take(request)
        return [self._state(place, request.ticket, request.newer_than) for place in request.places]

    def at_once(self, request: Take | Look) -> list[Taken] | list[State] | None:
        """Answer; nothing here is ever waited for long."""
        if self._content.mine():
            raise interrupted()
        with self._content.lock:
            return self._answered(request, wait=False)

    def watch(self, places: Sequence[Place], wake: Callable[[Place], None]) -> Callable[[], None]:
        """Have each wait for its claimant to land."""
        with self._content.lock:
            holders = {place: self._content.claims.get(place, 0) for place in places}
        return self.flights.watch(holders, wake)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Copy what is there."""
        with self._content.lock:
            samples = self._content.samples.get(call, {})
            return {slot: samples[slot] for slot in sorted(samples if slots is None else samples.keys() & set(slots))}

    def epoch(self) -> int:
        """Tell how often something was replaced or removed."""
        return self._content.epoch

    def close(self) -> None:
        """Keep everything: it is gone with the object, not with this call."""

    # Taking. A signal's handler may raise between any two steps, and nothing is undone. So each step leaves what a
    # draw that ends there has taken in flight for its ticket, which makes it free, or answered, which gives it back.

    def _take(self, take: Take) -> list[Taken]:
        answer = self.flights.answers.get(take.ticket)
        if isinstance(answer, _Answered):
            return answer.taken
        taken = [self._take_one(want, take.ticket, take.newer_than) for want in take.wants]
        self.flights.answers[take.ticket] = answered = _Answered(take.wants, taken)
        for position in answered.delivered():
            cursor = self._content.cursor_of(position)
            if cursor is not None:
                cursor.loose.pop(position.at, None)
        return taken

    def _take_one(self, want: Want, ticket: int, newer_than: float) -> Taken:
        if want.reader is None:
            positions: Sequence[int] = range(want.n)
            return Taken(positions, self._states(want, positions, ticket, newer_than))
        if (of := resumed(want.reader)) is not None:
            cursor = self._content.resuming(want.reader, of, want.call)
            positions = self._left(want, want.reader, cursor)
            cursor.loose.update(dict.fromkeys(positions, ticket))
            return self._handed(want, cursor, positions, ticket, newer_than)
        cursor, recorded = self._cursor(want, want.reader), self._content.recorded_for(want.reader, want.call)
        own = self._own(want, cursor, recorded)
        if want.order and len(own) < want.n:
            self._content.add_rounds(want, cursor, recorded, want.n - len(own))
            own = self._own(want, cursor, recorded)
        others = [at for at in sorted(cursor.loose) if at not in recorded and at < cursor.next]
        free = [*own, *(at for at in others if not self._content.holds(cursor.loose[at]))]
        positions = choose_positions(want, free, cursor.next)
        cursor.loose.update(dict.fromkeys(positions, ticket))
        cursor.next = max(cursor.next, positions[-1] + 1)
        if want.lane is not None:
            for at in positions:
                recorded.setdefault(at, want.lane)
        return self._handed(want, cursor, positions, ticket, newer_than)

    def _handed(
        self, want: Want, cursor: MemoryCursor, positions: Sequence[int], ticket: int, newer_than: float
    ) -> Taken:
        """Read or claim the slots of positions, which are in flight for the ticket."""
        states = self._states(want, positions, ticket, newer_than)
        if not all(type(state) is Sample for state in states):
            self._in_flight.setdefault(ticket, []).extend(_positions(want, positions, cursor.generation))
        return Taken(positions, states, cursor.generation)

    def _own(self, want: Want, cursor: MemoryCursor, recorded: Mapping[int, str]) -> list[int]:
        """List what is recorded for a lane, and free, in the order of recording."""
        own = [at for at, lane in recorded.items() if lane == want.lane and at in cursor.loose]
        return [at for at in own if not self._content.holds(cursor.loose[at]) and cursor.loose[at] != REFUSED]

    def _left(self, want: Want, reader: str, cursor: MemoryCursor) -> list[int]:
        """Choose of what is left of what another reader was given, for the one that resumes it."""
        recorded = self._content.recorded_for(reader, want.call)
        if want.lane is not None:
            return choose_left(want, self._own(want, cursor, recorded))
        others = (at for at in cursor.loose if at not in recorded)
        return choose_left(want, (at for at in others if not self._content.holds(cursor.loose[at])))

    def _cursor(self, want: Want, reader: str) -> MemoryCursor:
        cursors = self._content.cursors.setdefault(reader, {})
        if want.call not in cursors or want.lane is not None:
            self._content.reserve(cursors.setdefault(want.call, MemoryCursor()), reader, want.call)
        return cursors[want.call]

    def _states(self, want: Want, positions: Sequence[int], ticket: int, newer_than: float) -> list[State]:
        return [self._state(Place(want.call, want.slot(at)), ticket, newer_than) for at in positions]

    def _state(self, place: Place, ticket: int, newer_than: float) -> State:
        sample = self._sample(place)
        if sample is not None and sample.stored > newer_than:
            return sample
        holder = self._content.claims.get(place)
        if holder is not None and holder != ticket and self.flights.aloft(holder):
            return Busy(holder)
        self._content.claims[place] = ticket
        self._claimed.setdefault(ticket, []).append(place)
        return MINE

    def _sample(self, place: Place) -> Sample | None:
        return self._content.samples.get(place.call, {}).get(place.slot)

    # Writing.

    def _write(self, write: Write) -> Written:
        lost: dict[Place, Sample] = {}
        void: list[Position] = []
        if write.id not in self._written:
            for change in write.changes:
                self._apply(change, lost, void)
        return self._written.get(write.id) or self._written.remember(write.id, Written(lost, tuple(void)))

    def _apply(self, change: Change, lost: dict[Place, Sample], void: list[Position]) -> None:
        match change:
            case Fill():
                self._end_claim(change.place, change.ticket)
                there = self._fill(change)
                if there is not None:
                    lost[change.place] = there
            case Settle():
                void += self._settle(change)
            case Release():
                self._end_claim(change.place, change.ticket)
            case Return():
                self._free(change.position)

    def _end_claim(self, place: Place, ticket: int) -> None:
        if self._content.claims.get(place) == ticket:
            del self._content.claims[place]

    def _fill(self, fill: Fill) -> Sample | None:
        """Fill a slot, unless there is a sample, which is told."""
        samples = self._content.samples.setdefault(fill.place.call, {})
        there = samples.get(fill.place.slot)
        if there is not None and there.stored > fill.newer_than:
            return there
        if there is not None:
            self._content.epoch += 1
            replaced = Replaced(fill.place.slot, there.stored, digest_of(there.record))
            self._content.replaced.setdefault(fill.place.call, set()).add(replaced)
        samples[fill.place.slot] = fill.sample
        return None

    def _settle(self, settle: Settle) -> list[Position]:
        """End a draw; return the positions that somebody has taken from it."""
        claimed = self._claimed.pop(settle.ticket, ())
        for place in () if settle.keeps_claims else claimed:
            self._end_claim(place, settle.ticket)
        answer = self.flights.answers.get(settle.ticket)
        if settle.returned is None and isinstance(answer, _Answered):
            for position in answer.delivered():
                self._free(position)
        self.flights.answers.pop(settle.ticket, None)
        in_flight = self._in_flight.get(settle.ticket, [])
        held = [each for each in in_flight if self._is_held(each, settle.ticket)]
        becomes: dict[Position, int | None] = dict.fromkeys(in_flight if settle.returned is None else settle.returned)
        becomes.update(dict.fromkeys(settle.refused, REFUSED))
        try:
            void = [each for each in in_flight if not self._let_go(each, settle.ticket, becomes)]
        except BaseException:
            # It is asked again, or the draw takes back what it was given.
            self._take_back(held, settle.ticket)
            raise
        self._in_flight.pop(settle.ticket, None)
        return void

    def _is_held(self, position: Position, ticket: int) -> bool:
        cursor = self._content.cursor_of(position)
        return cursor is not None and cursor.loose.get(position.at) == ticket

    def _take_back(self, held: Sequence[Position], ticket: int) -> None:
        """Let the positions of a draw be in flight once more, since its end was interrupted."""
        for position in held:
            cursor = self._content.cursor_of(position)
            if cursor is not None:
                cursor.loose[position.at] = ticket

    def _let_go(self, position: Position, ticket: int, becomes: Mapping[Position, int | None]) -> bool:
        """Free, refuse or deliver a position in flight; tell whether it was the draw's, or its reader was set back."""
        cursor = self._content.cursor_of(position)
        if cursor is None:
            return not self._content.is_forgotten(position)
        if cursor.loose.get(position.at) != ticket:
            return False
        if position in becomes:
            cursor.loose[position.at] = becomes[position]
        else:
            del cursor.loose[position.at]
        return True

    def _free(self, position: Position) -> None:
        """Free a position that was delivered."""
        cursor = self._content.cursor_of(position)
        if cursor is not None and position.at < cursor.next:
            # In flight it is for whoever has it.
            cursor.loose[position.at] = cursor.loose.get(position.at) or None
            if resumed(position.reader):
                # What is left to be read again is read in its order.
                cursor.loose = dict(sorted(cursor.loose.items()))


class _Answered:
    """What a take was answered."""

    __slots__ = ("taken", "wants")

    def __init__(self, wants: Sequence[Want], taken: list[Taken]) -> None:
        self.wants = wants
        self.taken = taken

    def delivered(self) -> list[Position]:
        """List what the draw was given by taking alone."""
        return [
            position
            for want, (positions, states, generation) in zip(self.wants, self.taken, strict=True)
            if all(type(state) is Sample for state in states)
            for position in _positions(want, positions, generation)
        ]


class MemoryStore(MemoryDrawing):
    """Keeps everything in this process."""

    @property
    def looking(self) -> Looking:
        """Looks into the store."""
        return MemoryLooking(self._content)

    @property
    def keeping(self) -> Keeping:
        """Keeps the store."""
        return MemoryKeeping(self._content)

    @property
    def limiting(self) -> Limiting:
        """Limits what programs spend."""
        return MemoryLimiting(self._content)

    @property
    def matching(self) -> Matching:
        """Keeps vectors and matches."""
        return MemoryMatching(self._content)


def _positions(want: Want, positions: Sequence[int], generation: int) -> list[Position]:
    reader = want.reader
    return [] if reader is None else [Position(want.call, reader, at, generation) for at in positions]


_living = renewed_in_children(MemoryDrawing.after_fork_in_child)
