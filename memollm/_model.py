"""The small types that travel between the layers: calls, places, states of slots, changes to a store."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """A filled slot: the record of a real answer, and when it was stored."""

    record: bytes
    stored: float


class Mine(Enum):
    """A slot that was vacant and is now claimed by the asking draw."""

    MINE = "mine"


MINE: Final = Mine.MINE


class Busy(NamedTuple):
    """A slot that another live draw is filling: `ticket` names the draw when it is one of this process."""

    ticket: int | None


State = Sample | Mine | Busy


class Taken(NamedTuple):
    """The positions that a draw got, in ascending order, and the state of the slot behind each."""

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


class Reader(NamedTuple):
    """A reader as the store knows it: how many calls it has drawn from, and how many samples in all."""

    name: str
    calls: int
    draws: int
