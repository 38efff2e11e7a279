"""An event loop whose time is simulated: it sleeps at once, and its clock says how long that would have taken."""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class _Selector:
    """Waits for nothing: where the loop would sleep until its next timer, time jumps there.

    Before it jumps, the work that other threads do for the loop is waited for, so that no real work, such as a sync to
    disk, is overtaken by simulated time.
    """

    def __init__(self, settle: Callable[[], object]) -> None:
        self._real = selectors.DefaultSelector()
        self._settle = settle
        self.now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return self._real.select(timeout)
        self._settle()
        events = self._real.select(0)
        if not events:
            self.now += timeout
        return events

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self, settle: Callable[[], object]) -> None:
        self._simulated = _Selector(settle)
        super().__init__(self._simulated)

    def time(self) -> float:
        return self._simulated.now


def run_simulated(main: Coroutine[Any, Any, Any], settle: Callable[[], object] = lambda: None) -> tuple[Any, float]:
    """Run a coroutine in simulated time, and return its result and the seconds that it would have taken."""
    with asyncio.Runner(loop_factory=lambda: SimulatedLoop(settle)) as runner:
        result = runner.run(main)
        return result, runner.get_loop().time()
