"""The rows of a SQLite store: what one transaction reads and changes, on the connection that holds the write lock."""

from __future__ import annotations

import time
from functools import cache
from importlib.resources import files as package_files
from typing import TYPE_CHECKING, Final

from memollm._model import (
    MINE,
    Busy,
    Call,
    Change,
    Fill,
    Move,
    Place,
    Position,
    Release,
    Return,
    Sample,
    Settle,
    State,
    Taken,
    Want,
    choose_positions,
)
from memollm.stores._owners import Neighbours, Owner
from memollm.stores.base import in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._flights import Flights
    from memollm.stores._sqlite_link import Link

ENDLESS: Final = 1 << 62
"""As a pool's size: a sequence that never comes round."""
FAR: Final = 4
"""How many slots per wanted one are read along with a run before reading each by itself is the less work."""
REMEMBERED: Final = 100_000
"""How many calls a process remembers the numbers of."""


@cache
def statements() -> dict[str, str]:
    """Read the named statements of sqlite.sql."""
    text = package_files("memollm.stores").joinpath("sqlite.sql").read_text(encoding="utf-8")
    blocks = text.split("-- name: ")[1:]
    return {block.split(None, 1)[0]: block.partition("\n")[2].strip() for block in blocks}


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
        self._forget_numbers()

    def _forget_numbers(self) -> None:
        self._calls: dict[str, int] = {}
        self._readers: dict[str, int] = {}

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

    def take(self, want: Want, ticket: int, newer_than: float) -> Taken:
        """Take the next positions of a want and read or claim their slots."""
        call = self._calls.get(want.call.form) or self.call_number(want.call)
        if want.reader is None:
            positions = range(want.n)
            return Taken(positions, self._states(call, want, positions, ticket, newer_than))
        reader = self._readers.get(want.reader) or self.reader_number(want.reader)
        if want.n == 1:
            row = self._execute(self._glance, (reader, call, want.pool or ENDLESS)).fetchone()
            if row is not None and not row[1] and row[2] is not None and row[2] > newer_than:
                self._execute(self._advance_to, (reader, call, row[0] + 1))
                return Taken((row[0],), (Sample(row[3], row[2]),))
        return self._take_any(want, reader, call, ticket, newer_than)

    def _take_any(self, want: Want, reader: int, call: int, ticket: int, newer_than: float) -> Taken:
        free, cursor = self._free_positions(reader, call), self._cursor(reader, call)
        positions = choose_positions(want, free, cursor)
        if positions[-1] >= cursor:
            self._execute(self._advance_to, (reader, call, positions[-1] + 1))
        states = self._states(call, want, positions, ticket, newer_than)
        if all(type(state) is Sample for state in states):
            for at in positions:
                if at < cursor:
                    self._execute(self._sql["deliver_position"], (reader, call, at))
        else:
            me = self._me()
            for at in positions:
                self._execute(self._sql["hold_position"], (reader, call, at, me, ticket))
        return Taken(positions, states)

    def _free_positions(self, reader: int, call: int) -> list[int]:
        rows = self._execute(self._sql["loose_positions"], (reader, call)).fetchall()
        return [at for at, owner, ticket in rows if owner is None or not self._holds(owner, ticket)]

    def _holds(self, owner: int, ticket: int) -> bool:
        if self._owner is not None and owner == self._owner[0]:
            return self._flights.holds(ticket)
        return self._aloft(owner, ticket)

    def _cursor(self, reader: int, call: int) -> int:
        row = self._execute(self._sql["cursor"], (reader, call)).fetchone()
        if row is None:
            self._execute(self._sql["begin_cursor"], (reader, call, 0))
        return 0 if row is None else int(row[0])

    def _states(self, call: int, want: Want, positions: Sequence[int], ticket: int, newer_than: float) -> list[State]:
        slots = positions if want.pool is None else [want.slot(at) for at in positions]
        first, last = min(slots), max(slots)
        if len(slots) == 1 or last + 1 - first > FAR * len(slots):
            return [self._state(call, slot, ticket, newer_than) for slot in slots]
        rows = self._execute(self._sql["samples_between"], (call, first, last)).fetchall()
        fresh = {slot: Sample(record, stored) for slot, stored, record in rows if stored > newer_than}
        return [fresh.get(slot) or self._claim(call, slot, ticket) for slot in slots]

    def look(self, place: Place, ticket: int, newer_than: float) -> State:
        """Read a slot, or claim it if it is vacant."""
        return self._state(self.call_number(place.call), place.slot, ticket, newer_than)

    def _state(self, call: int, slot: int, ticket: int, newer_than: float) -> State:
        row = self._execute(self._sql["sample"], (call, slot)).fetchone()
        if row is not None and row[0] > newer_than:
            return Sample(row[1], row[0])
        return self._claim(call, slot, ticket)

    def _claim(self, call: int, slot: int, ticket: int) -> State:
        self._require_unmoved()
        me = self._me()
        row = self._execute(self._sql["claim_of"], (call, slot)).fetchone()
        if row is not None and row != (me, ticket) and self._aloft(*row):
            return Busy(row[1] if row[0] == me else None)
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
            self._execute(self._sql["put_sample"], (call, slot, fill.sample.stored, fill.sample.record))
        return bool(claimed and filled)

    def settle(self, settle: Settle) -> None:
        """End a draw."""
        if self._owner is None:
            return
        draw = (self._owner[0], settle.ticket)
        self._execute(self._sql["end_claims"], draw)
        if settle.returned is None:
            self._execute(self._sql["return_ticket"], draw)
            return
        for position in settle.returned:
            self._execute(self._sql["return_position"], (*self._numbers(position), *draw))
        self._execute(self._sql["deliver_ticket"], draw)

    def release(self, change: Release) -> None:
        """End a claim."""
        values = (self.find_call(change.place.call), change.place.slot, self._me(), change.ticket)
        self._execute(self._sql["end_claim"], values)

    def give_back(self, change: Return) -> None:
        """Free a position that was delivered."""
        self._execute(self._sql["free_position"], self._numbers(change.position))

    def _numbers(self, position: Position) -> tuple[int | None, int | None, int]:
        """Give the numbers of a position, adding nothing: what is gone has no number, and no row matches it."""
        row = self._execute(self._sql["find_reader"], (position.reader,)).fetchone()
        return row[0] if row else None, self.find_call(position.call), position.at

    # Maintenance.

    def forget_call(self, call: Call) -> int:
        """Remove a call with its samples and cursors."""
        number = self.find_call(call)
        if number is None:
            return 0
        self._execute(self._sql["forget_cursors"], (number,))
        self._execute(self._sql["forget_loose"], (number,))
        samples = self._execute(self._sql["forget_samples"], (number,)).rowcount
        self._execute(self._sql["remove_call"], (number,))
        self._forget_numbers()
        return samples

    def adopt(self, move: Move, rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of one call to another."""
        old, new = self.find_call(move.old), self.find_call(move.new)
        for number in (old, new):
            self._require_unclaimed(move.old, number)
        if old is None:
            return 0
        samples = self._execute(self._sql["samples"], (old,)).fetchall()
        for slot, _, record in samples:
            rewritten = rewrite(move, record)
            if rewritten != record:
                self._execute(self._sql["rewrite_sample"], (rewritten, old, slot))
        if new is None:
            self._execute(self._sql["move_call"], (move.new.key, move.new.function, move.new.form, old))
        else:
            self._append(old, new)
        self._forget_numbers()
        return len(samples)

    def _require_unclaimed(self, call: Call, number: int | None) -> None:
        for owner, ticket in self._execute(self._sql["claimants"], (number,)).fetchall():
            if self._aloft(owner, ticket):
                raise in_use(call)

    def _append(self, old: int, new: int) -> None:
        (start,) = self._execute(self._sql["end_of_call"], (new,)).fetchone()
        self._execute(self._sql["append_samples"], (old, new, start))
        self._execute(self._sql["append_loose"], (old, new, start))
        for reader, drawn, had in self._execute(self._sql["cursors_of_call"], (old, new)).fetchall():
            # What the reader had not come to of the new call's own samples stays to be drawn.
            for at in range(had, start):
                self._execute(self._sql["hold_position"], (reader, new, at, None, None))
            self._execute(self._sql["set_cursor"], (reader, new, start + drawn))
        self._execute(self._sql["forget_cursors"], (old,))
        self._execute(self._sql["remove_call"], (old,))

    def reset_reader(self, reader: str, statement: str) -> bool:
        """Rewind or drop the cursors of a reader; what it has in flight no longer belongs to it."""
        row = self._execute(self._sql["find_reader"], (reader,)).fetchone()
        if row is None:
            return False
        self._execute(self._sql["drop_loose"], row)
        return self._execute(self._sql[statement], row).rowcount > 0

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

    def reader_number(self, reader: str) -> int:
        """Find a reader, or add it."""
        number = self._readers.get(reader)
        if number is None:
            row = self._execute(self._sql["find_reader"], (reader,)).fetchone()
            number = row[0] if row else self._execute(self._sql["add_reader"], (reader,)).lastrowid or 0
            self._readers[reader] = number
        return number

    def _me(self) -> int:
        if self._owner is None:
            owner = Owner(self._files.owners)
            number = self._execute(self._sql["add_owner"], (owner.name,)).lastrowid or 0
            self._owner, self._owner_is_new = (number, owner), True
            for other, name in self._execute(self._sql["owners"]).fetchall():
                if other != number and not self._neighbours.alive(name):
                    self._bury(other)
        return self._owner[0]

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

    def _aloft(self, owner: int, ticket: int) -> bool:
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
