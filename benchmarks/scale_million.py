"""The same with 1,000,000 stored samples against 1,000 (`--deep` only: it fills a large file)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.scale import compared

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

DEEP = True
LARGE = 1_000_000


def run() -> Iterator[Row]:
    yield from compared(LARGE, at_most=1.5, opening=20)
