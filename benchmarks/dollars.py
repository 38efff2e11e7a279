"""Dollars and wall time of the field's workload over several seeds, beside CacheSaver as its users get it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._workload.dollars import Done, measure, rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row


def run() -> Iterator[Row | str]:
    done: Done = {}
    yield from measure(done)
    yield from rows(done)
