"""Thin answers: what a store need not send to who holds it already. A store may answer so or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.calls import Call

Stretches = list[tuple[int, int]]
"""Slots, as the first and last of each stretch."""


class HoldsRecords(Protocol):
    """Who holds records already."""

    def stretches(self, call: Call) -> Sequence[tuple[int, int]]:
        """Tell of which slots of a call the records may be at hand; those that are not are asked for once more."""
        ...


@runtime_checkable
class Thin(Protocol):
    """A store that answers with the `Digest` of a record where `holding` says that the record may be at hand."""

    holding: HoldsRecords | None


@runtime_checkable
class TellsEpochs(Protocol):
    """A store whose epochs are the same numbers in all processes, and change with what they tell of or not at all.

    No other cache has the same numbers, be it of the same name, a clone, or this one restored from a backup.
    """

    def lasting_epoch(self) -> int:
        """Return the epoch by which this process goes, as all processes know it; below zero where it is not told."""
        ...
