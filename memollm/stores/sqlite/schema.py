"""What a database's schema may hold: byte for byte what our own statements have made, and nothing besides.

Whoever writes a cache's folder could otherwise have SQLite do things with every draw: a trigger drops what was paid
for, a view never ends, an index runs an expression.
"""

from __future__ import annotations

import re
from contextlib import closing
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreRefused, printable
from memollm.stores.sqlite import sql
from memollm.stores.sqlite.connections import connect

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path

MADE: Final = re.compile(r"CREATE (TABLE|INDEX|VIEW) (\w+)(?: ON (\w+))?")
SEQUENCE: Final = ("table", "sqlite_sequence", "sqlite_sequence", "CREATE TABLE sqlite_sequence(name,seq)")
"""SQLite makes it for tables that number their rows."""
AUTOMATIC: Final = "sqlite_autoindex_"
"""How SQLite names the index of a key; what is in it is said by the table."""
NAMED: Final = 3
"""How many of those that are not ours are named."""
SHOWN: Final = 60
MOST_SHOWN: Final = 300
Entry = tuple[str, str, str, str | None]


def our_schema() -> frozenset[Entry]:
    """Return each entry of the schema as SQLite writes it down."""
    made = [*sql.statements()["schema"].split(";"), *sql.EARLIER]
    made += [statement for migration in sql.MIGRATIONS for statement in migration]
    entries: set[Entry] = {SEQUENCE}
    for statement in made:
        found = MADE.search(statement)
        if found is not None:
            kind, name, table = found.groups()
            entries.add((kind.lower(), name, table or name, statement[found.start() :].strip()))
    return frozenset(entries)


def foreign_entries(connection: sqlite3.Connection) -> list[str]:
    """Name, each with its kind, what a schema holds that is not ours."""
    return [name for name, _ in _foreign(connection)]


def foreign_texts(database: Path) -> list[str]:
    """Do so with the statement that has made each, reading the file as it lies there."""
    log = database.with_name(f"{database.name}-wal")
    mode = "ro" if log.exists() and log.stat().st_size else "ro&immutable=1"
    with closing(connect(database, mode=mode)) as connection:
        return [f"{name}: {_shown(text, MOST_SHOWN)}" for name, text in _foreign(connection)]


def _foreign(connection: sqlite3.Connection) -> Iterator[tuple[str, object]]:
    ours, pages = our_schema(), set[object]()
    tables = {name for kind, name, _, _ in ours if kind == "table"}
    for kind, name, table, page, text in connection.execute(
        "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_master"
    ).fetchall():
        is_key = kind == "index" and text is None and table in tables and str(name).startswith(AUTOMATIC + table)
        # Of two entries on one page, one writes into the other.
        shared, pages = bool(page) and page in pages, pages | {page}
        if shared or not (is_key or (kind, name, table, text) in ours):
            on = "" if name == table else f" on {_shown(table)}"
            yield f"{_shown(kind)} {_shown(name)}{on}", text


def _shown(value: object, most: int = SHOWN) -> str:
    text = printable(" ".join(str(value).split()))
    return text if len(text) <= most else f"{text[:most]}…"


def refuse_foreign_entries(connection: sqlite3.Connection, database: Path) -> None:
    """Refuse a database whose schema holds anything that is not ours."""
    foreign = foreign_entries(connection)
    if foreign:
        raise StoreRefused(
            f"{database} holds what memollm did not make: {listed(foreign)}. It could change or drop what is stored, "
            "so the file was left as it is and is not used. Look with `memollm doctor`; `memollm verify --repair` "
            "saves the samples into a file without it and keeps a copy of this one."
        )


def listed(foreign: list[str]) -> str:
    """Write a few of them into a sentence."""
    more = f" and {len(foreign) - NAMED:,} more" if len(foreign) > NAMED else ""
    return ", ".join(foreign[:NAMED]) + more
