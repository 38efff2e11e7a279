"""What was counted, added up by function, namespace, run or day, as users read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memollm._spending.track import NUMBERS, SIMILAR_TOO, Spending, saved_of, spent_of
from memollm._types.counting import Counts
from memollm._types.suggest import did_you_mean
from memollm._types.tables import cost_cell, html_table, seconds_text, text_table
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memollm._types.counting import Account

BY: Final = ("function", "namespace", "run", "day")
HEAD: Final = ("spent", "time", "saved", "time saved", "a hit")


@dataclass(frozen=True, slots=True)
class Line:
    """What was counted of one function, namespace, run or day."""

    name: str
    draws: int
    """Samples given."""
    hits: int
    """Those that were stored."""
    shared: int
    """Those that another draw was making already."""
    made: int
    """Those that calls of the draw itself have made: draws are hits, shared, made and similar."""
    paid: int
    """Calls that returned."""
    refused: int
    """Answers that were given and, as `accept` refused them, not kept."""
    failed: int
    """Calls that raised."""
    unstored: int
    """Answers that were given and are not kept, for whatever reason; those that were refused among them."""
    unpriced: int
    """Calls whose cost nobody knows."""
    spent: Spending
    saved: Spending
    hit_latency: float | None
    """Seconds that a hit took on average; one that the process remembered is not timed, and takes some microseconds."""
    similar: int = 0
    """Samples that similar calls have lent."""

    @classmethod
    def of(cls, name: str, counts: Counts) -> Line:
        """Make a line of counts."""
        latency = counts.timed_seconds / counts.timed if counts.timed else None
        return cls(name, *counts[:9], spent_of(counts), saved_of(counts), latency, counts.similar)

    def cells(self, shown: Sequence[str] = NUMBERS) -> tuple[str, ...]:
        """Write it as a row of a table, with the numbers that are shown."""
        numbers = (f"{getattr(self, name):,}" for name in shown)
        latency = "" if self.hit_latency is None else seconds_text(self.hit_latency)
        sums = ((cost_cell(each.cost, each.unpriced), seconds_text(each.seconds)) for each in (self.spent, self.saved))
        return (self.name, *numbers, *(cell for pair in sums for cell in pair), latency)


@dataclass(frozen=True, slots=True, repr=False)
class Stats:
    """Lines with their sum; notebooks show them as a table."""

    by: str
    lines: tuple[Line, ...]
    total: Line

    def __iter__(self) -> Iterator[Line]:
        return iter(self.lines)

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, name: str) -> Line:
        for line in self.lines:
            if line.name == name:
                return line
        raise KeyError(f"nothing was counted for the {self.by} {name!r}{did_you_mean(name, [*map(_name, self.lines)])}")

    def _rows(self) -> list[tuple[str, ...]]:
        return [line.cells(self._shown) for line in (*self.lines, self.total)]

    @property
    def _shown(self) -> tuple[str, ...]:
        return SIMILAR_TOO if self.total.similar else NUMBERS

    @property
    def _head(self) -> tuple[str, ...]:
        return (self.by, *self._shown, *HEAD)

    def __str__(self) -> str:
        return text_table(self._head, self._rows())

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        return html_table(self._head, self._rows())


def _name(line: Line) -> str:
    return line.name


def stats_of(counted: Mapping[Account, Counts], by: str = "function") -> Stats:
    """Add up what was counted."""
    if by not in BY:
        raise OptionError(f"by={by!r}{did_you_mean(by, BY)}")
    lines = [Line.of(name or "(none)", counts) for name, counts in grouped(counted, by)]
    return Stats(by, tuple(lines), Line.of("total", summed([*counted.values()])))


def grouped(counted: Mapping[Account, Counts], by: str) -> list[tuple[str, Counts]]:
    """Add up what was counted for each function, namespace, run or day."""
    groups: dict[str, list[Counts]] = {}
    for account, counts in counted.items():
        groups.setdefault(getattr(account, by), []).append(counts)
    return [(name, summed(each)) for name, each in sorted(groups.items())]


def summed(counts: Sequence[Counts]) -> Counts:
    """Add counts up."""
    return Counts._make(map(sum, zip(*counts, strict=True))) if counts else Counts()
