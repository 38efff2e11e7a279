"""Samples, and the states in which a draw finds slots."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._types.hashing import sha256
from memollm._types.references import is_reference

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Call

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
    """Its share of the time in which calls of its process were in flight."""
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float | None = None
    """In dollars; None where nobody knows a price."""
    latency: float = 0.0
    """How long the call ran that has made it."""


Costs = tuple[float, int, int, float | None, float]
"""What making a sample took, as it stands beside its record."""
NOTHING_TOOK: Final[Costs] = (0.0, 0, 0, None, 0.0)
NUMBERS: Final = frozenset({float, int})
MOST: Final = 1 << 62
"""What every store can count to."""
LAST_SLOT: Final = 1 << 40
"""Past every slot that is filled."""
LAST_MOMENT: Final = 253_370_764_800
"""Seconds since 1970 past which no calendar goes."""


def costs_of(sample: Sequence[Any]) -> Costs:
    """Return what making a sample took; nothing, where somebody has written something else there."""
    seconds, input_tokens, output_tokens, cost, latency = sample
    if _is_duration(seconds) and _is_duration(latency) and type(input_tokens) is int and type(output_tokens) is int:
        is_taken = 0 <= input_tokens < MOST and 0 <= output_tokens < MOST
        if is_taken and (cost is None or (type(cost) in NUMBERS and -MOST < cost < MOST)):
            return (seconds, input_tokens, output_tokens, cost, latency)
    return NOTHING_TOOK


def _is_duration(value: Any) -> bool:
    return type(value) in NUMBERS and 0 <= value < LAST_MOMENT


def is_sound(slot: object, sample: Sample) -> bool:
    """Tell whether what stands beside a record can be what we have written."""
    took, stored = sample[2:], sample.stored
    is_placed = type(slot) is int and 0 <= slot < LAST_SLOT and type(stored) in NUMBERS and 0 <= stored < LAST_MOMENT
    return is_placed and (costs_of(took) is not NOTHING_TOOK or took == NOTHING_TOOK)


def cleaned(slot: int, sample: Sample) -> Sample:
    """Return a sample without what cannot be so that stands beside its record."""
    if is_sound(slot, sample):
        return sample
    stored = sample.stored if is_sound(slot, Sample(sample.record, sample.stored)) else 0.0
    return Sample(sample.record, stored, *costs_of(sample[2:]))


class Replaced(NamedTuple):
    """A sample that another one took the slot of: what is left to know it by."""

    slot: int
    stored: float
    digest: bytes
    """Of its record."""


def digest_of(record: bytes) -> bytes:
    """Return what a record is known by where it is not at hand itself; a reference to it says the same."""
    if not isinstance(cast("object", record), bytes):
        # Damage may have left a text or a number there, which is to be replaced all the same.
        record = repr(record).encode()
    if is_reference(record):
        return record[3:19]
    # One that a server can make, too.
    return sha256(record).digest()[:16]


class Digest(bytes):
    """What stands in the place of a record that was not sent, because whoever asked holds it: its digest."""

    __slots__ = ()


class Absent(bytes):
    """What stands in the place of a record that could not be had; who reads it is told why."""

    error: Exception


class Lent(NamedTuple):
    """What a draw is given in the place of a sample of its own call: that of another, which was found to be similar."""

    sample: Sample
    of: Call
    """Whose sample it is."""
    asked: Call
    """Whose draw was given it."""
    score: float
    texts: tuple[str, str]
    """Those that were compared: of the call that was asked for, and of the other."""
    passed: tuple[str, ...] = ()
    """What else they agreed in."""
    by: object = None
    """What has found it: whoever looks by another rule may not be given it."""

    @property
    def stored(self) -> float:
        """When the sample was."""
        return self.sample.stored


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
