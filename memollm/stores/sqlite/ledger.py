"""Drawing from the rows of a SQLite store: what one transaction takes, claims and writes down."""

from __future__ import annotations

import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import Position, Want, choose_left, choose_positions, new_tuple, resumed, walked
from memollm._types.requests import Fill, Look, Settle, Take, Write, Written
from memollm._types.samples import EVER, MINE, Busy, Sample, State, Taken
from memollm.stores.repeats import Repeats
from memollm.stores.sqlite.claimants import Ownership
from memollm.stores.sqlite.files import OF_ONE_CHANGE
from memollm.stores.sqlite.link import FileVanished, vanished
from memollm.stores.sqlite.rows import Rows
from memollm.stores.sqlite.settling import Settling
from memollm.stores.sqlite.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from memollm._types.calls import Call, Place
    from memollm._types.requests import Answer, Change, Request
    from memollm.stores.flights import Flights
    from memollm.stores.sqlite.link import Link

ENDLESS: Final = 1 << 62
"""As a pool's size: a sequence that never comes round."""
FAR: Final = 4
"""How many slots per wanted one are read along with a run before reading each by itself is the less work."""
SPARE: Final = 16
"""How many positions more than are wanted are read at first of those that are left, since some may be in flight."""
GENERATION_BITS: Final = 62
NOTHING_LOST: Final = Written()

# What a NamedTuple's own constructor does, without a call of Python for each of thousands.
as_sample: Final[Callable[[Iterable[Any]], Sample]] = partial(new_tuple, Sample)


def new_generation() -> int:
    """Return a number for a sequence of draws that is begun anew."""
    return 1 + secrets.randbits(GENERATION_BITS)


class Ledger:
    """Performs requests, for one process and one open file."""

    def __init__(self, link: Link, flights: Flights, first_ticket: int = 0) -> None:
        """`first_ticket` is that of the first draw from this file; those before it were from one that is gone."""
        sql = statements()
        self._first_ticket = first_ticket
        self._flights = flights
        self._answers = flights.answers
        self._glance, self._advance, self._sample = sql["glance"], sql["advance"], sql["sample"]
        self.rows = Rows(link)
        self.ownership = Ownership(self.rows, flights)
        self.settling = Settling(self.rows, self.ownership)
        self.written: Repeats[Written] = Repeats()
        self.counted: Repeats[None] = Repeats()
        self.undo = self.rows.undo
        self.has_looked = False
        """Whether this transaction has made sure that the file is still there."""

    # What a transaction's end means. When it begins, what is to be undone is cleared.

    def revert(self) -> None:
        """Know that the transaction was undone, with the numbers that it gave."""
        self._undo(0)
        self.settling.limit(self._flights.aloft)

    def _undo(self, known: int) -> None:
        """Forget what was learned since so much was to be undone."""
        for each in reversed(self.undo[known:]):
            if isinstance(each, int):
                self._forget_answer(each)
            else:
                each()
        del self.undo[known:]
        self.settling.outcome()
        self.rows.forget()

    def _forget_answer(self, number: int) -> None:
        self._answers.pop(number, None)
        self.written.forget(number)
        self.settling.forget(number)

    # Requests.

    def perform(self, requests: Sequence[Request]) -> list[Answer]:
        """Do what each asks for, in order."""
        return [self._write(each) if isinstance(each, Write) else self.answer(each) for each in requests]

    def perform_each(self, requests: Sequence[Request]) -> list[Answer | Exception]:
        """Do what each asks for, in order; one that fails gives what it fails with, and has done nothing."""
        return [self._try(request) for request in requests]

    def _try(self, request: Request) -> Answer | Exception:
        known = len(self.undo)
        self.rows.execute("SAVEPOINT request")
        try:
            (answer,) = self.perform((request,))
        except Exception as error:
            if not isinstance(error, OF_ONE_CHANGE) and not self._is_late(error):
                raise
            self.rows.execute("ROLLBACK TO request")
            self.rows.execute("RELEASE request")
            self._undo(known)
            return error
        self.rows.execute("RELEASE request")
        return answer

    def _is_late(self, error: Exception) -> bool:
        """Tell whether it was a change that came too late for the file that it is of; this one is in place."""
        return isinstance(error, FileVanished) and not self.rows.link.has_moved()

    def answer(self, request: Take | Look) -> list[Taken] | list[State]:
        """Take, or look."""
        if isinstance(request, Take):
            return self.take(request)
        return [self._look(place, request) for place in request.places]

    def _write(self, write: Write) -> Written:
        known = self.written.get(write.id)
        if known is not None:
            return known
        self._require_unmoved()
        for change in write.changes if not self._first_ticket else self._of_this_file(write.changes):
            if type(change) is Settle:
                self._forget_taking(change)
            self.settling.apply(change)
        lost, void = self.settling.outcome()
        self.undo.append(write.id)
        return self.written.remember(write.id, Written(lost, tuple(void)) if lost or void else NOTHING_LOST)

    def _of_this_file(self, changes: Sequence[Change]) -> list[Change]:
        """Refuse fills, and pass over settlements, of draws that were taken from a file that is gone.

        The file in its place knows nothing of their positions, so it would give their samples to the reader again.
        """
        if any(isinstance(change, Fill) and change.ticket < self._first_ticket for change in changes):
            raise vanished(self.rows.link.files.database)
        return [change for change in changes if change.ticket >= self._first_ticket]

    def _forget_taking(self, settle: Settle) -> None:
        """Know that a draw has its answer; if nothing of it was delivered, free what taking alone has delivered."""
        answer: Any = self._answers.pop(settle.ticket, None)
        if answer is None:
            return
        self.undo.append(partial(self._answers.__setitem__, settle.ticket, answer))
        if settle.returned is None:
            for want, (positions, states, generation) in zip(*answer, strict=True):
                if want.reader is not None and all_stored(states):
                    for at in positions:
                        self.settling.free(Position(want.call, want.reader, at, generation))

    # Taking.

    def take(self, take: Take) -> list[Taken]:
        """Take the next positions of each want and read or claim their slots."""
        ticket, wants, newer_than = take
        answer: Any = self._answers.get(ticket)
        if answer is not None:
            # It was asked before, and the answer was lost.
            return answer[1]  # type: ignore[no-any-return]
        if len(wants) == 1:
            # The hot path, all in one place: one stored sample for a reader that is known.
            want, rows = wants[0], self.rows
            call = rows.calls.get(want.call.form)
            numbers = rows.readers.get(want.reader or "") if want.n == 1 and want.lane is None else None
            if call is not None and numbers is not None:
                reader, recorded = numbers
                row = rows.execute(self._glance, (reader, call, want.pool or ENDLESS, recorded)).fetchone()
                if row is not None and not row[2] and row[4] is not None and row[4] > newer_than:
                    rows.execute(self._advance, (reader, call, row[0] + 1))
                    taken = [new_tuple(Taken, ((row[0],), (new_tuple(Sample, row[3:]),), row[1]))]
                    self._answers[ticket] = (wants, taken)
                    self.undo.append(ticket)
                    return taken
        taken = [self._take_any(want, ticket, newer_than) for want in wants]
        self._answers[ticket] = (wants, taken)
        self.undo.append(ticket)
        return taken

    def _take_any(self, want: Want, ticket: int, newer_than: float) -> Taken:
        if want.reader is not None and resumed(want.reader) is not None:
            return self._take_left(want, want.reader, ticket, newer_than)
        call = self.rows.call_number(want.call) if want.order else self.rows.known_call(want.call)
        if call is None:
            return self._take_new(want, ticket)
        if want.reader is None:
            first = range(want.n)
            return Taken(first, self._states(call, want, first, ticket, newer_than))
        reader, recorded = self.rows.reader_numbers(want.reader)
        cursor, generation = self._cursor(call, reader, recorded)
        if want.lane is not None:
            cursor = self._passing_over_lanes(want, call, (reader, recorded), cursor)
        positions = self._choose(want, call, (reader, recorded), cursor)
        if positions[-1] >= cursor:
            self.rows.do("advance", reader, call, positions[-1] + 1)
        states = self._states(call, want, positions, ticket, newer_than)
        if not all_stored(states):
            self._hold(want.call, want.reader, (reader, call), positions, generation, ticket)
        elif positions[0] < cursor or type(positions) is not range:
            for at in positions:
                if at < cursor:
                    self.rows.do("deliver_position", reader, call, at)
        return Taken(positions, states, generation)

    def _take_new(self, want: Want, ticket: int) -> Taken:
        """Take of a call that nobody has drawn: nothing of it is there that would have to be looked for."""
        self._require_unmoved()
        call, me, held = self.rows.add_call(want.call), self.ownership.me(), self.settling.of(ticket)
        positions, generation = range(want.n), 0
        if want.reader is not None:
            reader, recorded = self.rows.reader_numbers(want.reader)
            generation = new_generation()
            self.rows.do("begin_cursor", reader, call, want.n, generation)
            lane = None if want.lane is None else self.rows.lane_number(want.lane)
            for at in positions:
                held.positions.append((reader, call, Position(want.call, want.reader, at, generation)))
                self.rows.do("hold_position", reader, call, at, me, ticket)
                if lane is not None:
                    self.rows.do("record_lane", recorded, call, at, lane)
        for slot in positions:
            held.claims.append((call, slot))
            self.rows.do("claim", call, slot, me, ticket)
        return Taken(positions, [MINE] * want.n, generation)

    def _hold(  # noqa: PLR0917 - made for every miss, where keywords cost
        self, of: Call, name: str, numbers: tuple[int, int], positions: Sequence[int], generation: int, ticket: int
    ) -> None:
        """Note that positions are in flight for a draw."""
        held, me = self.settling.of(ticket).positions, self.ownership.me()
        for at in positions:
            held.append((*numbers, Position(of, name, at, generation)))
            self.rows.do("hold_position", *numbers, at, me, ticket)

    # Taking what another reader was given.

    def _take_left(self, want: Want, name: str, ticket: int, newer_than: float) -> Taken:
        """Take of what is left of what another reader was given, for the one that resumes it."""
        call, (reader, of) = self.rows.call_number(want.call), self.rows.reader_numbers(name)
        row = self.rows.do("cursor", reader, call).fetchone()
        generation = row[1] if row is not None else self._begin_resuming(reader, of, call)
        if want.lane is None:
            positions = self._left(want, "loose_positions", reader, call, of)
        else:
            positions = self._left(want, "positions_of_lane", of, reader, call, self.rows.lane_number(want.lane))
        states: Sequence[State] = self._states(call, want, positions, ticket, newer_than) if positions else ()
        if positions and not all_stored(states):
            self._hold(want.call, name, (reader, call), positions, generation, ticket)
        else:
            for at in positions:
                self.rows.do("deliver_position", reader, call, at)
        return Taken(positions, states, generation)

    def _begin_resuming(self, reader: int, of: int, call: int) -> int:
        """Let a reader have what another was given so far."""
        self._require_unmoved()
        row = self.rows.do("cursor", of, call).fetchone()
        end, generation = len(walked(0, row[0] if row else 0)), new_generation()
        self.rows.do("begin_resuming", reader, call, of, end)
        self.rows.do("begin_cursor", reader, call, end, generation)
        return generation

    def _left(self, want: Want, statement: str, *values: int) -> list[int]:
        """Choose of the positions that are left. There may be many, of which mostly the first are wanted."""
        rows = self.rows.do(statement, *values).fetchmany(most := want.n + SPARE)
        positions = choose_left(want, self._free_of(rows))
        if len(positions) < want.n and len(rows) == most:
            positions = choose_left(want, self._free(statement, *values))
        return positions

    def _require_unmoved(self) -> None:
        """Refuse to write into a file that is gone, or by a lock that is; one look is enough for a transaction."""
        if not self.has_looked:
            self.rows.link.require_unmoved()
            self.rows.link.require_shared()
            self.has_looked = True

    def _cursor(self, call: int, reader: int, recorded: int) -> tuple[int, int]:
        """Return how far a reader has come in a call, and the generation of its cursor."""
        row = self.rows.do("cursor", reader, call).fetchone()
        if row is not None:
            return row[0], row[1]
        generation = new_generation()
        self.rows.do("begin_cursor", reader, call, 0, generation)
        return self.rows.reserve(call, 0, reader, recorded), generation

    def _passing_over_lanes(self, want: Want, call: int, numbers: tuple[int, int], cursor: int) -> int:
        """Let lanes have what is theirs; one that stands in an order gets enough, and the others of it as much."""
        reader, recorded = numbers
        cursor = self.rows.reserve(call, cursor, reader, recorded)
        if not want.order:
            return cursor
        lane = self.rows.lane_number(want.lane or "")
        short = want.n - len(self._free("positions_of_lane", recorded, reader, call, lane))
        if short <= 0:
            return cursor
        self._require_unmoved()
        return self.rows.add_rounds((reader, recorded, call), want.order, cursor, short)

    def _choose(self, want: Want, call: int, numbers: tuple[int, int], cursor: int) -> Sequence[int]:
        """Choose positions: what is the lane's own, what is free, and what is ahead."""
        reader, recorded = numbers
        lane = None if want.lane is None else self.rows.lane_number(want.lane)
        own = [] if lane is None else self._free("positions_of_lane", recorded, reader, call, lane)
        # In a pool those of the lane may read one slot, so that others are needed still.
        enough = len(own) >= want.n and want.pool is None
        free = [] if enough else self._free("loose_positions", reader, call, recorded)
        if not own and not free:
            positions: Sequence[int] = range(cursor, cursor + want.n)
        else:
            positions = choose_positions(want, [*own, *free], cursor)
        if lane is not None:
            for at in positions:
                if at not in own:
                    self.rows.do("record_lane", recorded, call, at, lane)
        return positions

    def _free(self, statement: str, *values: int) -> list[int]:
        return self._free_of(self.rows.do(statement, *values).fetchall())

    def _free_of(self, rows: Iterable[tuple[int, int | None, int]]) -> list[int]:
        return [at for at, owner, ticket in rows if owner is None or not self.ownership.holds(owner, ticket)]

    # States.

    def _states(
        self, call: int, want: Want, positions: Sequence[int], ticket: int, newer_than: float
    ) -> Sequence[State]:
        slots = positions if want.pool is None else [want.slot(at) for at in positions]
        if len(slots) == 1:
            return [self._state(call, slots[0], ticket, newer_than)]
        if type(slots) is range:
            records = self.rows.do("records_between", call, slots[0], slots[-1]).fetchall()
            if len(records) == len(slots) and (newer_than == EVER or all(row[1] > newer_than for row in records)):
                return list(map(as_sample, records))
        first, last = min(slots), max(slots)
        if last + 1 - first > FAR * len(slots):
            return [self._state(call, slot, ticket, newer_than) for slot in slots]
        rows = self.rows.do("samples_between", call, first, last).fetchall()
        fresh = {row[0]: as_sample(row[1:]) for row in rows if row[2] > newer_than}
        return [fresh.get(slot) or self._claim(call, slot, ticket) for slot in slots]

    def _look(self, place: Place, look: Look) -> State:
        return self._state(self.rows.call_number(place.call), place.slot, look.ticket, look.newer_than)

    def _state(self, call: int, slot: int, ticket: int, newer_than: float) -> State:
        row = self.rows.execute(self._sample, (call, slot)).fetchone()
        if row is not None and row[1] > newer_than:
            return as_sample(row)
        return self._claim(call, slot, ticket)

    def _claim(self, call: int, slot: int, ticket: int) -> State:
        self._require_unmoved()
        me = self.ownership.me()
        row = self.rows.do("claim_of", call, slot).fetchone()
        if row is not None and row != (me, ticket) and self.ownership.aloft(*row):
            return Busy(row[1] if row[0] == me else None)
        self.settling.of(ticket).claims.append((call, slot))
        self.rows.do("claim", call, slot, me, ticket)
        return MINE


def all_stored(states: Sequence[State]) -> bool:
    """Tell whether every slot was filled, so that taking has delivered."""
    return {*map(type, states)} == {Sample}
