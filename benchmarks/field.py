"""The field's workload on a simulated model: what CacheSaver, a plain cache and memollm pay, and what they give out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._workload.workload import PUZZLES, begin, measure, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row


def run() -> Iterator[Row | str]:
    done = begin(PUZZLES)
    yield from measure(done)
    yield from rows(done)
