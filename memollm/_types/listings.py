"""What a store lists of itself, and what is moved in it."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from memollm._types.calls import walked

if TYPE_CHECKING:
    from collections.abc import Mapping, Set as AbstractSet

    from memollm._types.calls import Call


class Stored(NamedTuple):
    """A call as it is stored, and how many samples it has."""

    call: Call
    samples: int


class Move(NamedTuple):
    """A change of key: what is stored of `old` is `new`'s from now on."""

    old: Call
    new: Call


class ListedReader(NamedTuple):
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
        positions = walked(0, self.next) if lane is None else self.lanes
        return [at for at in positions if self.lanes.get(at) == lane and at < self.next and at not in self.loose]


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


class ReaderOfCall(NamedTuple):
    """A reader of a call, how many of its samples it was given, and in which lanes if any."""

    reader: str
    draws: int
    lanes: tuple[str, ...]
