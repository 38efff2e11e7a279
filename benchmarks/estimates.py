"""Estimates from cached samples, pass@k and majority votes, against the truth of a simulated model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._workload.estimation import measure, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row
    from benchmarks._workload.trials import Trial


def run() -> Iterator[Row | str]:
    done: dict[str, Trial] = {}
    yield from measure(done)
    yield from rows(done)
