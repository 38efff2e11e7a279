"""The budget of a whole program, with its threads and its children of multiprocessing, counted in the store."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager, suppress
from functools import reduce
from typing import TYPE_CHECKING

from memollm._types.allowance import Charged
from memollm._types.locks import ForkedLock, renewed_in_children
from memollm._types.tables import cost_text, money, spent_text
from memollm._types.warn import warn
from memollm.errors import BudgetExceeded, NotCountedWarning, StoreError, UnknownCost

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from memollm._spending.accounts import Toll
    from memollm._types.allowance import Allowance
    from memollm.stores.limiting import Limiting

WAYS_OUT = (
    "Say it by memollm.used(response) inside the function, by usage= or by prices=; or limit calls instead, as in "
    "MEMOLLM_BUDGET='calls=100'."
)


class ProgramBudget:
    """What the program may spend. Setting aside asks the store, and so does all that is known to be spent."""

    def __init__(self, program: str, limiting: Limiting, wake: Callable[[], None]) -> None:
        self._program = program
        self._limiting = limiting
        self._wake = wake
        """Has `settle` called soon, by a thread of ours."""
        self._dearest: dict[str, float] = {}
        self._has_warned = False
        self._telling = ForkedLock()
        self.renew()
        _living.add(self)

    def renew(self) -> None:
        """Begin anew, in a forked child: what is under way or owed is the parent's."""
        self._aside: dict[str, list[float]] = {}
        """What was set aside for each call of a function that is under way."""
        self._owed: deque[Charged] = deque()

    def promise(self, function: str, calls: int, allowed: Allowance) -> None:
        """Set calls aside that are about to be made, or refuse them all."""
        self.settle()
        each = self._dearest.get(function, 0.0)
        spent, fits = self._limiting.charge(self._program, Charged(calls, foreseen=each * calls), allowed)
        if not fits:
            raise _exceeded(function, calls, spent, allowed)
        self._aside.setdefault(function, []).extend([each] * calls)
        if spent.unpriced and allowed.cost is not None:
            try:
                self._meet_unknown(spent, allowed)
            except BaseException:
                self.release(function, calls)
                raise

    def _meet_unknown(self, spent: Charged, allowed: Allowance) -> None:
        told = (
            f"what {cost_text(0.0, spent.unpriced).replace(' of unknown cost', '')} of this program cost is not known, "
            f"so its budget of {money(allowed.cost or 0.0)} cannot hold. {WAYS_OUT}"
        )
        if allowed.unknown == "error":
            raise UnknownCost(f"Nothing was called, for {told}")
        if allowed.unknown == "warn" and not self._has_warned:
            self._has_warned = True
            warn(f"The budget goes on, but {told}", NotCountedWarning)

    @contextmanager
    def lifted(self, function: str) -> Generator[None]:
        """Let others have the room of one call that is set aside, until it is known whether it is made at all."""
        each = self._taken(function)
        self._owed.append(Charged(-1, foreseen=-each))
        try:
            yield
        finally:
            self._aside.setdefault(function, []).append(each)
            self._owed.append(Charged(1, foreseen=each))

    def require_room(self, function: str, allowed: Allowance) -> None:
        """Refuse a call that is set aside if others have taken its room meanwhile; this asks the store."""
        self.settle()
        spent, _ = self._limiting.charge(self._program, Charged())
        if not spent.leaves_room(Charged(), allowed):
            raise _exceeded(function, 1, spent._replace(calls=spent.calls - 1), allowed)

    # What is known later is owed first: whoever is interrupted before the store knows it has told it all the same.

    def release(self, function: str, calls: int) -> None:
        """Know that calls which were set aside were not made, or raised; this waits for no lock."""
        self._owed.append(Charged(-calls, foreseen=-sum(self._taken(function) for _ in range(calls))))
        self._wake()

    def spend(self, function: str, toll: Toll) -> None:
        """Know what a call that was set aside took; `settle` tells the store."""
        cost = toll.cost or 0.0
        self._dearest[function] = max(self._dearest.get(function, 0.0), cost)
        self._owed.append(Charged(toll.calls - 1, cost, -self._taken(function), toll.unpriced))

    def _taken(self, function: str) -> float:
        try:
            return self._aside.get(function, []).pop()
        except IndexError:
            return 0.0

    def settle(self) -> None:
        """Tell the store what is known by now; what it does not take, it is told again.

        Whoever asks next is to find it there, so that this waits for another thread that is telling.
        """
        with self._telling:
            self._tell()

    def _tell(self) -> None:
        owed: list[Charged] = []
        with suppress(IndexError):
            while True:
                owed.append(self._owed.popleft())
        if not owed:
            return
        more = reduce(Charged.plus, owed)
        try:
            self._limiting.charge(self._program, more)
        except BaseException as error:
            self._owed.append(more)
            if not isinstance(error, StoreError):
                raise


def _exceeded(function: str, calls: int, spent: Charged, allowed: Allowance) -> BudgetExceeded:
    return BudgetExceeded(
        f"{calls:,} {'call' if calls == 1 else 'calls'} of {function} would exceed the budget of this program: "
        f"{_told(spent, allowed)} are spent or set aside for calls under way. Nothing was called, and the draw "
        "is open again; raise the limit (MEMOLLM_BUDGET, or budget in [tool.memollm]), or draw what is stored."
    )


def _told(spent: Charged, allowed: Allowance) -> str:
    cost = cost_text(spent.cost + spent.foreseen, spent.unpriced)
    return spent_text((spent.calls, allowed.calls), (cost, allowed.cost))


_living = renewed_in_children(ProgramBudget.renew)
