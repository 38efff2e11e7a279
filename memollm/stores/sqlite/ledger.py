"""The rows of a SQLite store: what one transaction reads and changes, on the connection that holds the write lock."""

from __future__ import annotations

import time
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._types.calls import Call, Place, Position, Want, choose_positions, recorder
from memollm._types.requests import Change, Fill, Release, Return, Settle
from memollm._types.samples import MINE, Busy, Sample, State, Taken
from memollm.stores.sqlite.files import SCHEMA_VERSION
from memollm.stores.sqlite.owners import Neighbours, Owner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.stores.flights import Flights
    from memollm.stores.sqlite.link import Link

ENDLESS: Final = 1 << 62
"""As a pool's size: a sequence that never comes round."""
FAR: Final = 4
"""How many slots per wanted one are read along with a run before reading each by itself is the less work."""
REMEMBERED: Final = 100_000
"""How many calls a process remembers the numbers of."""


@cache
def statements(file: str = "sqlite.sql") -> dict[str, str]:
    """Read the named statements of a file."""
    text = package_files("memollm.stores.sqlite").joinpath(file).read_text(encoding="utf-8")
    blocks = text.split("-- name: ")[1:]
    return {block.split(None, 1)[0]: block.partition("\n")[2].strip() for block in blocks}


def schemas() -> list[list[str]]:
    """Return the statements that make each version of the schema out of the one before it."""
    sql = statements()
    return [sql[f"schema_{version}"].split(";") for version in range(1, SCHEMA_VERSION + 1)]


class Held(NamedTuple):
    """What a draw may have rows of: at least all that it has, so none has to be looked for when it is settled."""

    positions: list[tuple[int, int, int]]
    """Its reader's, the call's and its own number."""
    claims: list[tuple[int, int]]
    """The call's number and the slot's."""


class Ledger:
    """Takes, claims, fills and settles, for one process and one open file."""

    def __init__(self, link: Link, flights: Flights) -> None:
        self._flights = flights
        self._files = link.files
        self._require_unmoved = link.require_unmoved
        self._execute = link.execute
        self._sql = sql = statements()
        self._glance, self._advance_to = sql["glance"], sql["advance"]
        self._neighbours = Neighbours(link.files.owners)
        self._owner: tuple[int, Owner] | None = None
        self._owner_is_new = False
        self._held: dict[int, Held] = {}
        """The rows of each draw that this process has under way."""
        self._forget_numbers()

    def _forget_numbers(self) -> None:
        self._calls: dict[str, int] = {}
        self._readers: dict[str, tuple[int, int]] = {}
        """The number of a reader, and under whose number it is recorded what its lanes were given."""
        self._lanes: dict[str, int] = {}

    # What a transaction's end means.

    def forget(self) -> None:
        """Forget what was read: something was replaced or removed by whichever process."""
        self._forget_numbers()

    def confirm(self) -> None:
        """Know that the transaction was committed."""
        self._owner_is_new = False

    def revert(self) -> None:
        """Know that the transaction was undone, with the numbers that it gave."""
        self._forget_numbers()
        # A draw that goes on without the store settles nothing.
        self._held = {ticket: held for ticket, held in self._held.items() if self._flights.aloft(ticket)}
        if self._owner_is_new:
            self.leave()

    def leave(self) -> None:
        """Let go of this process's owner lock, and of what it watches."""
        if self._owner is not None:
            self._owner[1].release()
        self.abandon()

    def abandon(self) -> None:
        """Forget the owner without leaving: the lock is the parent's, or its folder is gone."""
        self._owner, self._owner_is_new = None, False
        self._neighbours.close()

    @property
    def owner_name(self) -> str | None:
        """The name under which this process claims, if it has claimed anything."""
        return None if self._owner is None else self._owner[1].name

    # Drawing.

    def take(self, wants: Sequence[Want], ticket: int, newer_than: float) -> list[Taken]:
        """Take the next positions of each want and read or claim their slots."""
        return [self._take(want, ticket, newer_than) for want in wants]

    def _take(self, want: Want, ticket: int, newer_than: float) -> Taken:
        call = self._calls.get(want.call.form) or self.call_number(want.call)
        if want.reader is None:
            positions = range(want.n)
            return Taken(positions, self._states(call, want, positions, ticket, newer_than))
        reader, recorded = self._readers.get(want.reader) or self.reader_numbers(want.reader)
        if want.n == 1 and want.lane is None:
            row = self._execute(self._glance, (reader, call, want.pool or ENDLESS, recorded)).fetchone()
            if row is not None and not row[1] and row[3] is not None and row[3] > newer_than:
                self._execute(self._advance_to, (reader, call, row[0] + 1))
                return Taken((row[0],), (Sample._make(row[2:]),))
        return self._take_any(want, call, ticket, newer_than, (reader, recorded))

    def _take_any(self, want: Want, call: int, ticket: int, newer_than: float, numbers: tuple[int, int]) -> Taken:
        reader, recorded = numbers
        cursor = self._cursor(call, *numbers)
        lane, own = None, list[int]()
        if want.lane is not None:
            lane, cursor = self._lane_number(want.lane), self.reserve(call, cursor, *numbers)
            own = self._available("positions_of_lane", (recorded, reader, call, lane))
        # In a pool those of the lane may read one slot, so that others are needed still.
        enough = len(own) >= want.n and want.pool is None
        free = [] if enough else self._available("loose_positions", (reader, call, recorded))
        positions = choose_positions(want, [*own, *free], cursor)
        if positions[-1] >= cursor:
            self._execute(self._advance_to, (reader, call, positions[-1] + 1))
        if lane is not None:
            for at in positions:
                if at not in own:
                    self._execute(self._sql["record_lane"], (recorded, call, at, lane))
        states = self._states(call, want, positions, ticket, newer_than)
        if all(type(state) is Sample for state in states):
            for at in positions:
                if at < cursor:
                    self._execute(self._sql["deliver_position"], (reader, call, at))
        else:
            me, held = self._me(), self._held.setdefault(ticket, Held([], []))
            for at in positions:
                held.positions.append((reader, call, at))
                self._execute(self._sql["hold_position"], (reader, call, at, me, ticket))
        return Taken(positions, states)

    def _available(self, statement: str, values: tuple[int, ...]) -> list[int]:
        rows = self._execute(self._sql[statement], values).fetchall()
        return [at for at, owner, ticket in rows if owner is None or not self.holds(owner, ticket)]

    # Lanes.

    def reserve(self, call: int, cursor: int, reader: int, recorder: int) -> int:
        """Pass over what is recorded for lanes from the cursor on; return where the cursor stands then.

        What lies between is free for anybody, and what is recorded is free for its lane.
        """
        (end,) = self._execute(self._sql["end_of_lanes"], (recorder, call)).fetchone()
        if end is None or end <= cursor:
            return cursor
        for at in range(cursor, end):
            self._execute(self._sql["pass_over"], (reader, call, at))
        self._execute(self._advance_to, (reader, call, end))
        return int(end)

    def _lane_number(self, lane: str) -> int:
        number = self._lanes.get(lane)
        if number is None:
            row = self._execute(self._sql["find_lane"], (lane,)).fetchone()
            number = row[0] if row else self._execute(self._sql["add_lane"], (lane,)).lastrowid or 0
            self._lanes[lane] = number
        return int(number)

    def holds(self, owner: int, ticket: int) -> bool:
        """Tell whether positions that are recorded for a draw are not free: in flight, or delivered."""
        if self._owner is not None and owner == self._owner[0]:
            return self._flights.holds(ticket)
        return self.aloft(owner, ticket)

    def _cursor(self, call: int, reader: int, recorder: int) -> int:
        row = self._execute(self._sql["cursor"], (reader, call)).fetchone()
        if row is not None:
            return int(row[0])
        self._execute(self._sql["begin_cursor"], (reader, call, 0))
        return self.reserve(call, 0, reader, recorder)

    def _states(self, call: int, want: Want, positions: Sequence[int], ticket: int, newer_than: float) -> list[State]:
        slots = positions if want.pool is None else [want.slot(at) for at in positions]
        first, last = min(slots), max(slots)
        if len(slots) == 1 or last + 1 - first > FAR * len(slots):
            return [self._state(call, slot, ticket, newer_than) for slot in slots]
        rows = self._execute(self._sql["samples_between"], (call, first, last)).fetchall()
        fresh = {row[0]: Sample._make(row[1:]) for row in rows if row[2] > newer_than}
        return [fresh.get(slot) or self._claim(call, slot, ticket) for slot in slots]

    def look(self, place: Place, ticket: int, newer_than: float) -> State:
        """Read a slot, or claim it if it is vacant."""
        return self._state(self.call_number(place.call), place.slot, ticket, newer_than)

    def _state(self, call: int, slot: int, ticket: int, newer_than: float) -> State:
        row = self._execute(self._sql["sample"], (call, slot)).fetchone()
        if row is not None and row[1] > newer_than:
            return Sample._make(row)
        return self._claim(call, slot, ticket)

    def _claim(self, call: int, slot: int, ticket: int) -> State:
        self._require_unmoved()
        me = self._me()
        row = self._execute(self._sql["claim_of"], (call, slot)).fetchone()
        if row is not None and row != (me, ticket) and self.aloft(*row):
            return Busy(row[1] if row[0] == me else None)
        self._held.setdefault(ticket, Held([], [])).claims.append((call, slot))
        self._execute(self._sql["claim"], (call, slot, me, ticket))
        return MINE

    # Filling and settling.

    def apply(self, change: Change) -> bool:
        """Make a change; tell whether it replaced a sample."""
        match change:
            case Fill():
                return self.fill(change)
            case Settle():
                self.settle(change)
            case Release():
                self.release(change)
            case Return():
                self.give_back(change)
        return False

    def fill(self, fill: Fill) -> bool:
        """Store a sample; tell whether it replaced one."""
        call, slot = self.call_number(fill.place.call), fill.place.slot
        me = self._owner[0] if self._owner else None
        claimed = self._execute(self._sql["end_claim"], (call, slot, me, fill.ticket)).rowcount
        (filled,) = self._execute(self._sql["has_sample"], (call, slot)).fetchone()
        if claimed or not filled:
            self._execute(self._sql["put_sample"], (call, slot, *fill.sample))
        return bool(claimed and filled)

    def settle(self, settle: Settle) -> None:
        """End a draw."""
        if self._owner is None:
            return
        draw = (self._owner[0], settle.ticket)
        held = self._held.pop(settle.ticket, None)
        if held is None:
            # Settled before, and this comes twice, or that was undone.
            self._execute(self._sql["end_claims"], draw)
        else:
            for claim in held.claims:
                self._execute(self._sql["end_claim"], (*claim, *draw))
        if settle.returned is None:
            self._settle_positions(held, "return_position", "return_ticket", draw)
            return
        for position in settle.returned:
            self._execute(self._sql["return_position"], (*self._numbers(position), *draw))
        self._settle_positions(held, "deliver_held", "deliver_ticket", draw)

    def _settle_positions(self, held: Held | None, each: str, together: str, draw: tuple[int, int]) -> None:
        if held is None:
            self._execute(self._sql[together], draw)
            return
        for position in held.positions:
            self._execute(self._sql[each], (*position, *draw))

    def release(self, change: Release) -> None:
        """End a claim."""
        values = (self.find_call(change.place.call), change.place.slot, self._me(), change.ticket)
        self._execute(self._sql["end_claim"], values)

    def give_back(self, change: Return) -> None:
        """Free a position that was delivered."""
        self._execute(self._sql["free_position"], self._numbers(change.position))

    def _numbers(self, position: Position) -> tuple[int | None, int | None, int]:
        """Give the numbers of a position, adding nothing: what is gone has no number, and no row matches it."""
        return self.find_reader(position.reader), self.find_call(position.call), position.at

    # The numbers of calls, readers and owners.

    def call_number(self, call: Call) -> int:
        """Find a call by its hash and its form, or add it."""
        number = self._calls.get(call.form)
        if number is None:
            number = self.find_call(call) or self._add_call(call)
            if len(self._calls) >= REMEMBERED:
                self._calls.clear()
            self._calls[call.form] = number
        return number

    def find_call(self, call: Call) -> int | None:
        """Find a call by its hash and its form: of two calls with one hash, each has its own number."""
        rows = self._execute(self._sql["calls_of_key"], (call.key,)).fetchall()
        return next((number for number, form in rows if form == call.form), None)

    def _add_call(self, call: Call) -> int:
        values = (call.key, call.function, call.form, time.time())
        return self._execute(self._sql["add_call"], values).lastrowid or 0

    def forget_numbers(self) -> None:
        """Forget the numbers of calls: one was removed or changed."""
        self._calls.clear()

    def reader_numbers(self, reader: str) -> tuple[int, int]:
        """Find a reader and the one under whom its lanes are recorded, or add them."""
        numbers = self._readers.get(reader)
        if numbers is None:
            number = self.find_reader(reader) or self._execute(self._sql["add_reader"], (reader,)).lastrowid or 0
            whose = recorder(reader)
            numbers = self._readers[reader] = number, number if whose == reader else self.reader_numbers(whose)[0]
        return numbers

    def find_reader(self, reader: str) -> int | None:
        """Find a reader."""
        row = self._execute(self._sql["find_reader"], (reader,)).fetchone()
        return None if row is None else int(row[0])

    def _me(self) -> int:
        if self._owner is None:
            owner = Owner(self._files.owners)
            number = self._execute(self._sql["add_owner"], (owner.name,)).lastrowid or 0
            self._owner, self._owner_is_new = (number, owner), True
            for other, name in self._execute(self._sql["owners"]).fetchall():
                if other != number and not self._neighbours.alive(name):
                    self._bury(other)
        return self._owner[0]

    def owners(self) -> list[int]:
        """List the processes that have claimed and not left, dead or alive."""
        return [number for number, _ in self._execute(self._sql["owners"]).fetchall()]

    def resign(self) -> bool:
        """Leave without writing anything, if nothing that is recorded for this process is still in flight.

        Whoever finds the records takes them for a dead owner's; this process goes on as another owner.
        """
        if self._owner is None:
            return True
        tickets = self._execute(self._sql["tickets_of"], (self._owner[0],)).fetchall()
        if any(self._flights.holds(ticket) for (ticket,) in tickets):
            return False
        self.leave()
        return True

    def bury_myself(self) -> None:
        """Void whatever this process still has in flight; it is about to leave."""
        if self._owner is not None:
            self._bury(self._owner[0])

    def aloft(self, owner: int, ticket: int) -> bool:
        """Tell whether a claim or a position is in flight, and bury its owner if that is dead."""
        if self._owner is not None and owner == self._owner[0]:
            return self._flights.aloft(ticket)
        row = self._execute(self._sql["owner_name"], (owner,)).fetchone()
        if row is not None and self._neighbours.alive(row[0]):
            return True
        self._bury(owner)
        return False

    def _bury(self, owner: int) -> None:
        for name in ("bury_claims", "bury_loose", "bury_owner"):
            self._execute(self._sql[name], (owner,))
