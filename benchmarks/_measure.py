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

OURS = "memollm"
TIMES = "\N{MULTIPLICATION SIGN}"
AT_MOST, AT_LEAST = "≤", "≥"
ROUNDS = 151
ROUND_SECONDS = 0.002
"""Shorter than the time that another program gets at once, so that most rounds are disturbed by none."""


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
        return f"{number(self.median * scale)} ±{number(width)}"


def number(value: float) -> str:
    """Write a figure with as many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Target(NamedTuple):
    """What a figure must be: a multiple of what it is held against, or, with a unit, a number by itself."""

    sign: str
    value: float
    unit: str = ""

    def text(self) -> str:
        return f"{self.sign} {self.value:g} {self.unit}".rstrip()

    def met(self, judged: float) -> bool:
        return judged <= self.value if self.sign == AT_MOST else judged >= self.value

    def missed_by(self, judged: float) -> float:
        """Tell how far off it is, as a part of the target."""
        return abs(judged - self.value) / self.value


class Row(NamedTuple):
    """A line of the table: a figure, its floor or peer, their ratio, and what must be.

    `whose` says whose figure it is, where several of ours stand beside one another.
    """

    figure: str
    measured: Spread
    floor: str
    floor_measured: Spread | None
    unit: str
    ratio: float | None
    target: Target | None
    whose: str = OURS

    @property
    def title(self) -> str:
        return self.figure if self.whose == OURS else f"{self.figure}, {self.whose}"

    @property
    def judged(self) -> float | None:
        """What the target is compared with: the ratio, or the figure in the target's unit."""
        if self.target is None or not self.target.unit:
            return self.ratio
        return self.measured.median * UNITS[self.target.unit]

    @property
    def met(self) -> bool | None:
        """Whether the target is met; None without one."""
        return None if self.target is None or self.judged is None else self.target.met(self.judged)

    def as_json(self) -> dict[str, object]:
        row = self._asdict()
        row["measured"] = self.measured._asdict()
        row["floor_measured"] = self.floor_measured and self.floor_measured._asdict()
        row["target"] = self.target and self.target._asdict()
        return row | {"met": self.met}


UNITS = {
    "µs": 1e6,
    "ms": 1e3,
    "s": 1.0,
    "calls": 1.0,
    "/s": 1.0,
    "bytes": 1.0,
    "MB": 1e-6,
    "samples": 1.0,
    "share": 1.0,
    "x": 1.0,
}
"""What a measured number, in seconds or as it was counted, is multiplied with to be in a unit."""


def ratio(
    figure: str,
    mine: list[float],
    floor: str,
    theirs: list[float],
    *,
    at_most: float | None = None,
    at_least: float | None = None,
    unit: str = "µs",
    whose: str = OURS,
) -> Row:
    """Hold a figure against its floor, round by round; without a target it is for information."""
    measured = statistics.median(a / b for a, b in zip(mine, theirs, strict=True))
    target = _target(at_most, at_least, "")
    return Row(figure, Spread.of(mine), floor, Spread.of(theirs), unit, measured, target, whose)


def absolute(figure: str, mine: list[float], *, unit: str, at_most: float | None = None, whose: str = OURS) -> Row:
    """Hold a figure against a number, or none."""
    return Row(figure, Spread.of(mine), "", None, unit, None, _target(at_most, None, unit), whose)


def _target(at_most: float | None, at_least: float | None, unit: str) -> Target | None:
    if at_most is not None:
        return Target(AT_MOST, at_most, unit)
    return None if at_least is None else Target(AT_LEAST, at_least, unit)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the garbage collector out of a round."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def imported_set_aside() -> Iterator[None]:
    """Let what is there already be no garbage, or large packages make every collection take half a second."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def repeated(work: Callable[[], object]) -> Timed:
    """Time plain calls."""

    def timed(number: int) -> float:
        turns = range(number)
        begin = time.perf_counter()
        for _ in turns:
            work()
        return time.perf_counter() - begin

    return timed


def each(timed: Timed, number: int) -> Timed:
    """Make so many calls one turn, and give the time of each."""
    return lambda _: timed(number) / number


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

    The first round warms up and is left out; without `number`, a round takes about 2 ms.
    """
    numbers = {name: number or _enough(timed) for name, timed in contenders.items()}
    results: dict[str, list[float]] = {name: [] for name in contenders}
    with imported_set_aside():
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
    # The quickest of three, as one may have been disturbed.
    while (seconds := min(timed(number) for _ in range(3))) < ROUND_SECONDS / 10:
        number *= 4
    return max(1, round(number * ROUND_SECONDS / seconds))
