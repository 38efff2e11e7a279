"""What a stream leaves behind: its chunks as one sample, how they are recorded, and how a sample is read as chunks."""

from __future__ import annotations

import copy
from typing import Any, Final, NamedTuple

from memollm._types.samples import is_atomic
from memollm.errors import DamagedRecord, ReplayedStream

CHUNKS: Final = "chunks"
RETURNED: Final = "returned"


class Recording:
    """A stream as it is heard."""

    __slots__ = ("_chunks", "asked", "sample", "steered")

    def __init__(self) -> None:
        self._chunks: list[Any] = []
        self.asked = 0.0
        """When the function was called."""
        self.steered = False
        """Whether its reader has told it anything, which then made it what it is."""
        self.sample: Any = None

    def hear(self, chunk: Any) -> None:
        """Keep a chunk as it is now, whatever its reader does to it."""
        self._chunks.append(chunk if is_atomic(chunk) else _copied(chunk))

    def ended(self, returned: Any) -> Any:
        """Return the sample: the list of chunks, and what the generator returned if it was anything."""
        whole = self._chunks if returned is None else {CHUNKS: self._chunks, RETURNED: returned}
        self.sample = whole
        return whole


def _copied(chunk: Any) -> Any:
    try:
        return copy.deepcopy(chunk)
    except Exception:  # noqa: BLE001 - whether it can be stored is for the codec to say.
        return chunk


class Heard(NamedTuple):
    """A sample, read as a stream."""

    chunks: list[Any]
    returned: Any


def heard(sample: Any) -> Heard:
    """Read a sample as a stream."""
    if sample.__class__ is list:
        return Heard(sample, None)
    if sample.__class__ is dict and sample.keys() == {CHUNKS, RETURNED}:
        return Heard(sample[CHUNKS], sample[RETURNED])
    raise DamagedRecord(
        f"A stored sample of a generator function holds no chunks but a {type(sample).__qualname__}: the function was "
        "no generator function when it was made. Give it another version=, or forget the call."
    )


def require_untold(told: object) -> None:
    """Refuse to take part in a conversation that is over."""
    if told is not None:
        raise ReplayedStream(
            f"{told!r} was sent into a stream that is replayed from the store, which cannot answer. Call the "
            "undecorated function (.__wrapped__) where you send."
        )
