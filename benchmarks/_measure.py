"""Timing: rounds in turn, medians with spread, and what a figure is held against."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Awaitable, Iterator, Mapping

Timed = Callable[[int], float]
"""Does its work so many times and returns the seconds that took."""

ROUNDS = 15
ROUND_SECONDS = 0.03


class Spread(NamedTuple):
    """What the rounds measured: the median, and the quartiles around it."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, values: list[float]) -> Spread:
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        return cls(*statistics.quantiles(values, n=4, method="inclusive"))

    def text(self, scale: float = 1.0) -> str:
        width = max((self.high - self.low) / 2 * scale, 0.0)
        return f"{self.median * scale:.3g} ±{width:.2g}"


class Row(NamedTuple):
    """A line of the table: a figure, its floor, what is judged, and what it must be."""

    figure: str
    measured: Spread
    floor: str
    floor_measured: Spread | None
    unit: str
    judged: float | None
    target: str
    met: bool | None

    def as_json(self) -> dict[str, object]:
        row = self._asdict()
        row["measured"] = self.measured._asdict()
        row["floor_measured"] = self.floor_measured and self.floor_measured._asdict()
        return row


UNITS = {"µs": 1e6, "ms": 1e3, "s": 1.0, "calls": 1.0, "/s": 1.0, "bytes": 1.0}


def ratio(
    figure: str, mine: list[float], floor: str, theirs: list[float], *, at_most: float | None, unit: str = "µs"
) -> Row:
    """Hold a figure against its floor, round by round; without `at_most` it is for information."""
    judged = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    met = None if at_most is None else judged <= at_most
    target = "-" if at_most is None else f"≤ {at_most:g}"
    return Row(figure, Spread.of(mine), floor, Spread.of(theirs), unit, judged, target, met)


def absolute(figure: str, mine: list[float], *, at_most: float, unit: str) -> Row:
    """Hold a figure against a number."""
    measured = Spread.of(mine)
    scaled = measured.median * UNITS[unit]
    return Row(figure, measured, "", None, unit, None, f"≤ {at_most:g} {unit}", scaled <= at_most)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of a round."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def repeated(work: Callable[[], object]) -> Timed:
    """Time plain calls."""

    def timed(number: int) -> float:
        turns = range(number)
        begin = time.perf_counter()
        for _ in turns:
            work()
        return time.perf_counter() - begin

    return timed


def repeated_async(runner: asyncio.Runner, work: Callable[[], Awaitable[object]]) -> Timed:
    """Time awaited calls, all in one task of a loop that stays."""

    async def loop(number: int) -> float:
        turns = range(number)
        begin = time.perf_counter()
        for _ in turns:
            await work()
        return time.perf_counter() - begin

    return lambda number: runner.run(loop(number))


def in_turn(
    contenders: Mapping[str, Timed], *, rounds: int = ROUNDS, number: int | None = None
) -> dict[str, list[float]]:
    """Run the contenders in turn, A B A B ..., and return for each its seconds a call in every round.

    The first round warms up and is left out; without `number`, a round takes about 30 ms.
    """
    numbers = {name: number or _enough(timed) for name, timed in contenders.items()}
    results: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, timed in contenders.items():
            with quiet():
                seconds = timed(numbers[name]) / numbers[name]
            if turn:
                results[name].append(seconds)
    return results


def _enough(timed: Timed) -> int:
    timed(1)  # The first call may miss, open files or compile.
    number = 1
    while (seconds := timed(number)) < ROUND_SECONDS / 10:
        number *= 4
    return max(1, round(number * ROUND_SECONDS / seconds))
