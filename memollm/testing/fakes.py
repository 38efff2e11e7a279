"""Fakes for tests and examples: a clock that stands still and a model that counts what it is asked."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

NOON: Final = 1_750_000_000.0
"""A time to begin at, as `time.time` would tell it."""


class FakeClock:
    """Tells the time that it was set to; call it in place of `time.time`."""

    def __init__(self, now: float = NOON) -> None:
        self._now = now
        self._lock = threading.Lock()

    def __call__(self) -> float:
        """Return the time."""
        return self._now

    def advance(self, seconds: float) -> float:
        """Let time pass, and return the time that it is then."""
        if seconds < 0:
            raise ValueError(f"advance({seconds}): time does not go back.")
        with self._lock:
            self._now += seconds
            return self._now


class ModelDown(Exception):
    """What a `FakeModel` raises in the calls that it was told to fail."""


class FakeModel:
    """Answers every prompt with numbered samples: the third call for `"hi"` returns `"hi #3"`.

    `model(prompt)` is the plain form and `await model.answer(prompt)` the asynchronous one; both count together.
    Calls whose number (from 1, over all prompts) is in `failing` raise `error()`. With a `gate`, a call is begun,
    counted, and answered only when the gate has been set. `latency` is how long a call takes in seconds, and `price`
    what it costs, for demonstrations.
    """

    def __init__(
        self,
        *,
        failing: Collection[int] = (),
        error: Callable[[], BaseException] = ModelDown,
        gate: threading.Event | None = None,
        latency: float = 0.0,
        price: float = 0.0,
    ) -> None:
        self.failing = failing
        self.error = error
        self.gate = gate
        self.latency = latency
        self.price = price
        self.calls = 0
        """How many calls were begun."""
        self.answered: dict[str, int] = {}
        """How many samples each prompt has had."""
        self.busiest = 0
        """The most calls that were under way at one time."""
        self._under_way = 0
        self._changed = threading.Condition()

    @property
    def spent(self) -> float:
        """What all answers have cost; a failed call is free."""
        return self.price * sum(self.answered.values())

    def __call__(self, prompt: str) -> str:
        """Answer a prompt."""
        number = self._begin()
        try:
            if self.gate is not None:
                self.gate.wait()
            if self.latency:
                time.sleep(self.latency)
            return self._answer(number, prompt)
        finally:
            self._end()

    async def answer(self, prompt: str) -> str:
        """Answer a prompt without blocking the event loop."""
        number = self._begin()
        try:
            if self.gate is not None and not self.gate.is_set():
                await asyncio.to_thread(self.gate.wait)
            if self.latency:
                await asyncio.sleep(self.latency)
            return self._answer(number, prompt)
        finally:
            self._end()

    def wait_for(self, calls: int, *, timeout: float = 30.0) -> None:
        """Block until so many calls have been begun; `TimeoutError` if they never are."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.calls >= calls, timeout):
                raise TimeoutError(f"The model was called {self.calls} times, not {calls}, within {timeout} seconds.")

    def _begin(self) -> int:
        with self._changed:
            self.calls += 1
            self._under_way += 1
            self.busiest = max(self.busiest, self._under_way)
            self._changed.notify_all()
            return self.calls

    def _answer(self, number: int, prompt: str) -> str:
        if number in self.failing:
            raise self.error()
        with self._changed:
            count = self.answered[prompt] = self.answered.get(prompt, 0) + 1
        return f"{prompt} #{count}"

    def _end(self) -> None:
        with self._changed:
            self._under_way -= 1
