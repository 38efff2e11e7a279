"""Dollars against wall time: every application over several seeds, memollm beside CacheSaver on the same fake model."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._measure import AT_MOST, Row, Spread, Target
from benchmarks._workload.applications import A4, APPLICATIONS, run_all
from benchmarks._workload.estimators import student
from benchmarks._workload.puzzles import some_puzzles
from benchmarks._workload.systems import (
    CacheSaver,
    CacheSaverClient,
    Memollm,
    MemollmJoins,
    MemollmWaves,
    NoCache,
    PlainCache,
    missing,
)
from benchmarks._workload.tables import count, table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks._workload.applications import Application
    from benchmarks._workload.systems import System

SEEDS = range(1, 7)
PUZZLES = 8
SYSTEMS: tuple[type[System], ...] = (
    NoCache, PlainCache, CacheSaver, CacheSaverClient, Memollm, MemollmJoins, MemollmWaves,
)  # fmt: skip
MOST = {"dollars": 1.0, "seconds": 1.1}
"""Of what the opponent took; a wave waits 10 ms, and with so few seeds a search takes a tenth more or less."""
OPPONENT = CacheSaverClient
"""With the batch size and time-out that its clients have unless told otherwise."""


class Spent(NamedTuple):
    """What one system paid for one application with one seed."""

    dollars: float
    seconds: float
    requests: int
    wrong: int
    """Samples that were given twice or were another chat's."""


class Mean(NamedTuple):
    """A mean over the seeds, and half its 95 % interval."""

    value: float
    half_width: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        number = len(values)
        if number == 1:
            return cls(values[0], 0.0)
        return cls(statistics.fmean(values), student(0.975, number - 1) * statistics.stdev(values) / number**0.5)

    def text(self, digits: int) -> str:
        return f"{self.value:.{digits}f} ±{self.half_width:.{digits}f}"


Done = dict[tuple["Application", str], list[Spent]]
"""Of each application and system, by seed."""


def measure(done: Done, seeds: Sequence[int], puzzles: int) -> Iterator[str]:
    """Run everything that can be run, and yield a table of each application when it is done."""
    chosen = some_puzzles(puzzles)
    for system in SYSTEMS:
        if gone := missing(system):
            yield f"{system.name}: skipped, not installed: {', '.join(gone)}"
    for application in APPLICATIONS:
        for seed in seeds:
            for system in SYSTEMS:
                if not missing(system):
                    done.setdefault((application, system.name), []).append(spent(system, application, chosen, seed))
        yield shown(done, application, len(seeds), puzzles)


def spent(system: type[System], application: Application, chosen: Sequence[tuple[int, ...]], seed: int) -> Spent:
    ran = run_all(system, application.configurations, chosen, seed)
    return Spent(ran.bill.dollars, ran.seconds, ran.bill.requests, ran.duplicates + ran.foreign)


def relative(done: Done, application: Application, system: str, field: str) -> Mean | None:
    """Return what a system took as a multiple of what the opponent took, seed by seed."""
    mine, theirs = done[application, system], done.get((application, OPPONENT.name))
    if theirs is None:
        return None
    return Mean.of([getattr(a, field) / getattr(b, field) for a, b in zip(mine, theirs, strict=True)])


def shown(done: Done, application: Application, seeds: int, puzzles: int) -> str:
    head = ("", "dollars", "beside it", "wall s", "beside it", "requests", "twice or foreign")
    lines = [
        line(done, application, system.name) for system in SYSTEMS if (application, system.name) in done
    ]  # fmt: skip
    beside = f'"beside it" is as a multiple of {OPPONENT.name}, seed by seed'
    return f"\n{application.name}: {puzzles} puzzles, {seeds} seeds, 95 % intervals; {beside}\n{table(head, lines)}\n"


def line(done: Done, application: Application, system: str) -> tuple[str, ...]:
    all_of_it = done[application, system]
    dollars, seconds = (relative(done, application, system, field) for field in ("dollars", "seconds"))
    return (
        system,
        Mean.of([each.dollars for each in all_of_it]).text(5),
        "" if dollars is None else dollars.text(3),
        Mean.of([each.seconds for each in all_of_it]).text(1),
        "" if seconds is None else seconds.text(3),
        f"{statistics.fmean(each.requests for each in all_of_it):,.0f}",
        f"{sum(each.wrong for each in all_of_it):,}",
    )


def rows(done: Done) -> Iterator[Row]:
    """Judge memollm: nothing twice or foreign; where it waits in waves, no more dollars and no more wall time."""
    for application in dict.fromkeys(of for of, _ in done):
        name = application.name.split()[0]
        for system in (Memollm, MemollmJoins, MemollmWaves):
            wrong = sum(each.wrong for each in done[application, system.name])
            yield count(f"{name} {system.name}: given twice or foreign", wrong, at_most=0)
            for field in ("dollars", "seconds"):
                ratio = relative(done, application, system.name, field)
                # In the chat CacheSaver also saves what it should have paid: its foreign answers.
                if ratio is not None and application != A4:
                    most = MOST[field] if system is MemollmWaves else None
                    yield _beside(f"{name} {field}, {system.name}", ratio, most)


def _beside(figure: str, ratio: Mean, most: float | None) -> Row:
    spread = Spread(ratio.value - ratio.half_width, ratio.value, ratio.value + ratio.half_width)
    target = None if most is None else Target(AT_MOST, most)
    return Row(f"{figure} beside {OPPONENT.name}", spread, "", None, "x", ratio.value, target)
