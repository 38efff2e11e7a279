"""Dollars and wall time of the field's workload over several seeds, beside CacheSaver as its users get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._workload.dollars import PUZZLES, SEEDS, Done, measure, rows
from benchmarks._workload.scatter import points, scatter

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row


_done: Done = {}


def run() -> Iterator[Row | str]:
    _done.clear()
    yield from measure(_done, SEEDS, PUZZLES)
    yield from rows(_done)


def picture() -> str:
    """Draw what was measured last."""
    return scatter(points(_done))
