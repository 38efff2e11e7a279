"""Calls that nobody waits for any more: how long they may go on, and who stops them."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from memollm._draws.waits import ended
from memollm._spending.track import LOG
from memollm._types.requests import Settle
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.requests import Change
    from memollm.stores.flights import Flights

SLACK: Final = 5.0
"""Seconds after its grace in which a call is to end by itself, having been cancelled."""


class Owing(Protocol):
    """What is asked of the engine."""

    flights: Flights

    def owe(self, changes: Sequence[Change]) -> None:
        """Have changes written soon."""
        ...


@dataclass(slots=True, eq=False)
class Left:
    """What a draw has left: calls that go on in an event loop."""

    ticket: int
    function: str
    grace: float
    count: Callable[[], int]
    """Tells how many calls there are still."""
    stop: Callable[[], object]
    """Has them cancelled; from any thread, and it does not wait."""
    is_running: Callable[[], bool]
    """Tells whether their loop is, so that they can go on."""
    over: Signal = field(default_factory=Signal)
    """That all have ended."""
    until: float = field(init=False)

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.grace + SLACK


class LeftCalls:
    """What was left to itself on one engine, in this process.

    A loop cancels its calls when their grace is over. What has not ended soon after, because the loop stands still or
    the function does not let itself be cancelled, is given up here: its slots are for others, and an answer that
    comes all the same fills what is vacant still.
    """

    def __init__(self, engine: Owing) -> None:
        self._engine = engine
        self._of: dict[int, Left] = {}

    def add(self, left: Left) -> None:
        """Know that a draw has left calls to themselves."""
        self._of[left.ticket] = left

    def ended(self, left: Left) -> None:
        """Know that they have ended."""
        self._of.pop(left.ticket, None)
        left.over.set()

    def all(self) -> list[Left]:
        """Return what can go on."""
        for ticket in list(self._of):
            self.require_running(ticket)
        return list(self._of.values())

    def require_running(self, ticket: int) -> None:
        """Give up what stands still with its loop: whoever waited for it might wait for ever."""
        left = self._of.get(ticket)
        if left is not None and not left.is_running():
            self._give_up(left, "stands still with its event loop")

    def due_in(self) -> float | None:
        """Tell in how many seconds the next is to be given up."""
        until = [left.until for left in list(self._of.values())]
        return min(until) - time.monotonic() if until else None

    def end_graces(self) -> None:
        """Give up what has not ended in its time."""
        now = time.monotonic()
        for left in list(self._of.values()):
            if left.until <= now:
                self._give_up(left, f"has not ended {left.grace:g} s after nobody waited for it any more")

    def stop_all(self) -> None:
        """Have everything cancelled."""
        for left in list(self._of.values()):
            left.stop()

    def _give_up(self, left: Left, why: str) -> None:
        if self._of.pop(left.ticket, None) is None:
            return
        LOG.debug("given up: a call of %s %s", left.function, why)
        left.stop()
        self._engine.owe([Settle(left.ticket, ())])
        ended(left.ticket)
        self._engine.flights.arrive(left.ticket)
        left.over.set()
