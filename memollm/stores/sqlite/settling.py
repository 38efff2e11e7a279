"""What becomes of draws in a SQLite store: fills, settlements, returns and releases, inside a transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from memollm._types.requests import Fill, Release, Return, Settle
from memollm._types.samples import Sample, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._types.calls import Place, Position
    from memollm._types.requests import Change
    from memollm.stores.sqlite.claimants import Ownership
    from memollm.stores.sqlite.rows import Rows


class Held(NamedTuple):
    """What a draw may have rows of: at least all that it has, so none has to be looked for when it is settled."""

    positions: list[tuple[int, int, Position]]
    """Its reader's and the call's number, and the position."""
    claims: list[tuple[int, int]]
    """The call's number and the slot's."""


class Settling:
    """Applies changes; what they lost and what was void is added up until it is asked for."""

    def __init__(self, rows: Rows, ownership: Ownership) -> None:
        self._rows = rows
        self._ownership = ownership
        self._held: dict[int, Held] = {}
        """The rows of each draw that this process has under way."""
        self._lost: dict[Place, Sample] = {}
        self._void: list[Position] = []

    def of(self, ticket: int) -> Held:
        """Return the rows of a draw, to be added to."""
        held = self._held.get(ticket)
        if held is None:
            held = self._held[ticket] = Held([], [])
        return held

    def outcome(self) -> tuple[dict[Place, Sample], list[Position]]:
        """Return which fills were lost to which samples, and which positions were void, since this was last asked."""
        lost, void = self._lost, self._void
        self._lost, self._void = {}, []
        return lost, void

    def limit(self, aloft: Callable[[int], bool]) -> None:
        """Keep nothing of draws that are over: one that went on without the store settles nothing."""
        self._held = {ticket: held for ticket, held in self._held.items() if aloft(ticket)}

    def forget(self, ticket: int) -> None:
        """Know that the taking of a draw was undone."""
        self._held.pop(ticket, None)

    def apply(self, change: Change) -> None:
        """Make a change."""
        match change:
            case Fill():
                self._fill(change)
            case Settle():
                self._settle(change)
            case Release():
                self._end_claim(self._rows.find_call(change.place.call), change.place.slot, change.ticket)
            case Return():
                self.free(change.position)

    def _end_claim(self, call: int | None, slot: int, ticket: int) -> None:
        self._rows.do("end_claim", call, slot, self._ownership.number, ticket)

    def _fill(self, fill: Fill) -> None:
        """Store a sample, unless there is one that is new enough."""
        rows, slot = self._rows, fill.place.slot
        call = rows.call_number(fill.place.call)
        self._end_claim(call, slot, fill.ticket)
        there = rows.do("sample", call, slot).fetchone()
        if there is None:
            rows.do("put_sample", call, slot, *fill.sample)
        elif there[1] > fill.newer_than:
            self._lost[fill.place] = Sample._make(there)
        else:
            rows.do("remember_replaced", call, slot, there[1], digest_of(there[0]))
            rows.do("put_sample", call, slot, *fill.sample)
            rows.link.begin_epoch()

    def free(self, position: Position) -> None:
        """Free a position that was delivered."""
        self._rows.do("free_position", *self._rows.numbers_of(position), position.generation)

    def _settle(self, settle: Settle) -> None:
        """End a draw."""
        me = self._ownership.number
        if me is None:
            return
        held = self._held.pop(settle.ticket, None)
        if held is None:
            self._settle_unknown(settle, me)
            return
        self._rows.undo.append(partial(self._held.__setitem__, settle.ticket, held))
        for call, slot in () if settle.keeps_claims else held.claims:
            self._end_claim(call, slot, settle.ticket)
        returned = None if settle.returned is None else set(settle.returned)
        for reader, call, position in held.positions:
            goes_back = returned is None or position in returned
            statement = "return_position" if goes_back else "deliver_held"
            if position in settle.refused:
                statement = "refuse_position"
            if not self._rows.do(statement, reader, call, position.at, me, settle.ticket).rowcount:
                self._tell_void(reader, call, position)

    def _tell_void(self, reader: int, call: int, position: Position) -> None:
        """Tell that others may have a position, or that it was forgotten, unless its reader was set back meanwhile."""
        row = self._rows.do("cursor", reader, call).fetchone()
        if row is not None and (row[1] == position.generation or row[1] < 0):
            self._void.append(position)

    def _settle_unknown(self, settle: Settle, me: int) -> None:
        """End a draw that was settled before, and this comes twice, or that was undone."""
        if not settle.keeps_claims:
            self._rows.do("end_claims", me, settle.ticket)
        if settle.returned is None:
            self._rows.do("return_ticket", me, settle.ticket)
            return
        for statement, positions in (("return_position", settle.returned), ("refuse_position", settle.refused)):
            for position in positions:
                self._rows.do(statement, *self._rows.numbers_of(position), me, settle.ticket)
        self._rows.do("deliver_ticket", me, settle.ticket)
