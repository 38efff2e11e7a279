"""The applications: several configurations, run one after the other on the same puzzles through one cache."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._caches import folder
from benchmarks._workload.audit import Audit
from benchmarks._workload.clock import run_simulated
from benchmarks._workload.model import Bill, SimulatedModel
from benchmarks._workload.searches import (
    Crowd,
    FleetOfAgents,
    GraphOfThoughts,
    ReAct,
    Retries,
    Search,
    TreeOfThoughts,
    run_search,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks._workload.systems import System

SEED = 1


class Application(NamedTuple):
    """What is run, how many times less it costs by the README of CacheSaver 0.0.6, and which are each last once."""

    name: str
    configurations: tuple[Search, ...]
    average: str
    marginal: str
    last: tuple[int, ...]

    def orders(self) -> list[list[Search]]:
        """Return the configurations, rotated so that each of the chosen ones is the last once."""
        listed = list(self.configurations)
        return [listed[at + 1 :] + listed[: at + 1] for at in self.last]


A1 = Application(
    "A1 hyperparameters of ToT",
    tuple(TreeOfThoughts(selections, evaluations) for selections in (5, 3, 1) for evaluations in (3, 1, 2)),
    "6",
    "-",
    (8, 0, 4),
)
"""The last ones stand in different rows and columns of the grid."""
A2 = Application(
    "A2 ablations of FoA",
    (FleetOfAgents(), FleetOfAgents(backtrack=0.0), FleetOfAgents(selection=False)),
    "2.5",
    "-",
    (2, 0, 1),
)
A3 = Application("A3 ToT, GoT and FoA", (TreeOfThoughts(), GraphOfThoughts(), FleetOfAgents()), "2", "-", (2, 0, 1))
A4 = Application("A4 retries in a chat", (Retries(4), Retries(3), Retries(2)), "-", "-", (2, 0, 1))
"""Not among the published ones: those never ask with more than one turn."""
A5 = Application("A5 single asks at once", (Crowd(5), Crowd(3), Crowd(8)), "-", "-", (2, 0, 1))
A6 = Application("A6 ReAct", (ReAct(5), ReAct(3), ReAct(8)), "-", "-", (2, 0, 1))
A7 = Application("A7 ReAct on states", (ReAct(5, True), ReAct(3, True), ReAct(8, True)), "-", "-", (2, 0, 1))
"""Nor these, of one turn each."""
APPLICATIONS = (A1, A2, A3, A4, A5, A6, A7)


class Ran(NamedTuple):
    """One configuration's run: what it paid, how long it would have taken, what it solved."""

    configuration: str
    bill: Bill
    seconds: float
    """In simulated time: what the model's latency makes of it."""
    worked: float
    """In real time: what the program and the cache themselves took."""
    solved: int


class Outcome(NamedTuple):
    """What one system did in one application, in one order of its configurations."""

    runs: list[Ran]
    asks: int
    delivered: int
    duplicates: int
    foreign: int

    @property
    def bill(self) -> Bill:
        return sum((run.bill for run in self.runs), Bill())

    @property
    def seconds(self) -> float:
        return sum(run.seconds for run in self.runs)

    @property
    def worked(self) -> float:
        return sum(run.worked for run in self.runs)

    @property
    def solved(self) -> int:
        return sum(run.solved for run in self.runs)


def run_all(
    system: type[System], order: Sequence[Search], puzzles: Sequence[tuple[int, ...]], seed: int = SEED
) -> Outcome:
    """Run configurations one after the other, each as a program of its own that finds what the earlier ones left.

    Where nothing is left, each meets the model as the first one did, so that all systems give from the same samples.
    """
    audit, model = Audit(), SimulatedModel(seed)
    runs = []
    with folder() as at:
        for search in order:
            model = model if system.keeps else SimulatedModel(seed)
            runs.append(run_one(system, at, model, search, puzzles, audit=audit))
    return Outcome(runs, audit.asks, audit.delivered, audit.duplicates, audit.foreign)


def run_one(
    system: type[System],
    at: Path,
    model: SimulatedModel,
    search: Search,
    puzzles: Sequence[tuple[int, ...]],
    *,
    audit: Audit,
) -> Ran:
    before, namespace = model.bill, str(search)
    opened = system(at, model)

    async def program() -> list[bool]:
        try:
            return await run_search(search, puzzles, audit.watched(opened.ask, namespace))
        finally:
            await opened.close()

    begin = time.perf_counter()
    solved, seconds = run_simulated(program(), opened.settle)
    worked = time.perf_counter() - begin
    return Ran(namespace, model.bill - before, seconds, worked, sum(solved))


class Result(NamedTuple):
    """What one system did in one application."""

    application: Application
    system: type[System]
    puzzles: int
    listed: Outcome
    """The configurations in the order in which they are listed."""
    last: list[Ran]
    """Configurations that were run last, after all others."""

    def average(self, bare: Result, measure: Callable[[Bill], float]) -> float:
        """Return how many times as much all configurations take without reuse."""
        return measure(bare.listed.bill) / measure(self.listed.bill)

    def marginal(self, bare: Result, measure: Callable[[Bill], float]) -> float:
        """Return how many times as much one more configuration takes without reuse."""
        without = sum(measure(run.bill) for run in bare.last)
        return without / max(sum(measure(run.bill) for run in self.last), 1e-12)


def result_of(system: type[System], application: Application, puzzles: Sequence[tuple[int, ...]]) -> Result:
    """Run an application in its listed order, and again in others so that different configurations are the last."""
    first, *others = application.orders()
    listed = run_all(system, first, puzzles)
    if system.keeps:
        last = [listed.runs[-1], *(run_all(system, order, puzzles).runs[-1] for order in others)]
    else:
        # Without reuse a configuration costs the same wherever it stands.
        last = [listed.runs[at] for at in application.last]
    return Result(application, system, len(puzzles), listed, last)
