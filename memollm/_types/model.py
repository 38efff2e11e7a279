"""The small types that travel between the layers: calls, places, states of slots, changes to a store."""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set as AbstractSet

EVER: Final = float("-inf")
"""As `newer_than`: a sample counts however old it is."""


ATOMS: Final = frozenset({str, int, float, bool, complex, bytes, type(None)})


def is_atomic(value: object) -> bool:
    """Tell whether a value is an immutable builtin, which may be handed out again without decoding."""
    return type(value) in ATOMS


class WouldBlock(Exception):
    """A store operation that must not wait would have to; nothing has happened."""


class Call:
    """A function together with its canonical arguments: the hash that finds it and the form that proves it."""

    __slots__ = ("form", "function", "key")

    def __init__(self, key: bytes, form: str, function: str) -> None:
        self.key = key
        self.form = form
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.form == other.form and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Call({self.function}, {self.key.hex()})"


class Want(NamedTuple):
    """What a draw asks of a store: the next `n` positions of a call for a reader."""

    call: Call
    reader: str | None
    """Without a reader there is no cursor: positions are 0 to n - 1."""
    n: int
    pool: int | None
    lane: str | None = None
    """Draws of one lane are in the order of its own program, whatever other lanes do meanwhile."""

    def slot(self, position: int) -> int:
        """Return the slot that a position reads: a pool cycles through its slots."""
        return position if self.pool is None else position % self.pool


def choose_positions(want: Want, free: Sequence[int], cursor: int) -> list[int]:
    """Choose the positions of a draw: free ones first, lowest first, then those from the cursor on.

    In a pool a free position may read the slot of a later one. It is left free then: a draw's samples are different.
    """
    chosen: list[int] = []
    for at in free:
        if len(chosen) < want.n and want.slot(at) not in map(want.slot, chosen):
            chosen.append(at)
    while True:
        ahead = range(cursor, cursor + want.n - len(chosen))
        slots = set(map(want.slot, ahead))
        kept = [at for at in chosen if want.slot(at) not in slots]
        if len(kept) == len(chosen):
            return [*chosen, *ahead]
        chosen = kept


class Place(NamedTuple):
    """A slot of a call."""

    call: Call
    slot: int


class Position(NamedTuple):
    """A place in a reader's sequence of draws of a call."""

    call: Call
    reader: str
    at: int


class Sample(NamedTuple):
    """A filled slot: the record of a real answer, when it was stored, and what making it took."""

    record: bytes
    stored: float
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """In dollars; None where nobody knows a price."""


class Mine(Enum):
    """A slot that was vacant and is now claimed by the asking draw."""

    MINE = "mine"


MINE: Final = Mine.MINE


class Busy(NamedTuple):
    """A slot that another live draw is filling: `ticket` names the draw when it is one of this process."""

    ticket: int | None


State = Sample | Mine | Busy


class Taken(NamedTuple):
    """The positions that a draw got, in ascending order or in its lane's, and the state of the slot behind each."""

    positions: Sequence[int]
    states: Sequence[State]


class Fill(NamedTuple):
    """A change: this answer fills the slot that the draw had claimed."""

    ticket: int
    place: Place
    sample: Sample


class Settle(NamedTuple):
    """A change: the draw is over. Of the positions in flight for it, those in `returned` are free, others delivered.

    `None` frees all of them, for a caller that does not know them. What is no longer in flight for the draw, because
    the reader was rewound or the draw was taken for dead, belongs to others and stays as it is.
    """

    ticket: int
    returned: Sequence[Position] | None


class Return(NamedTuple):
    """A change: this position was delivered and could not be used after all, so it is free again."""

    ticket: int
    position: Position


class Release(NamedTuple):
    """A change: the draw goes on and no longer fills this slot, whose answer was not to be kept; others may."""

    ticket: int
    place: Place


Change = Fill | Settle | Return | Release


class Stored(NamedTuple):
    """A call as it is stored, and how many samples it has."""

    call: Call
    samples: int


class Move(NamedTuple):
    """A change of key: what is stored of `old` is `new`'s from now on."""

    old: Call
    new: Call


RUNS: Final = "run:"
NAMESPACES: Final = "namespace:"
"""How the names of readers begin: a run's goes on with its id, a namespace's with its name."""


def recorder(reader: str) -> str:
    """Return under whose name it is recorded what a reader's lanes were given: all runs share one record."""
    return RUNS if reader.startswith(RUNS) else reader


class Reader(NamedTuple):
    """A reader as the store knows it: how many calls it has drawn from, and how many samples in all."""

    name: str
    calls: int
    draws: int


class Standing(NamedTuple):
    """Where a reader stands in a call."""

    next: int = 0
    """Its cursor."""
    loose: AbstractSet[int] = frozenset()
    """The positions before that which were not given: in flight, given back, or passed over."""
    lanes: Mapping[int, str] = MappingProxyType({})
    """Whose lane's the recorded positions are, in each lane's order; whether this reader was given them or not."""

    def drawn(self, lane: str | None) -> list[int]:
        """List what was given in a lane, in its order, or outside lanes."""
        positions = range(self.next) if lane is None else self.lanes
        return [at for at in positions if self.lanes.get(at) == lane and at < self.next and at not in self.loose]


class Account(NamedTuple):
    """What a count is kept for."""

    day: str
    """As 2026-11-21, in the user's time zone."""
    run: str
    namespace: str
    """Empty for draws that no namespace made."""
    function: str


class Counts(NamedTuple):
    """What was counted of draws, and what they cost and saved."""

    draws: int = 0
    """Samples given."""
    hits: int = 0
    """Those that were stored."""
    shared: int = 0
    """Those that another draw was making already."""
    paid: int = 0
    """Calls of the function that returned."""
    refused: int = 0
    """Answers that were given and not kept, because `accept` refused them."""
    failed: int = 0
    """Calls of the function that raised."""
    unpriced: int = 0
    """Calls that took tokens of a model whose price nobody knows."""
    timed: int = 0
    timed_seconds: float = 0.0
    """How many hits were timed, and what they took."""
    spent_seconds: float = 0.0
    spent_input: int = 0
    spent_output: int = 0
    spent_cost: float = 0.0
    saved_seconds: float = 0.0
    saved_input: int = 0
    saved_output: int = 0
    saved_cost: float = 0.0

    def plus(self, other: Counts) -> Counts:
        """Add up."""
        return Counts._make(map(sum, zip(self, other, strict=True)))


class Use(NamedTuple):
    """A stretch of a call's slots that was used."""

    run: str | None
    """By which run, where its cursors do not tell it."""
    call: Call
    first: int
    last: int
    at: float


class Item(NamedTuple):
    """A call in the inventory of a store."""

    handle: object
    """By which the store knows it."""
    function: str
    samples: int
    bytes: int
    """What its records and its form take."""
    made: float
    """When its first sample was stored."""
    used: float
    """When it was last counted as used, or a sample of it was stored."""


class Surveyed(NamedTuple):
    """A call that has samples, and what they are and took together."""

    call: Call
    samples: int
    bytes: int
    """Of its canonical form and its records."""
    made: float
    """When the oldest of its samples was stored."""
    used: float
    """When it was last used, as far as was noted, or filled."""
    seconds: float
    input_tokens: int
    output_tokens: int
    cost: float | None
    """In dollars; None where no sample has a price."""


class Drawn(NamedTuple):
    """A reader of a call, how many of its samples it was given, and in which lanes if any."""

    reader: str
    draws: int
    lanes: tuple[str, ...]
