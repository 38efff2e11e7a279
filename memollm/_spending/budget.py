"""Budgets: how many calls, or how much money, the draws of a block may take."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from memollm._types.locks import ForkedLock
from memollm._types.tables import cost_text, spent_text
from memollm._types.warn import warn
from memollm.errors import BudgetExceeded, NotCountedWarning, UnknownCost

if TYPE_CHECKING:
    from collections.abc import Generator

    from memollm._spending.accounts import Toll

UNKNOWN: Final = ("error", "warn", "ignore")
"""What a limit of dollars may do about a call of unknown cost."""


class Budget:
    """What may be spent and what has been, in this process."""

    def __init__(self, *, cost: float | None, calls: int | None, unknown: str = "error") -> None:
        self.limit_cost = cost
        self.unknown = unknown
        """What is done about calls whose cost nobody knows: "error", "warn" or "ignore"."""
        self.unpriced = 0
        """Calls whose cost nobody knows."""
        self._unpriced_of: str | None = None
        self.limit_calls = calls
        self.cost = 0.0
        """Dollars that calls have cost."""
        self.calls = 0
        """Calls that have returned."""
        self._under_way = 0
        self._dearest: dict[str, float] = {}
        self._promised: dict[str, int] = {}
        self._released: deque[tuple[str, int]] = deque()
        """What was set aside and is not needed after all."""
        self._lock = ForkedLock()

    def __repr__(self) -> str:
        return f"<budget {self}>"

    def __str__(self) -> str:
        return spent_text((self.calls, self.limit_calls), (cost_text(self.cost, self.unpriced), self.limit_cost))

    def promise(self, function: str, calls: int) -> None:
        """Set calls aside that are about to be made, or refuse them all."""
        if self.limit_cost is not None and self._unpriced_of is not None:
            self._meet_unknown(self._unpriced_of, self.limit_cost)
        with self._lock:
            while self._released:
                self._put_back(*self._released.popleft())
            if self.limit_calls is not None and self.calls + self._under_way + calls > self.limit_calls:
                raise self._exceeded(function, calls)
            if self.limit_cost is not None and self._foreseen(function, calls) > self.limit_cost:
                raise self._exceeded(function, calls)
            self._under_way += calls
            self._promised[function] = self._promised.get(function, 0) + calls

    def _meet_unknown(self, function: str, limit: float) -> None:
        """Refuse to go on, or say once, that what was spent is not known any more."""
        told = (
            f"what a call of {function} cost is not known, so memollm.budget(cost={limit:g}) cannot hold. Say it by "
            "memollm.used(response) inside the function, by usage= or by prices=; or limit calls= instead"
        )
        if self.unknown == "error":
            raise UnknownCost(f'Nothing was called, for {told}. budget(..., unknown="warn") goes on all the same.')
        self._unpriced_of = None
        if self.unknown == "warn":
            self.unknown = "ignore"
            warn(f"The budget goes on, but {told}.", NotCountedWarning)

    def _foreseen(self, function: str, calls: int) -> float:
        """Guess what will have been spent: a call that is under way or to come costs what the dearest so far did."""
        promised = {**self._promised, function: self._promised.get(function, 0) + calls}
        foreseen = self.cost + sum(self._dearest.get(name, 0.0) * number for name, number in promised.items())
        # With nothing left, not even a call of unknown cost is made.
        return foreseen if self.limit_cost is None or self.cost < self.limit_cost else float("inf")

    def _exceeded(self, function: str, calls: int, *, own: int = 0) -> BudgetExceeded:
        """Say what is spent; of those that are set aside so many are the calls that are refused."""
        others = self._under_way - own
        under_way = f", {others} more under way" if others else ""
        more = "1 call" if calls == 1 else f"{calls} calls"
        return BudgetExceeded(
            f"{more} of {function} would exceed the budget: {self} are spent{under_way}. Nothing was called, and the "
            "draw is open again; raise the limit of memollm.budget(...), or draw what is stored."
        )

    @contextmanager
    def lifted(self, function: str) -> Generator[None]:
        """Let others have the room of one call that is set aside, until it is known whether it is made at all."""
        self.release(function, 1)
        try:
            yield
        finally:
            self.release(function, -1)

    def require_room(self, function: str) -> None:
        """Refuse a call that is set aside if others have taken its room meanwhile."""
        with self._lock:
            while self._released:
                self._put_back(*self._released.popleft())
            if self.limit_calls is not None and self.calls + self._under_way > self.limit_calls:
                raise self._exceeded(function, 1, own=1)
            if self.limit_cost is not None and self._foreseen(function, 0) > self.limit_cost:
                raise self._exceeded(function, 1, own=1)

    def release(self, function: str, calls: int) -> None:
        """Know that calls which were set aside were not made, or raised.

        This may be a garbage collection in the middle of anything, so it waits for no lock.
        """
        self._released.append((function, calls))

    def spend(self, function: str, toll: Toll) -> None:
        """Know what a call that was set aside took."""
        with self._lock:
            self._put_back(function, 1)
            self.calls += toll.calls
            self.cost += toll.cost or 0.0
            self.unpriced += toll.unpriced
            # A part of a call says so, too, that another draw counts.
            if toll.cost is None and self.unknown != "ignore":
                self._unpriced_of = function
            self._dearest[function] = max(self._dearest.get(function, 0.0), toll.cost or 0.0)

    def _put_back(self, function: str, calls: int) -> None:
        self._under_way -= calls
        self._promised[function] -= calls
