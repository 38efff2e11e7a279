"""The slots behind a draw's positions: what is known of each, and what is given for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._draws.effects import Gap
from memollm._spending.accounts import HIT, MADE, NOT_KEPT, SHARED, SIMILAR
from memollm._types.calls import Call, Place, Position
from memollm._types.requests import Settle
from memollm._types.samples import Busy, Lent, Mine, Sample
from memollm._values.frame import LARGE, weight
from memollm.errors import StaleRecord

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from memollm._spending.accounts import Given
    from memollm._types.calls import Want
    from memollm._types.samples import Costs, Taken
    from memollm._values.codec import Codec


A_RECORD: Final = 64
"""Bytes that reading any record counts as, however short it is."""


class Fleeting(NamedTuple):
    """A result that is returned and never stored, because more than the call's arguments made it what it is."""

    value: Any


class Unstored(NamedTuple):
    """The state of a slot whose answer is returned and not kept."""

    value: Any
    costs: Costs
    released: bool = False
    refused: bool = False
    """`accept` has refused it."""


class Made(NamedTuple):
    """The state of a slot that this draw has filled."""

    value: Any
    sample: Sample


class Recalled(NamedTuple):
    """The state of a slot that this process has read already."""

    value: Any
    costs: Costs


Known = Sample | Mine | Busy | Made | Unstored | Recalled | Lent
Table = dict[int, Known]


def are_stored(taken: Taken) -> bool:
    """Tell whether taking has delivered: all was stored, or there was nothing."""
    return {*map(type, taken.states)} <= {Sample}


class Slots:
    """The slots of each want of a draw, in the order of its positions; wants of one call share what is known."""

    _read: dict[tuple[int, int], tuple[Any]] | None = None
    """Values that were read already, by table and slot."""

    def __init__(self, wants: Sequence[Want], taken: Sequence[Taken], *, apart: bool = False) -> None:
        """With `apart` no two wants share anything, since no store tells what they have in common."""
        self.wants = wants
        self.taken = taken
        tables: dict[Call, Table] = {}
        self.of: list[Sequence[int]] = []
        self.tables: list[Table] = []
        for want, (positions, states, _) in zip(wants, taken, strict=True):
            slots = positions if want.pool is None else [*map(want.slot, positions)]
            table = {} if apart else tables.setdefault(want.call, {})
            table.update(zip(slots, states, strict=True))
            self.of.append(slots)
            self.tables.append(table)

    def all_stored(self) -> bool:
        """Tell whether taking has delivered everything."""
        return all(map(are_stored, self.taken))

    def gaps(self, kind: type) -> list[Gap]:
        """Return the slots that are known as this kind, each once and in the order of the wants."""
        found: dict[tuple[int, int], Gap] = {}
        for index, (slots, table) in enumerate(zip(self.of, self.tables, strict=True)):
            for slot in slots:
                if type(table[slot]) is kind:
                    found.setdefault((id(table), slot), Gap(index, slot))
        return list(found.values())

    def __getitem__(self, gap: Gap) -> Known:
        return self.tables[gap.want][gap.slot]

    def __setitem__(self, gap: Gap, known: Known) -> None:
        self.tables[gap.want][gap.slot] = known

    def are_heavy(self, codec: Codec) -> bool:
        """Tell whether reading what is stored may take milliseconds."""
        room, has_key = LARGE, codec.has_key
        for table in self.tables:
            for known in table.values():
                sample = known.sample if type(known) is Lent else known
                if type(sample) is Sample:
                    room -= A_RECORD + weight(sample.record)
                    if room < 0 or (not has_key and codec.is_heavy(sample.record)):
                        return True
        return False

    def note(self, gaps: Sequence[Gap], states: Sequence[Known]) -> None:
        """Know what was found when they were looked at."""
        for gap, state in zip(gaps, states, strict=True):
            self[gap] = state

    def place(self, gap: Gap) -> Place:
        """Return where the store keeps a slot."""
        return Place(self.wants[gap.want].call, gap.slot)

    def read(self, codec: Codec) -> list[Gap]:
        """Read what is stored, so that giving it reads it no more; return what can no longer be read."""
        stale: list[Gap] = []
        self._read = read = self._read or {}
        for gap in self.gaps(Sample):
            what = id(self.tables[gap.want]), gap.slot
            if what not in read:
                try:
                    record = cast("Sample", self[gap]).record
                    read[what] = (codec.decode(record, self.wants[gap.want].call.key),)
                except StaleRecord:
                    stale.append(gap)
        return stale

    # Positions.

    def _positions(self) -> Iterator[tuple[Position, bool, Known]]:
        """Give every position of a reader, whether taking delivered it, and what is known of its slot."""
        for want, table, taken in zip(self.wants, self.tables, self.taken, strict=False):
            if want.reader is None:
                continue
            delivered = are_stored(taken)
            for at in taken.positions:
                position = Position(want.call, want.reader, at, taken.generation)
                yield position, delivered, table[want.slot(at)]

    def in_flight(self) -> list[Position]:
        """Return the positions that taking did not deliver."""
        return [position for position, delivered, _ in self._positions() if not delivered]

    def delivered(self) -> list[Position]:
        """Return those that it did."""
        return [position for position, delivered, _ in self._positions() if delivered]

    def ending(self, ticket: int) -> Settle:
        """Return how a draw ends that has given everything: positions whose answers are not kept go back.

        But in a lane what was refused has had its turn: the next draw is the next one's.
        """
        returned: list[Position] = []
        refused: list[Position] = []
        lanes = self.wants[0].lane is not None
        for position, _, known in self._positions():
            if isinstance(known, Unstored):
                (refused if lanes and known.refused else returned).append(position)
        return Settle(ticket, returned, refused=refused)

    def kept(self) -> list[Position]:
        """Return those whose answers are."""
        return [position for position, _, known in self._positions() if not isinstance(known, Unstored)]

    # What is given.

    def values(self, codec: Codec) -> list[Any]:
        """Give each position an object of its own."""
        given: set[tuple[int, int]] = set()
        return [
            self._value(codec, want.call, table, slot, given)
            for want, slots, table in zip(self.wants, self.of, self.tables, strict=True)
            for slot in slots
        ]

    def _value(self, codec: Codec, call: Call, table: Table, slot: int, given: set[tuple[int, int]]) -> Any:
        known = table[slot]
        if type(known) is Sample:
            # What was read is given once; another position's is an object of its own.
            read = self._read.pop((id(table), slot), None) if self._read else None
            return codec.decode(known.record, call.key) if read is None else read[0]
        if type(known) is Lent:
            return codec.decode(known.sample.record, known.of.key)
        if isinstance(known, Made) and (id(table), slot) in given:
            return codec.decode(known.sample.record, call.key)
        given.add((id(table), slot))
        # What could not be stored is all there is.
        return cast("Made | Unstored | Recalled", known).value

    def given(self, awaited: Collection[Gap], begin: float, took: float = 0.0) -> list[Given]:
        """Return a note of each sample, for the books; `took` is what giving one took, if that was timed."""
        return [
            note_of(want, slot, table[slot], begin, took, shared=Gap(index, slot) in awaited)
            for index, (want, slots, table) in enumerate(zip(self.wants, self.of, self.tables, strict=True))
            for slot in slots
        ]


def note_of(want: Want, slot: int, known: Known, begin: float, took: float = 0.0, *, shared: bool = False) -> Given:
    """Return a note of a sample that was asked for at a moment, for the books."""
    call, lane = want.call, want.lane
    if isinstance(known, Made):
        return (call, slot, known.sample[2:], 0.0, MADE, begin, lane)
    if isinstance(known, Unstored):
        return (call, slot, known.costs, 0.0, MADE, NOT_KEPT, lane)
    if isinstance(known, Lent):
        return (known.of, 0, known.sample[2:], took, SIMILAR, begin, lane, known)
    costs = known[2:] if isinstance(known, Sample) else cast("Recalled", known).costs
    return (call, slot, costs, took, SHARED if shared else HIT, begin, lane)
