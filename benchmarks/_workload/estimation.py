"""The experiments through all caches that are installed: a table of biases, verdicts, and the same as plain data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks._measure import AT_MOST, Row, Target
from benchmarks._workload.systems import Memollm, NoCache, missing
from benchmarks._workload.tables import count, exactly, table
from benchmarks._workload.trials import FIRST, REPETITIONS, SAMPLES, SYSTEMS, TASKS, Trial, trial

if TYPE_CHECKING:
    from collections.abc import Iterator


def measure(done: dict[str, Trial]) -> Iterator[str]:
    """Do the experiments with every system that can be used, and yield the table."""
    for system in SYSTEMS:
        if gone := missing(system):
            yield f"{system.name}: skipped, not installed: {', '.join(gone)}"
        else:
            done[system.name] = trial(system)
    title = (
        f"bias and its 95 % interval; {len(TASKS)} tasks, {SAMPLES} samples each, {REPETITIONS} repetitions; * outside"
    )
    known = next(iter(done.values())).estimates
    head = ("", *(estimate.figure for estimate in known), "paid", "twice", "foreign")
    truth = ("the truth", *(f"{estimate.truth:.3f}" for estimate in known), "", "", "")
    yield f"\n{title}\n{table(head, [truth, *map(line, done.values())])}\n"


def line(one: Trial) -> tuple[str, ...]:
    biases = (
        f"{estimate.bias:+.3f} ±{estimate.half_width():.3f}{'' if estimate.is_inside() else ' *'}"
        for estimate in one.estimates
    )
    return (one.system, *biases, f"{one.paid:,}", f"{one.duplicates:,}", f"{one.foreign:,}")


def rows(done: dict[str, Trial]) -> Iterator[Row]:
    """Judge memollm: no estimate is biased, and those without a crowd are the ones that no cache would have given."""
    mine = done[Memollm.name]
    figures = len(mine.estimates)
    for estimate in mine.estimates:
        # All intervals together are to hold 95 times in 100, or one in twenty would be outside for no reason.
        bias, target = exactly(abs(estimate.bias)), Target(AT_MOST, estimate.half_width(figures), "share")
        figure = f"memollm: {estimate.figure}, off the truth by"
        yield Row(figure, bias, "the truth", exactly(estimate.truth), "share", None, target)
    alone = figures - len(FIRST)
    bare = done[NoCache.name].estimates[:alone]
    differ = sum(a.repetitions != b.repetitions for a, b in zip(mine.estimates, bare, strict=False))
    yield count("memollm: other than without a cache", differ, at_most=0)
    yield count("memollm: given twice", mine.duplicates, at_most=0)
    yield count("memollm: foreign", mine.foreign, at_most=0)
    for system in done.values():
        if system is not mine:
            outside = sum(not estimate.is_inside(figures) for estimate in system.estimates)
            yield count(f"{system.system}: biased, of {figures}", outside, at_most=figures)._replace(target=None)


def as_json(done: dict[str, Trial]) -> dict[str, Any]:
    """Return all that was measured as plain data."""
    return {
        "tasks": len(TASKS),
        "samples": SAMPLES,
        "repetitions": REPETITIONS,
        "trials": [
            {
                **one._asdict(),
                "estimates": [
                    {
                        "figure": estimate.figure,
                        "truth": estimate.truth,
                        "mean": estimate.mean,
                        "bias": estimate.bias,
                        "half_width": estimate.half_width(),
                        "inside": estimate.is_inside(),
                    }
                    for estimate in one.estimates
                ],
            }
            for one in done.values()
        ],
    }
