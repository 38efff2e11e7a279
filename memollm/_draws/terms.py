"""The terms of a draw: what its function's options and the context managers around it say."""

from __future__ import annotations

from logging import DEBUG
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._spending.accounts import HIT, SHARED, Given, Told, Toll, counts_of
from memollm._spending.prices import price
from memollm._spending.track import LOG, DrawEvent, is_logged
from memollm._spending.usage import Usage, of_call
from memollm._types.counting import Counts
from memollm._types.samples import EVER
from memollm._types.warn import warn
from memollm.errors import NotCountedWarning, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._draws.states import Rules
    from memollm._types.calls import Call
    from memollm.stores.base import Store

    ExplainMiss = Callable[[Store, Call, int], str]
    from memollm._spending.accounts import Books
    from memollm._spending.budget import Budget
    from memollm._spending.track import Watcher

KIND_NAMES = {HIT: "hit", SHARED: "shared"}
MOST_TOKENS: Final = 10**12
"""Far more than a call takes, and so few that the sums of many calls are numbers that a store can hold."""


class Terms(NamedTuple):
    """What holds for a draw beside what it wants."""

    rules: Rules
    books: Books
    ages: bool = False
    """What is stored may be too old."""
    ttl: float | None = None
    """Seconds for which a sample counts."""
    refreshes: bool = False
    """Every sample is made anew."""
    explain_miss: ExplainMiss | None = None
    """Where nothing may be called: a miss is an error, and this says why it is one."""
    usage: Callable[[Any], object] | None = None
    prices: Mapping[str, object] | None = None
    lane: str | None = None
    watchers: tuple[Watcher, ...] = ()
    budgets: tuple[Budget, ...] = ()
    undone: Callable[[], None] | None = None
    """To be called when a draw has come to nothing."""

    def newer_than(self, clock: Callable[[], float]) -> float:
        """Return what a sample must be newer than to count."""
        if self.refreshes:
            return clock()
        return EVER if self.ttl is None else clock() - self.ttl

    # What is given.

    def give(self, given: Sequence[Given]) -> None:
        """Note samples that were given, and tell whoever listens."""
        for each in given:
            self.books.note(each)
        if self.watchers or is_logged(DEBUG):
            self.tell(given)

    def tell(self, given: Sequence[Given]) -> None:
        """Tell whoever listens."""
        events = [self._event(each) for each in given]
        if is_logged(DEBUG):
            for event in events:
                LOG.debug("%s", event)
        if self.watchers:
            counts = Counts()
            for each in given:
                counts = counts.plus(counts_of(each))
            for watcher in self.watchers:
                watcher.given(events, counts)

    def _event(self, given: Given) -> DrawEvent:
        call, slot, (seconds, input_tokens, output_tokens, cost), _, kind = given
        return DrawEvent(
            call.function,
            call.key.hex(),
            slot,
            KIND_NAMES.get(kind, "paid"),
            seconds,
            cost,
            input_tokens,
            output_tokens,
            self.books.reader,
            self.lane,
        )

    # What is spent.

    def toll(self, seconds: float, returned: Any, results: Sequence[Any]) -> Told:
        """Find out what a call took; never raises, since an answer is not lost by that."""
        seconds = round(seconds, 6)
        try:
            usage = of_call(returned, results, self.usage) or Usage()
            _require_countable(usage)
            cost = price(usage, self.prices)
        except Exception as error:  # noqa: BLE001 - the user's function, or prices
            return Told(Toll(1, seconds), _not_counted(error))
        unpriced = int(cost is None and bool(usage.input_tokens or usage.output_tokens))
        return Told(Toll(1, seconds, usage.input_tokens, usage.output_tokens, cost, unpriced))

    def promise(self, function: str, calls: int) -> None:
        """Set calls aside in every budget, or in none."""
        for index, budget in enumerate(self.budgets):
            try:
                budget.promise(function, calls)
            except BaseException:
                for earlier in self.budgets[:index]:
                    earlier.release(function, calls)
                raise

    def release(self, function: str, calls: int) -> None:
        """Know that calls which were set aside were not made, or raised."""
        for budget in self.budgets if calls else ():
            budget.release(function, calls)

    def spend(self, function: str, toll: Toll) -> None:
        """Count what a call took."""
        for budget in self.budgets:
            budget.spend(function, toll)
        self.happened(function, toll.counts())

    def happened(self, function: str, counts: Counts) -> None:
        """Count what happened besides."""
        self.books.spend(function, counts)
        for watcher in self.watchers:
            watcher.spent(counts)


def _require_countable(usage: Usage) -> None:
    """Refuse tokens that no store could count: they are another thing, or somebody's mistake."""
    tokens = max(usage.input_tokens, usage.output_tokens)
    if tokens > MOST_TOKENS:
        raise OptionError(f"{tokens:,} tokens are told, and no call takes more than {MOST_TOKENS:,}. Mend usage=.")


def _not_counted(error: Exception) -> NotCountedWarning | None:
    """Warn that nobody knows what a call took; return the warning where warnings are errors."""
    try:
        reason = str(error)
    except Exception:  # noqa: BLE001 - an error of the user's may raise even here
        reason = type(error).__name__
    try:
        warn(f"What a call took could not be told, so it counts as nothing: {reason}", NotCountedWarning)
    except NotCountedWarning as warning:
        return warning
    return None
