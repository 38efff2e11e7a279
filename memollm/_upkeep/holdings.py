"""What a cache tells of itself in short: its namespaces, and how much it holds."""

from __future__ import annotations

from typing import Any, NamedTuple

from memollm._types.public import public
from memollm._types.tables import html_table, text_table


@public
class Namespace(NamedTuple):
    """A namespace and how much it has drawn."""

    name: str
    calls: int
    draws: int


class Namespaces(list[Namespace]):
    """Namespaces, which print as a table."""

    def _rows(self) -> list[tuple[str, str, str]]:
        return [(each.name, f"{each.calls:,}", f"{each.draws:,}") for each in self]

    def __str__(self) -> str:
        return text_table(Namespace._fields, self._rows())

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        return html_table(Namespace._fields, self._rows())


@public
class Holdings(NamedTuple):
    """What is stored, and what of it this process remembers."""

    functions: int
    calls: int
    samples: int
    bytes: int
    """Of the records and the arguments, as they are stored."""
    remembered: int
    """Samples that this process has at hand: those of `pool=1`."""
    remembered_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.samples:,} samples of {self.calls:,} calls of {self.functions:,} functions stored, {self.bytes:,} "
            f"bytes; {self.remembered:,} of them remembered by this process, {self.remembered_bytes:,} bytes"
        )
