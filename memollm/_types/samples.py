"""Samples, and the states in which a draw finds slots."""

from __future__ import annotations

import hashlib
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


class Sample(NamedTuple):
    """A filled slot: the record of a real answer, when it was stored, and what making it took."""

    record: bytes
    stored: float
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """In dollars; None where nobody knows a price."""


class Replaced(NamedTuple):
    """A sample that another one took the slot of: what is left to know it by."""

    slot: int
    stored: float
    digest: bytes
    """Of its record."""


def digest_of(record: bytes) -> bytes:
    """Return what a record is known by where it is not at hand itself."""
    return hashlib.blake2b(record, digest_size=16).digest()


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
    generation: int = 0
    """Of the cursor that gave the positions."""
