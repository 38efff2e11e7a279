"""The scenarios of selection as a table, and verdicts: what is unbiased must stay in its joint interval.

`python -m benchmarks._workload.selection_table 150 400` prints it, with so many trials of each scenario and interval.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks._measure import AT_LEAST, AT_MOST, Row, Target
from benchmarks._workload.designs import BIASED, COVERAGES, UNBIASED, Covered, covered, paired, played
from benchmarks._workload.rivals import RIVALS, rival_trials
from benchmarks._workload.selection import QUESTIONS, SCENARIOS, TRUTH, Found, trials
from benchmarks._workload.systems import missing
from benchmarks._workload.tables import exactly, table

if TYPE_CHECKING:
    from collections.abc import Iterator

RIVALS_PART = 4
"""The others, of which nothing is judged, do so many times fewer trials."""
MINE, STOPPED = "memollm", 'memollm, on_cancel="stop"'


@dataclass
class Done:
    """What was measured."""

    scenarios: dict[str, dict[str, Found | None]] = field(default_factory=dict[str, "dict[str, Found | None]"])
    """By scenario and system."""
    unbiased: dict[str, Found] = field(default_factory=dict[str, Found])
    biased: dict[str, Found] = field(default_factory=dict[str, Found])
    coverages: dict[str, Covered] = field(default_factory=dict[str, Covered])


def measure(done: Done, number: int, intervals: int) -> Iterator[str]:
    """Do each scenario so many times, ask how often an interval holds with so many more, and yield tables."""
    rivals = [rival for rival in RIVALS if not missing(rival)]
    yield from (
        f"{rival.name}: skipped, not installed: {', '.join(missing(rival))}" for rival in RIVALS if missing(rival)
    )
    for name in SCENARIOS:
        of = done.scenarios[name] = {
            rival.name: rival_trials(rival, name, -(-number // RIVALS_PART)) for rival in rivals
        }
        of[STOPPED] = trials(name, number, on_cancel="stop")
        of[MINE] = trials(name, number)
    yield _shown(done, number)
    done.unbiased.update({name: played(play, number) for name, play in UNBIASED.items()})
    done.biased.update({name: played(play, number) for name, play in BIASED.items()})
    lines = [(name, found.text()) for name, found in (*done.unbiased.items(), *done.biased.items())]
    yield f"\nmemollm besides\n{table(('', 'bias'), lines)}"
    done.coverages.update({name: covered(design, intervals) for name, design in COVERAGES.items()})
    worth = [
        (name, f"{of.share:.3f} ± {of.half_width():.3f}", f"{of.spread:.4f}") for name, of in done.coverages.items()
    ]
    yield f"\nwhat a 95 % interval is worth\n{table(('', 'holds the truth', 'SD of the seeds'), worth)}"
    shared, apart = paired(intervals)
    less = f"{shared:.5f} with shared ones, {apart / (shared or apart):.2f} times less"
    yield f"\nvariance of a difference: {apart:.5f} with samples of its own, {less}"


def _shown(done: Done, number: int) -> str:
    systems = [*next(iter(done.scenarios.values()))]
    lines = [
        (name, *("-" if of[system] is None else str(of[system].text()) for system in systems))  # type: ignore[union-attr]
        for name, of in done.scenarios.items()
    ]
    title = f"bias of an accuracy of {TRUTH:.2f}, {number} trials of {len(QUESTIONS)} questions, with 99.9 % intervals"
    return f"\n{title}\n{table(('', *systems), lines)}"


def rows(done: Done) -> Iterator[Row]:
    """Judge memollm: what is unbiased is, all intervals together; what selects by nature is for information."""
    unbiased = {name: of[MINE] for name, of in done.scenarios.items()} | done.unbiased
    figures = len(unbiased) + 1
    for name, found in unbiased.items():
        if found is not None:
            target = Target(AT_MOST, round(found.half_width(figures), 4), "share")
            yield Row(f"{name}: off by", exactly(abs(found.bias)), "", None, "share", None, target)
    for name, found in done.biased.items():
        yield Row(f"{name}: off by", exactly(abs(found.bias)), "", None, "share", None, None)
    for number, (name, of) in enumerate(done.coverages.items()):
        target = None if number else Target(AT_LEAST, round(0.95 - of.half_width(figures), 4), "share")
        yield Row(f"{name}: a 95 % interval holds", exactly(of.share), "", None, "share", None, target)


def main() -> int:
    done = Done()
    number, intervals = map(int, sys.argv[1:] or (100, 400))
    for text in measure(done, number, intervals):
        print(text, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
