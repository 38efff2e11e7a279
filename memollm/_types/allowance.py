"""What a program may spend, and what it has."""

from __future__ import annotations

from typing import NamedTuple


class Allowance(NamedTuple):
    """What a budget allows."""

    cost: float | None = None
    """Dollars."""
    calls: int | None = None
    unknown: str = "error"
    """What is done about calls whose cost nobody knows: "error", "warn" or "ignore"."""


class Charged(NamedTuple):
    """What a program has spent, or is about to."""

    calls: int = 0
    """Calls that have returned or are set aside."""
    cost: float = 0.0
    """Dollars that calls have cost."""
    foreseen: float = 0.0
    """Dollars that are set aside for calls under way."""
    unpriced: int = 0
    """Calls whose cost nobody knows."""

    def plus(self, other: Charged) -> Charged:
        """Add up."""
        return Charged._make(map(sum, zip(self, other, strict=True)))

    def leaves_room(self, more: Charged, allowed: Allowance) -> bool:
        """Tell whether so much more may be set aside; with nothing left, not even what may cost nothing."""
        if allowed.calls is not None and self.calls + more.calls > allowed.calls:
            return False
        if allowed.cost is None:
            return True
        return self.cost < allowed.cost and self.cost + self.foreseen + more.foreseen <= allowed.cost
