"""All applications through all caches that are installed: tables, verdicts, and the same as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks._measure import AT_LEAST, Row, Target
from benchmarks._workload.applications import A4, APPLICATIONS, Application, Result, result_of
from benchmarks._workload.crash import SYSTEMS as KILLED, Crashed, crash
from benchmarks._workload.puzzles import some_puzzles
from benchmarks._workload.systems import (
    SYSTEMS,
    CacheSaver,
    Memollm,
    MemollmJoins,
    MemollmWaves,
    NoCache,
    System,
    missing,
)
from benchmarks._workload.tables import count, exactly, table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks._workload.model import Bill

PUZZLES = 16
DEEP_PUZZLES = 100
"""As many as in the published experiments."""


class Done(NamedTuple):
    """What was measured."""

    puzzles: int
    results: dict[tuple[Application, type[System]], Result]
    crashes: list[Crashed]


def begin(puzzles: int) -> Done:
    return Done(puzzles, {}, [])


HEAD = (
    "",
    "requests",
    "samples",
    "tokens",
    "dollars",
    "average",
    "marginal",
    "wall s",
    "work s",
    "asked",
    "twice",
    "foreign",
    "solved",
)


def measure(done: Done) -> Iterator[str]:
    """Run everything that can be run, and yield a table of each application when it is done."""
    chosen = some_puzzles(done.puzzles)
    yield from (
        f"{system.name}: skipped, not installed: {', '.join(gone)}" for system in SYSTEMS if (gone := missing(system))
    )
    for application in APPLICATIONS:
        for system in SYSTEMS:
            if not missing(system):
                done.results[application, system] = result_of(system, application, chosen)
        yield table_of(done, application)
    done.crashes.extend(crash(system) for system in KILLED if not missing(system))
    head = ("killed half-way, run again", "was given", "lost", "given twice if it goes on", "paid by a rerun, of 500")
    yield f"\n{table(head, [one[: len(head)] for one in done.crashes])}\n"


def table_of(done: Done, application: Application) -> str:
    runs = len(application.configurations)
    published = f"published average {application.average} x, marginal {application.marginal} x"
    title = f"\n{application.name}: {runs} configurations, {done.puzzles} puzzles; {published}"
    found = [result for (of, _), result in done.results.items() if of == application]
    return f"{title}\n{table(HEAD, [line(result, found[0]) for result in found])}\n"


def line(result: Result, bare: Result) -> tuple[str, ...]:
    listed, bill = result.listed, result.listed.bill
    return (
        result.system.name,
        f"{bill.requests:,}",
        f"{bill.samples:,}",
        f"{bill.tokens:,}",
        f"{bill.dollars:.4f}",
        times(result.average(bare, dollars)),
        times(result.marginal(bare, dollars)),
        f"{listed.seconds:.1f}",
        f"{listed.worked:.1f}",
        f"{listed.delivered:,}",
        f"{listed.duplicates:,}",
        f"{listed.foreign:,}",
        f"{listed.solved} of {len(listed.runs) * result.puzzles}",
    )


def dollars(bill: Bill) -> float:
    return bill.dollars


def samples(bill: Bill) -> float:
    return bill.samples


def times(ratio: float) -> str:
    return f"{ratio:.3g} x" if ratio < 1000 else "nothing paid"


MINE = (Memollm, MemollmJoins, MemollmWaves)


def rows(done: Done) -> Iterator[Row]:
    """Judge memollm: it gives nothing twice and nothing foreign, and pays no more than CacheSaver."""
    for application in APPLICATIONS:
        name = application.name.split()[0]
        for system in MINE:
            listed = done.results[application, system].listed
            yield count(f"{name} {system.name}: given twice", listed.duplicates, at_most=0)
            yield count(f"{name} {system.name}: foreign", listed.foreign, at_most=0)
        # In the chat CacheSaver also saves what it should have paid: its foreign answers.
        if (application, CacheSaver) in done.results and application != A4:
            yield from beside(done, application, Memollm, samples, f"{name} samples, without / with")
            for system in MINE:
                yield from beside(done, application, system, dollars, f"{name} dollars, without / with")
    for one in done.crashes:
        if one.system == Memollm.name:
            yield count("killed: given to the program and lost", one.lost, at_most=0)
            yield count("killed, going on: given twice", one.repeated, at_most=0)


def beside(
    done: Done, application: Application, system: type[System], measure: Callable[[Bill], float], figure: str
) -> Iterator[Row]:
    """Hold the saving of memollm against CacheSaver's."""
    bare, peer = done.results[application, NoCache], done.results[application, CacheSaver]
    mine, theirs = done.results[application, system].average(bare, measure), peer.average(bare, measure)
    ratio, floor = exactly(mine), exactly(theirs)
    # Dollars are judged where memollm waits as CacheSaver does; where it waits for nobody they are for information.
    judged = system is MemollmWaves or measure is samples
    target = Target(AT_LEAST, 1) if judged else None
    yield Row(f"{figure}, {system.name}", ratio, peer.system.name, floor, "x", mine / theirs, target)


def as_json(done: Done) -> dict[str, Any]:
    """Return all that was measured as plain data."""
    return {
        "puzzles": done.puzzles,
        "applications": [_result_as_json(done, result) for result in done.results.values()],
        "crashes": [crashed._asdict() for crashed in done.crashes],
    }


def _result_as_json(done: Done, result: Result) -> dict[str, Any]:
    application, listed = result.application, result.listed
    bare = done.results[application, NoCache]
    return {
        "application": application.name,
        "published": {"average": application.average, "marginal": application.marginal},
        "system": result.system.name,
        **listed.bill._asdict(),
        "dollars": listed.bill.dollars,
        "average": result.average(bare, dollars),
        "marginal": result.marginal(bare, dollars) if any(run.bill.samples for run in result.last) else None,
        "simulated_seconds": listed.seconds,
        "working_seconds": listed.worked,
        "delivered": listed.delivered,
        "duplicates": listed.duplicates,
        "foreign": listed.foreign,
        "runs": [{**run._asdict(), "bill": run.bill._asdict()} for run in listed.runs],
        "last": [{**run._asdict(), "bill": run.bill._asdict()} for run in result.last],
    }
