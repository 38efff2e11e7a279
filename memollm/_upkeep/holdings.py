"""What a cache tells of itself in short: its namespaces, and how much it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Self

from memollm._types.public import public
from memollm._types.tables import html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from memollm._types.listings import Item, ListedReader


def functions_table(items: Iterable[Item], *, title: str) -> str:
    """Write what each function holds as a table for a notebook."""
    of: dict[str, list[Item]] = {}
    for item in items:
        of.setdefault(item.function, []).append(item)
    rows = [
        (name, f"{len(each):,}", f"{sum(i.samples for i in each):,}", f"{sum(i.bytes for i in each):,}")
        for name, each in sorted(of.items())
    ]
    return html_table(("function", "calls", "samples", "bytes"), rows, title=title)


@public
class Namespace(NamedTuple):
    """A namespace and how much it has drawn."""

    name: str
    calls: int
    draws: int


class Namespaces(list[Namespace]):
    """Namespaces, which print as a table."""

    @classmethod
    def of(cls, readers: Iterable[ListedReader], prefix: str) -> Self:
        """Take those readers that are namespaces."""
        named = (each for each in readers if each.name.startswith(prefix))
        return cls(Namespace(each.name.removeprefix(prefix), each.calls, each.draws) for each in named)

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

    @classmethod
    def of(cls, items: Collection[Item], remembered: tuple[int, int]) -> Self:
        """Add up what calls hold."""
        samples, size = sum(item.samples for item in items), sum(item.bytes for item in items)
        return cls(len({item.function for item in items}), len(items), samples, size, *remembered)

    def __str__(self) -> str:
        return (
            f"{self.samples:,} samples of {self.calls:,} calls of {self.functions:,} functions stored, {self.bytes:,} "
            f"bytes; {self.remembered:,} of them remembered by this process, {self.remembered_bytes:,} bytes"
        )
