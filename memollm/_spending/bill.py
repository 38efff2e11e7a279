"""The bill of a draw: what its calls took, and the budgets, books and watchers that are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memollm._spending.accounts import Told, Toll
from memollm._spending.prices import price
from memollm._spending.usage import Usage, usages_of_call
from memollm._types.warn import warn
from memollm.errors import NotCountedWarning, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._spending.accounts import Books
    from memollm._spending.budget import Budget
    from memollm._spending.meter import Meter
    from memollm._spending.program import ProgramBudget
    from memollm._spending.track import Watcher
    from memollm._types.allowance import Allowance
    from memollm._types.counting import Counts

A_LITTLE: Final = Usage(1, 1)
"""What costs nothing only where nothing does."""
MOST_TOKENS: Final = 10**12
"""Far more than a call takes, and so few that the sums of many calls are numbers that a store can hold."""


class Bill:
    """What the calls of one draw are counted against."""

    def __init__(
        self,
        function: str,
        books: Books,
        watchers: Sequence[Watcher] = (),
        budgets: Sequence[Budget] = (),
        program: ProgramBudget | None = None,
    ) -> None:
        self._function = function
        self._books = books
        self._watchers = watchers
        self._budgets = budgets
        self._program = program
        self._is_charged = False
        """Whether the program's budget has set aside what the others have."""
        self._promised: list[None] = []
        """One for each call that the budgets have set aside; a list, since several threads may take from it."""

    def promise(self, calls: int) -> None:
        """Set calls aside in every budget, or in none."""
        for index, budget in enumerate(self._budgets):
            try:
                budget.promise(self._function, calls)
            except BaseException:
                for earlier in self._budgets[:index]:
                    earlier.release(self._function, calls)
                raise
        self._promised += [None] * calls

    def charge(self, calls: int, allowed: Allowance) -> None:
        """Set calls aside in the program's budget, too; this asks the store."""
        if self._program is not None:
            self._program.promise(self._function, calls, allowed)
            self._is_charged = True

    def know_called(self) -> None:
        """Know that a call was made before anybody asked the budgets: they count it all the same."""
        self._is_charged = True

    def put_back(self) -> None:
        """Give one call back to the budgets, unless all were: a draw may come to nothing before its calls end."""
        if self._took_one():
            self._release(1)

    def put_back_all_but(self, calls: int) -> None:
        """Give back every call that has not ended, but so many that go on."""
        while len(self._promised) > calls and self._took_one():
            self._release(1)

    def _took_one(self) -> bool:
        try:
            self._promised.pop()
        except IndexError:
            return False
        return True

    def _release(self, calls: int) -> None:
        for budget in self._budgets:
            budget.release(self._function, calls)
        if self._program is not None and self._is_charged:
            self._program.release(self._function, calls)

    def spend(self, toll: Toll) -> None:
        """Count what a call took."""
        if not self._took_one():
            # The draw has come to nothing and gave it back, and the call returned all the same.
            self._release(-1)
        for budget in self._budgets:
            budget.spend(self._function, toll)
        if self._program is not None:
            self._program.spend(self._function, toll)
        self.happened(toll.counts())

    def happened(self, counts: Counts) -> None:
        """Count what happened besides."""
        self._books.spend(self._function, counts)
        for watcher in self._watchers:
            watcher.spent(counts)


def told_of(
    meter: Meter,
    returned: Any,
    results: Sequence[Any],
    *,
    function: str,
    usage: Callable[[Any], object] | None,
    prices: Mapping[str, object] | None,
) -> Told:
    """Find out what a call took. It never raises: an answer must not be lost because its price is unknown."""
    unknown = Toll(1, round(meter.seconds, 6), unpriced=1, latency=round(meter.latency, 6))
    try:
        found = usages_of_call(returned, results, usage, meter.notes)
        if not found:
            # No tokens are known, so neither is what it cost, unless every price is zero.
            return Told(unknown._replace(cost=0.0, unpriced=0) if price(A_LITTLE, prices) == 0 else unknown)
        tokens = sum(each.input_tokens for each in found), sum(each.output_tokens for each in found)
        _require_countable(*tokens)
        costs = [price(each, prices) for each in found]
    except Exception as error:  # noqa: BLE001 - the user's function, or prices
        return Told(unknown, _not_counted(function, error))
    # A sum of which a part is not known is not known.
    cost = None if None in costs else sum(filter(None, costs))
    return Told(Toll(1, unknown.seconds, *tokens, cost, int(cost is None), unknown.latency))


def _require_countable(into: int, out: int) -> None:
    """Refuse tokens that no store could count: they are another thing, or somebody's mistake."""
    tokens = max(into, out)
    if tokens > MOST_TOKENS:
        raise OptionError(f"{tokens:,} tokens are told, and no call takes more than {MOST_TOKENS:,}. Mend usage=.")


def _not_counted(function: str, error: Exception) -> NotCountedWarning | None:
    """Warn that nobody knows what a call took; return the warning where warnings are errors."""
    try:
        reason = str(error)
    except Exception:  # noqa: BLE001 - an error of the user's may raise even here
        reason = type(error).__name__
    try:
        warn(
            f"What a call of {function} took could not be told, so its cost counts as unknown: {reason}",
            NotCountedWarning,
        )
    except NotCountedWarning as warning:
        return warning
    return None
