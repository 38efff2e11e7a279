"""The SQL of a SQLite store: named statements in files by concern, and how older schemas are brought up to date."""

from __future__ import annotations

from functools import cache
from importlib.resources import files as package_files
from typing import Final

PACKAGE: Final = __name__.rpartition(".")[0]
FILES: Final = ("schema", "drawing", "looking", "keeping", "transfer", "check", "matching")
FIRST_VERSION: Final = 5
"""The oldest schema that can be brought up to date; what was before it was never released."""
MIGRATIONS: Final[list[tuple[str, ...]]] = []
"""Statements that make each version after the first out of the one before it. A new file has the latest at once."""
EARLIER: Final[list[str]] = []
"""What else the schema of a file may say that came to the latest version by a migration: one that alters a table leaves
another text than a new file has, and whatever nobody knows here is refused on opening."""
SCHEMA_VERSION: Final = FIRST_VERSION + len(MIGRATIONS)


@cache
def statements() -> dict[str, str]:
    """Read the named statements of all files."""
    named: dict[str, str] = {}
    for file in FILES:
        text = package_files(PACKAGE).joinpath(f"{file}.sql").read_text(encoding="utf-8")
        for block in text.split("-- name: ")[1:]:
            named[block.split(None, 1)[0]] = block.partition("\n")[2].strip()
    return named


def upgrade(version: int) -> list[str]:
    """Return the statements that make the latest schema out of a version of it; version 0 is an empty file."""
    if not version:
        return statements()["schema"].split(";")
    return [statement for migration in MIGRATIONS[version - FIRST_VERSION :] for statement in migration]
