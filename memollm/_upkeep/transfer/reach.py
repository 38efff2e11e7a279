"""Records that stand in a bucket: what is taken out of a cache without those that could not be had."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from memollm._types.references import is_reference, read_reference
from memollm._types.samples import Absent
from memollm._types.tables import counted
from memollm._types.warn import warn
from memollm.errors import MemollmWarning, StoreRefused

if TYPE_CHECKING:
    from memollm._types.samples import Sample


class Reach:
    """Tells which samples have lost their objects; refuses what is only out of this program's reach."""

    def __init__(self) -> None:
        self.lost = 0
        self._first = ""

    def has(self, sample: Sample) -> bool:
        """Tell whether a record is at hand; raise if it is in a bucket that is not named, or does not answer."""
        record = sample.record
        if type(record) is Absent:
            if record.error.__cause__ is not None:
                raise record.error
            self.lost += 1
            self._first = self._first or str(record.error)
            return False
        # Damage may have left a text or a number there.
        if isinstance(cast("object", record), bytes) and is_reference(record):
            place = read_reference(record).place
            raise StoreRefused(
                f"Large samples of this cache stand in the bucket {place}, which this program has not named, and "
                f"cannot be taken out without it: give the cache tier={place!r}, or set MEMOLLM_TIER."
            )
        return True

    def warn(self) -> None:
        """Say what was left out, and why."""
        if self.lost:
            warn(
                f"{counted(self.lost, 'sample')} had to be left out, whose objects are not in the bucket (verify lists "
                f"them). Of the first: {self._first} If they stand elsewhere, put them back and do this again.",
                MemollmWarning,
            )
