"""The SQL of a PostgreSQL store: named statements in files by concern, written for the schema that they are of."""

from __future__ import annotations

import zlib
from functools import cache
from importlib.resources import files as package_files
from typing import Final

PACKAGE: Final = __name__.rpartition(".")[0]
FILES: Final = (
    "schema",
    "names",
    "positions",
    "drawing",
    "looking",
    "keeping",
    "counting",
    "transfer",
    "thin",
    "matching",
)
FUNCTIONS: Final = (
    "naming_functions",
    "position_functions",
    "drawing_functions",
    "counting_functions",
    "matching_functions",
)
"""What makes the functions of the server anew."""
FIRST_VERSION: Final = 6
"""The oldest schema that can be brought up to date; what was before it was never released."""
MIGRATIONS: Final[list[bytes]] = []
"""Statements that make each version after the first out of the one before it."""
SCHEMA_VERSION: Final = FIRST_VERSION + len(MIGRATIONS)
"""That of the tables and functions. A change of them brings statements that migrate."""
LOCKS: Final = ("OWNERS", "CONNECTIONS", "CALLS", "KEEPING", "EPOCHS")
"""The kinds of advisory locks; each schema has numbers of its own."""


@cache
def statements(schema: str) -> dict[str, bytes]:
    """Read the named statements of all files, for a schema."""
    named: dict[str, bytes] = {}
    for file in FILES:
        text = package_files(PACKAGE).joinpath(f"{file}.sql").read_text(encoding="utf-8")
        for block in text.split("-- name: ")[1:]:
            named[block.split(None, 1)[0]] = _written_for(schema, block.partition("\n")[2].strip()).encode()
    return named


def _written_for(schema: str, text: str) -> str:
    text = text.replace("memollm.", f'"{schema}".').replace(
        "SCHEMA IF NOT EXISTS memollm;", f'SCHEMA IF NOT EXISTS "{schema}";'
    )
    text = text.replace("$CHANNEL", f"'{channel(schema)}'")
    for kind in LOCKS:
        number = zlib.crc32(f"memollm {schema} {kind}".encode())
        signed = number - (1 << 32) if number >= 1 << 31 else number
        text = text.replace(f"${kind}_OID", str(number)).replace(f"${kind}", str(signed))
    return text


def channel(schema: str) -> str:
    """Return where notices of a schema are told."""
    return f"memollm.{schema}"
