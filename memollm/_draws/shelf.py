"""The shelf: what this process has read already of calls that give one sample for ever."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._spending.accounts import HIT, SOME_TIME
from memollm._types.samples import is_atomic
from memollm._values.frame import LARGE, weight

if TYPE_CHECKING:
    from memollm._spending.accounts import Given
    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm._values.codec import Codec

ENTRIES: Final = 10_000
BYTES: Final = 64 << 20


class OnShelf(NamedTuple):
    """The first sample of a call as it was read, as of an epoch of the store."""

    epoch: int
    stored: float
    value: Any
    """The value itself where it cannot be changed, else its record."""
    is_record: bool
    given: Given
    """The note for the books when it is given."""

    def value_by(self, codec: Codec) -> Any:
        """Return an object of the caller's own."""
        return codec.decode(self.value, self.given[0].key) if self.is_record else self.value


class FirstSamples:
    """First samples by their calls' forms, as long as nothing that is stored was replaced."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what was read."""
        self.of: dict[str, OnShelf] = {}
        """By the form of the call."""
        self._bytes = 0

    def size(self) -> tuple[int, int]:
        """Tell how many samples are remembered, and how many bytes their records and forms have."""
        return len(self.of), self._bytes

    def get(self, call: Call, newer_than: float, epoch: int) -> OnShelf | None:
        """Return the first sample of a call if it was read here and nothing was replaced since."""
        found = self.of.get(call.form)
        if found is not None and found.epoch == epoch and found.stored > newer_than:
            return found
        return None

    def put(self, call: Call, value: Any, sample: Sample, epoch: int | None) -> None:
        """Remember the first sample of a call, read no earlier than in the given epoch."""
        if epoch is None or epoch < 0:
            # The store was not open then.
            return
        if len(self.of) >= ENTRIES or self._bytes > BYTES:
            self.clear()
        atomic = is_atomic(value)
        if not atomic and weight(sample.record) > LARGE:
            # What takes its time is read again where somebody can wait for it.
            return
        given = (call, 0, sample[2:], 0.0, HIT, SOME_TIME, None)
        self.of[call.form] = OnShelf(epoch, sample.stored, value if atomic else sample.record, not atomic, given)
        self._bytes += len(sample.record) + len(call.form)
