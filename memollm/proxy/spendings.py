"""Budgets that requests name: one for each reader, for as long as the server runs."""

from __future__ import annotations

import contextvars
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import memollm
from memollm.proxy.refusals import Declined

if TYPE_CHECKING:
    from memollm.proxy.controls import Controls

MOST: Final = 10_000
"""Readers that have a budget; to forget one would be to forget what it has spent."""


class OpenBudget(NamedTuple):
    """A budget that stays open, in a context of its own."""

    context: contextvars.Context
    stack: ExitStack
    budget: Any


class Budgets:
    """The budgets of all readers, in this process."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._of: dict[str, OpenBudget] = {}

    def context(self, controls: Controls, caller: str) -> contextvars.Context:
        """Return the context in which a request draws, which may spend what its reader has left."""
        if controls.budget is None:
            return contextvars.copy_context()
        if self._workers > 1:
            raise Declined(
                400,
                "bad_header",
                "x-memollm-budget: each of this proxy's workers would count alone, so it could not hold. Start it with "
                "one worker, or with --budget, which all share.",
            )
        said, whose = dict(controls.budget), f"{caller} {controls.reader}"
        standing = self._of.get(whose)
        if standing is None:
            standing = self._of[whose] = self._opened(said)
        _limit(standing.budget, said)
        return standing.context.copy()

    def _opened(self, said: dict[str, Any]) -> OpenBudget:
        if len(self._of) >= MOST:
            raise Declined(503, "too_many_budgets", f"{MOST:,} readers have a budget, and no more can be counted.")
        context, stack = contextvars.copy_context(), ExitStack()
        budget = context.run(stack.enter_context, memollm.budget(**said))
        return OpenBudget(context, stack, budget)

    def close(self) -> None:
        """Close them all."""
        for standing in self._of.values():
            standing.context.run(standing.stack.close)
        self._of.clear()


def _limit(budget: Any, said: dict[str, Any]) -> None:
    """Let a budget have the limits that were said last; what is spent stays spent."""
    with memollm.budget(**said) as limits:
        budget.limit_cost, budget.limit_calls, budget.unknown = limits.limit_cost, limits.limit_calls, limits.unknown
