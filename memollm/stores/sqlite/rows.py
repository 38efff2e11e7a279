"""What one transaction of a SQLite store runs its statements on, and the numbers of what they name."""

from __future__ import annotations

import time
from itertools import cycle
from typing import TYPE_CHECKING, Final

from memollm._types.calls import Call, Position, recorder, resumed, walked
from memollm.stores.sqlite.sql import statements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from sqlite3 import Cursor

    from memollm.stores.sqlite.link import Link

REMEMBERED: Final = 100_000
"""How many calls a process remembers the numbers of."""


class Rows:
    """Runs statements on the connection that holds the write lock, and knows calls, readers and lanes by number."""

    def __init__(self, link: Link) -> None:
        self._sql = statements()
        # They are cleared and never replaced: the hot path looks into them by itself.
        self.calls: dict[str, int] = {}
        """By canonical form."""
        self.readers: dict[str, tuple[int, int]] = {}
        """The number of a reader, and under whose number it is recorded what its lanes were given."""
        self._resuming: dict[str, tuple[int, int]] = {}
        """The same of readers that resume others, which go no short ways."""
        self._lanes: dict[str, int] = {}
        self.undo: list[int | Callable[[], object]] = []
        """How this process forgets what the transaction that is under way has made it know, if it is undone."""
        self.use(link)

    def use(self, link: Link) -> None:
        """Go on with connections that were opened anew."""
        self.link = link
        self.execute = link.execute
        self.forget()

    def do(self, statement: str, *values: object) -> Cursor:
        """Run a statement; the next one ends it."""
        return self.execute(self._sql[statement], values)

    def forget(self) -> None:
        """Forget all numbers: something was removed by whichever process, or the giving of numbers was undone."""
        self.calls.clear()
        self.readers.clear()
        self._resuming.clear()
        self._lanes.clear()

    # Calls.

    def call_number(self, call: Call) -> int:
        """Find a call by its hash and its form, or add it."""
        return self.known_call(call) or self.add_call(call)

    def known_call(self, call: Call) -> int | None:
        """Find a call by its hash and its form, if it is not remembered."""
        number = self.calls.get(call.form)
        if number is None and (number := self.find_call(call)) is not None:
            self._remember(call, number)
        return number

    def _remember(self, call: Call, number: int) -> None:
        if len(self.calls) >= REMEMBERED:
            self.calls.clear()
        self.calls[call.form] = number

    def find_call(self, call: Call) -> int | None:
        """Find a call by its hash and its form: of two calls with one hash, each has its own number."""
        rows = self.do("calls_of_key", call.key).fetchall()
        return next((number for number, form in rows if form == call.form), None)

    def add_call(self, call: Call) -> int:
        """Give a number to a call that has none."""
        number = self.do("add_call", call.key, call.function, call.form, time.time()).lastrowid or 0
        self._remember(call, number)
        return number

    # Readers and lanes.

    def reader_numbers(self, reader: str) -> tuple[int, int]:
        """Find a reader and the one under whom its lanes are recorded, or add them."""
        known = self._resuming if resumed(reader) else self.readers
        numbers = known.get(reader)
        if numbers is None:
            number = self.find_reader(reader) or self.do("add_reader", reader).lastrowid or 0
            whose = recorder(reader)
            numbers = known[reader] = number, number if whose == reader else self.reader_numbers(whose)[0]
        return numbers

    def find_reader(self, reader: str) -> int | None:
        """Find a reader."""
        row = self.do("find_reader", reader).fetchone()
        return None if row is None else int(row[0])

    def lane_number(self, lane: str) -> int:
        """Find a lane, or add it."""
        number = self._lanes.get(lane)
        if number is None:
            row = self.do("find_lane", lane).fetchone()
            number = self._lanes[lane] = int(row[0] if row else self.do("add_lane", lane).lastrowid or 0)
        return number

    def numbers_of(self, position: Position) -> tuple[int | None, int | None, int]:
        """Give the numbers of a position, adding nothing: what is gone has no number, and no row matches it."""
        return self.find_reader(position.reader), self.find_call(position.call), position.at

    def add_rounds(self, numbers: tuple[int, int, int], order: Sequence[str], cursor: int, rounds: int) -> int:
        """Record so many more positions for each lane of an order, in turn, and keep them free for these.

        The numbers are the reader's, its recorder's and the call's. Return where the cursor stands then.
        """
        reader, recorded, call = numbers
        ahead = range(cursor, cursor + rounds * len(order))
        for at, lane in zip(ahead, cycle(map(self.lane_number, order)), strict=False):
            self.do("record_lane", recorded, call, at, lane)
            self.do("pass_over", reader, call, at)
        self.do("advance", reader, call, ahead.stop)
        return ahead.stop

    # What several kinds of work do.

    def reserve(self, call: int, cursor: int, reader: int, recorded_by: int) -> int:
        """Pass over what is recorded for lanes from the cursor on; return where the cursor stands then.

        What lies between is free for anybody, and what is recorded is free for its lane.
        """
        (end,) = self.do("end_of_lanes", recorded_by, call).fetchone()
        if end is None or end <= cursor:
            return cursor
        for at in walked(cursor, end):
            self.do("pass_over", reader, call, at)
        self.do("advance", reader, call, end)
        return int(end)
