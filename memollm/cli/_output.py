"""Writing: JSON, and tables, which rich draws on a terminal; in a pipe they are aligned text of 80 columns."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._types.secret import veiled
from memollm.cli._words import cells, middle_cut, padded
from memollm.errors import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

PIPE_WIDTH: Final = 80
UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e]")
"""What may not be printable."""
GAP: Final = 2
NARROWEST: Final = 12
"""What a column that gives way keeps at least."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    right: bool = False
    """Whether its cells stand at its right edge, as numbers do."""
    gives_way: bool = False
    """Whether it is cut where the line is too narrow for all."""


def _put(text: str) -> None:
    # click.echo would choose an encoding of its own where the terminal's is poor.
    sys.stdout.write(f"{text}\n")


def say(text: str = "") -> None:
    """Write lines, with nothing in them that could steer a terminal."""
    _put("\n".join(printable(line) for line in text.split("\n")))


def say_wrapped(text: str) -> None:
    """Write a sentence, on as many lines as it takes."""
    say(textwrap.fill(text, line_width(), subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))


def note(text: str) -> None:
    """Write a line for the reader, beside what the command puts out."""
    sys.stderr.write(f"{printable(veiled(text))}\n")


def json_text(value: object, *, indent: int | None = None) -> str:
    """Write JSON in which whatever could steer a terminal is an escape."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    # Of ASCII, JSON itself escapes all but one.
    return text if text.isprintable() else UNPRINTABLE.sub(_escaped, text)


def _escaped(character: re.Match[str]) -> str:
    text = character[0]
    return text if text.isprintable() or text == "\n" else json.dumps(text).strip('"').replace("\x7f", r"\u007f")


def show_json(document: Mapping[str, object]) -> None:
    """Write a document as JSON."""
    _put(json_text(document, indent=2))


def list_json(items: Iterable[object]) -> None:
    """Write a list as JSON, with a line for each item."""
    _put("[" + ",\n ".join(map(json_text, items)) + "]")


def line_width() -> int:
    """Return how many characters fit into a line."""
    return shutil.get_terminal_size((PIPE_WIDTH, 24)).columns if sys.stdout.isatty() else PIPE_WIDTH


def show_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, full: bool = False) -> None:
    """Write a table without its empty columns, cut to the line unless it is to be shown in full."""
    texts = [[printable(cell) for cell in row] for row in rows]
    used = [at for at in range(len(columns)) if any(row[at] for row in texts)]
    columns, texts = [columns[at] for at in used], [[row[at] for at in used] for row in texts]
    widths = [max([cells(column.name), *(cells(row[at]) for row in texts)]) for at, column in enumerate(columns)]
    if not full:
        widths = fitted(widths, [column.gives_way for column in columns], line_width())
    cut = [[middle_cut(cell, width) for cell, width in zip(row, widths, strict=True)] for row in texts]
    if sys.stdout.isatty() and find_spec("rich") is not None:
        _draw(columns, cut)
        return
    for row in ([column.name for column in columns], *cut):
        line = [padded(*each) for each in zip(row, widths, (column.right for column in columns), strict=True)]
        _put((" " * GAP).join(line).rstrip())


def fitted(widths: Sequence[int], gives_way: Sequence[bool], room: int) -> list[int]:
    """Narrow the widest of the columns that give way until the line fits, or they can give no more."""
    giving = [width for width, gives in zip(widths, gives_way, strict=True) if gives]
    cap = _cap(giving, room - GAP * (len(widths) - 1) - (sum(widths) - sum(giving)))
    return [min(width, cap) if gives else width for width, gives in zip(widths, gives_way, strict=True)]


def _cap(widths: Sequence[int], room: int) -> int:
    """Return how wide the widest may be for all to fit."""
    for place, width in enumerate(sorted(widths)):
        share = room // (len(widths) - place)
        if width > share:
            return max(NARROWEST, share)
        room -= width
    return max(widths, default=0)


def _draw(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, GAP // 2), pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.name, justify="right" if column.right else "left", overflow="fold", no_wrap=False)
    for row in rows:
        # A cell is text: what looks like markup in a prompt is the prompt's.
        table.add_row(*map(Text, row))
    Console(highlight=False).print(table)


@contextmanager
def progress(what: str) -> Generator[Callable[[int, int], object]]:
    """Give who does long work somebody to tell how much of how much is done: a bar, where somebody looks."""
    if not sys.stderr.isatty() or find_spec("rich") is None:
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)
        yield lambda done, total: bars.update(task, completed=done, total=total)
