"""What is counted of draws, and which samples were used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memollm._types.calls import Call


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
    made: int = 0
    """Those that calls of the draw itself have made: draws are hits, shared, made and similar."""
    paid: int = 0
    """Calls of the function that returned."""
    refused: int = 0
    """Answers that were given and not kept, because `accept` refused them."""
    failed: int = 0
    """Calls of the function that raised."""
    unstored: int = 0
    """Answers that were given and are not kept, for whatever reason; those that were refused among them."""
    unpriced: int = 0
    """Calls whose cost nobody knows; it is missing in `spent_cost`."""
    timed: int = 0
    timed_seconds: float = 0.0
    """How many hits were timed, and what they took."""
    spent_seconds: float = 0.0
    """Time in which calls were in flight, shared by those in flight at once; also of those that raised."""
    spent_input: int = 0
    spent_output: int = 0
    spent_cost: float = 0.0
    saved_seconds: float = 0.0
    saved_input: int = 0
    saved_output: int = 0
    saved_cost: float = 0.0
    saved_unpriced: int = 0
    """Samples given again of whose making nobody knows the cost; it is missing in `saved_cost`."""

    @property
    def similar(self) -> int:
        """Those that a similar call has lent: whatever else a draw may be, it is counted as that."""
        return self.draws - self.hits - self.shared - self.made

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


class DrawnStretch(NamedTuple):
    """A stretch of a call's slots that a run was given one after the other, with nothing in between."""

    run: str
    namespace: str
    """As which it drew; empty for the run itself."""
    lane: str
    """Empty outside of lanes."""
    call: Call
    first: int
    last: int
    at: float
    """When the first of them was asked for."""
