"""What a memory store holds, and the lock under which it is read and changed."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import Call, Place, Position, recorder, walked
from memollm._types.locks import ThreadLock
from memollm.stores.flights import Flights
from memollm.stores.memory.vectors import MemoryVectors
from memollm.stores.repeats import Repeats

if TYPE_CHECKING:
    from memollm._types.allowance import Charged
    from memollm._types.calls import Want
    from memollm._types.counting import Account, Counts
    from memollm._types.samples import Replaced, Sample
    from memollm.stores.transfer import Stretch


def _new_generation() -> int:
    return 1 + secrets.randbits(62)


REFUSED: Final = 0
"""In the place of a ticket: the answer was given and not kept, and this lane goes on after it."""


@dataclass(slots=True)
class MemoryCursor:
    """How far a reader has drawn a call, and its positions that are free (`None`), refused, or in flight (a ticket)."""

    next: int = 0
    loose: dict[int, int | None] = field(default_factory=dict[int, int | None])
    generation: int = field(default_factory=_new_generation)


class MemoryContent:
    """All that is kept."""

    def __init__(self) -> None:
        self.flights = Flights()
        self.begin_process()
        self.epoch = 0
        self.samples: dict[Call, dict[int, Sample]] = {}
        self.claims: dict[Place, int] = {}
        self.cursors: dict[str, dict[Call, MemoryCursor]] = {}
        self.recorded: dict[tuple[str, Call], dict[int, str]] = {}
        """By recorder and call, whose lane's each position is, in the order of recording."""
        self.counts: dict[Account, Counts] = {}
        self.charged: dict[str, Charged] = {}
        """What programs that have a budget have spent."""
        self.used: dict[Call, float] = {}
        self.stretches: dict[Call, set[Stretch]] = {}
        self.replaced: dict[Call, set[Replaced]] = {}
        self.counted: Repeats[None] = Repeats()
        self.vectors = MemoryVectors()
        self.catalog: dict[str, dict[str, dict[str, Any]]] = {}

    def begin_process(self) -> None:
        """Begin anew: whoever held the lock is in the parent, and will never let go of it here."""
        lock = ThreadLock()
        self.lock, self.mine = lock.lock, lock.mine

    def holds(self, ticket: int | None) -> bool:
        """Tell whether a loose position is not free."""
        return ticket is not None and self.flights.holds(ticket)

    def is_free(self, ticket: int | None) -> bool:
        """Tell whether a loose position is free for its lane, or for all."""
        return ticket != REFUSED and not self.holds(ticket)

    def is_claimed(self, place: Place) -> bool:
        """Tell whether somebody is filling a slot."""
        return self.flights.aloft(self.claims.get(place, 0))

    def cursor_of(self, position: Position) -> MemoryCursor | None:
        """Return the cursor that gave a position, if it is still there."""
        cursor = self.cursors.get(position.reader, {}).get(position.call)
        return cursor if cursor is not None and cursor.generation == position.generation else None

    def is_forgotten(self, position: Position) -> bool:
        """Tell whether a position is of a sequence that was forgotten meanwhile: the one that follows it is below 0."""
        cursor = self.cursors.get(position.reader, {}).get(position.call)
        return cursor is not None and cursor.generation < 0 and cursor.generation != position.generation

    def recorded_for(self, reader: str, call: Call) -> dict[int, str]:
        """Return whose lane's the positions of a call are for a reader."""
        return self.recorded.setdefault((recorder(reader), call), {})

    def add_rounds(self, want: Want, cursor: MemoryCursor, recorded: dict[int, str], rounds: int) -> None:
        """Record so many more positions for each lane of an order, in turn, and keep them free for these."""
        ahead = range(cursor.next, cursor.next + rounds * len(want.order))
        # In this order, an interrupt leaves positions that are free for whoever comes.
        cursor.loose.update(dict.fromkeys(ahead))
        cursor.next = ahead.stop
        recorded.update(zip(ahead, cycle(want.order), strict=False))

    def end_of_lanes(self, call: Call) -> int:
        """Return the first position that no lane of a call has reached."""
        return max((at + 1 for (_, of), recorded in self.recorded.items() if of == call for at in recorded), default=0)

    def resuming(self, reader: str, of: str, call: Call) -> MemoryCursor:
        """Return the cursor of a reader that has what another was given when it was made."""
        cursors = self.cursors.setdefault(reader, {})
        if call not in cursors:
            theirs = self.cursors.get(of, {}).get(call, MemoryCursor())
            given = [at for at in walked(0, theirs.next) if at not in theirs.loose]
            cursors[call] = MemoryCursor(theirs.next, dict.fromkeys(given))
        return cursors[call]

    def reserve(self, cursor: MemoryCursor, reader: str, call: Call) -> None:
        """Pass over what is recorded for lanes from the cursor on."""
        end = max(self.recorded.get((recorder(reader), call), {}), default=-1) + 1
        cursor.loose.update(dict.fromkeys(walked(cursor.next, end)))
        cursor.next = max(cursor.next, end)
