"""Tables of plain cells, printed as the benchmarks print theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._measure import AT_MOST, Row, Spread, Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    cells = [tuple(head), *(tuple(map(str, line)) for line in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def count(figure: str, measured: float, *, at_most: float) -> Row:
    """Judge a number of samples that is to be small."""
    return Row(figure, exactly(measured), "", None, "samples", None, Target(AT_MOST, at_most, "samples"))


def exactly(number: float) -> Spread:
    return Spread(number, number, number)
