"""Reading what is left of a damaged SQLite file, row by row, into a new one."""

from __future__ import annotations

import mmap
import sqlite3
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm.stores.sqlite.pages import stray_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NUMBERED: Final = (
    "call", "sample", "reader", "owner", "lane", "vector", "catalog_function", "catalog_namespace", "catalog_run",
)  # fmt: skip
"""Tables whose rows have numbers, so that reading can go on behind a damaged page."""
KEYED: Final = {
    "cursor": ("reader", "call"),
    "loose": ("reader", "call", "position"),
    "claim": ("call", "slot"),
    "recorded": ("recorder", "call", "position"),
    "budget": ("program",),
    "tally": ("day", "run", "namespace", "function"),
    "used": ("run", "call", "first"),
    "drawn": ("runner", "reader", "call", "first"),
    "replaced": ("call", "slot", "stored", "digest"),
    "likeness": ("call", "shadow"),
}
"""Tables that are ordered by a key, and that key."""
NUMBERS: Final = {"reader": "reader", "recorder": "reader", "runner": "reader", "call": "call"}
"""The tables that say which numbers there are."""
UNREADABLE: Final = (sqlite3.DatabaseError, UnicodeDecodeError)
"""What reading a damaged file raises: the second where a message of SQLite quotes what is no text."""
Row = tuple[Any, ...]
LAST_ROW: Final = 1 << 62


class Salvaged(NamedTuple):
    """A table of a file, and those of its columns that are ours."""

    name: str
    columns: tuple[str, ...]

    @property
    def wanted(self) -> str:
        """Name the columns as a statement does."""
        return ", ".join(self.columns)


def readable(text: bytes) -> str:
    """Read text that damage may have made none: it must not end the reading of what is whole."""
    return text.decode("utf-8", "replace")


def be_lenient(source: sqlite3.Connection) -> None:
    """Let SQLite read a file that is shorter than it should be, and whatever stands where text should."""
    source.execute("PRAGMA writable_schema = ON")
    source.text_factory = readable


def salvage(source: sqlite3.Connection, target: sqlite3.Connection, database: Path) -> list[str]:
    """Copy every row that can be read; return, a sentence each, what could not."""
    lost: list[str] = []
    tables = {name: _table(source, target, name) for name in (*NUMBERED, *KEYED)}
    lost += [f"table {name}: it is not there, or no table" for name, table in tables.items() if table is None]
    for table in filter(None, map(tables.get, NUMBERED)):
        for row in _numbered_rows(source, table, lost):
            _insert(target, table.name, row, table.columns)
    for table in filter(None, map(tables.get, KEYED)):
        for row in _keyed_rows(source, table, KEYED[table.name], lost):
            _insert(target, table.name, row, table.columns)
    if lost:
        with database.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for name, row in stray_rows(data):
                _insert(target, name, row)
    return lost


def _table(source: sqlite3.Connection, target: sqlite3.Connection, name: str) -> Salvaged | None:
    """Find a table and the columns that are ours, in our order; a view by its name is none, nor is what it computes."""
    try:
        (made,) = source.execute("SELECT sql FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)).fetchone()
        there = {str(column) for _, column, *_ in source.execute(f"PRAGMA table_info({name})")}
    except (*UNREADABLE, TypeError):
        return None
    columns = tuple(column for column in _columns(target, name) if column in there)
    is_table = str(made).startswith("CREATE TABLE") and there.issuperset(KEYED.get(name, columns[:1])) and columns
    return Salvaged(name, columns) if is_table else None


def _columns(target: sqlite3.Connection, name: str) -> list[str]:
    return [column for _, column, *_ in target.execute(f"PRAGMA table_info({name})")]


def _insert(target: sqlite3.Connection, name: str, row: Row, columns: Sequence[str] = ()) -> None:
    """Copy a row, unless damage made it one that the table cannot hold; one of an older schema has fewer columns."""
    columns = columns or _columns(target, name)[: len(row)]
    if len(columns) < len(row):
        return
    places = ", ".join("?" * len(row))
    target.execute(f"INSERT OR IGNORE INTO {name} ({', '.join(columns)}) VALUES ({places})", row)  # noqa: S608 - names of ours


def _numbered_rows(source: sqlite3.Connection, table: Salvaged, lost: list[str]) -> Iterator[Row]:
    """Read in the order of the rows' numbers; at what cannot be read, go on behind it."""
    at = -1
    while True:
        try:
            for number, *row in _rows_behind(source, table, at):
                yield tuple(row)
                at = number
        except UNREADABLE as error:
            # Python reads a row ahead, so the last whole one may not have been given yet.
            found = _row_behind(source, table, at) or _next_readable(source, table, at)
            if found is None or found[0] > at + 1:
                upto = "its end" if found is None else f"row {found[0]}"
                lost.append(f"table {table.name}: what stood between row {at} and {upto} could not be read ({error})")
            if found is None:
                return
            at = found[0]
            yield found[1:]
        else:
            return


def _rows_behind(source: sqlite3.Connection, table: Salvaged, after: int) -> Iterator[Row]:
    statement = f"SELECT rowid, {table.wanted} FROM {table.name} NOT INDEXED WHERE rowid > ? ORDER BY rowid"  # noqa: S608 - a name of ours
    for row in source.execute(statement, (after,)):
        if not isinstance(row[0], int) or row[0] <= after:
            # Damage can make a table a circle.
            raise sqlite3.DatabaseError("rows out of order")
        after = row[0]
        yield row


def _next_readable(source: sqlite3.Connection, table: Salvaged, after: int) -> Row | None:
    """Find the first row behind a damaged page: further and further on, then back to where the damage ends."""
    bad, good, found = after, after, None
    while found is None:
        bad, good = good, after + max(1, 2 * (good - after))
        if good > LAST_ROW:
            return None
        found = _row_behind(source, table, good)
        if found == ():
            return None
    while good - bad > 1:
        middle = (bad + good) // 2
        closer = _row_behind(source, table, middle)
        if closer:
            good, found = middle, closer
        else:
            bad = middle
    return found


def _row_behind(source: sqlite3.Connection, table: Salvaged, number: int) -> Row | None:
    """Return the first row behind a number, with its own; nothing if there is none, None if it cannot be read."""
    statement = f"SELECT rowid, {table.wanted} FROM {table.name} NOT INDEXED WHERE rowid > ? ORDER BY rowid LIMIT 1"  # noqa: S608 - the same
    try:
        row: Row = source.execute(statement, (number,)).fetchone() or ()
    except UNREADABLE:
        return None
    return row if not row or (isinstance(row[0], int) and row[0] > number) else None


def _keyed_rows(source: sqlite3.Connection, table: Salvaged, key: tuple[str, ...], lost: list[str]) -> Iterator[Row]:
    """Read from the front, and where that breaks off from both ends, of all and of each number a key begins with."""
    try:
        yield from source.execute(f"SELECT {table.wanted} FROM {table.name} ORDER BY {', '.join(key)}")  # noqa: S608 - names of ours
    except UNREADABLE as error:
        lost.append(f"table {table.name}: a part could not be read ({error})")
        yield from _from_both_ends(source, table, key)


def _from_both_ends(source: sqlite3.Connection, table: Salvaged, key: tuple[str, ...]) -> Iterator[Row]:
    limits = [""]
    if key[0] in NUMBERS:
        numbers = _numbered_rows(source, Salvaged(NUMBERS[key[0]], ("id",)), [])
        limits += [f"{key[0]} = {number:d} AND" for number, *_ in numbers if isinstance(number, int)]
    for limit in limits:
        yield from _steps(source, table, key, limit=limit, back=False)
        yield from _steps(source, table, key, limit=limit, back=True)


def _steps(
    source: sqlite3.Connection, table: Salvaged, key: tuple[str, ...], *, limit: str, back: bool
) -> Iterator[Row]:
    """Read one row after the other in the order of the key, until one cannot be read."""
    beyond, order = ("<", " DESC") if back else (">", "")
    ordered = f"ORDER BY {', '.join(column + order for column in key)} LIMIT 1"
    next_one = f"({', '.join(key)}) {beyond} ({', '.join('?' * len(key))})"
    condition: str = "1"
    values: Row = ()
    seen: set[Row] = set()
    while values not in seen:
        seen.add(values)
        statement = f"SELECT {table.wanted} FROM {table.name} WHERE {limit} {condition} {ordered}"  # noqa: S608 - the same
        try:
            row = source.execute(statement, values).fetchone()
        except UNREADABLE:
            return
        if row is None:
            return
        yield row
        condition, values = next_one, row[: len(key)]
