"""What users do with time-outs, cancellations, pruning and ages, and what an accuracy is worth after that."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from benchmarks._workload.selection_table import Done, measure, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

TRIALS, INTERVALS = 100, 400


def run() -> Iterator[Row | str]:
    done = Done()
    for text in measure(done, TRIALS, INTERVALS):
        sys.stderr.write(f"{text}\n")
    yield from rows(done)
