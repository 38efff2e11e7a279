"""Lets the site's reference show docstrings as they are written here: aligned lists, and code behind two colons."""

from __future__ import annotations

import re
from typing import Any

from griffe import Class, Extension, Function, Module

ITEM = re.compile(r"^(?P<name>[\w*]+(?:, [\w*]+)*)  +(?P<meaning>\S.*)$")


class AlignedLists(Extension):
    """Turns a name, two spaces or more, and what it means into a row of a table."""

    def on_instance(self, *, obj: Module | Class | Function, **_: Any) -> None:
        """Rewrite the docstring of whatever was found."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """Return a docstring whose lists are tables."""
    lines: list[str] = []
    rows: list[tuple[str, str]] = []
    for line in re.sub(
        r"^::$\n", "", re.sub(r"(\S)::$", r"\1:", docstring, flags=re.MULTILINE), flags=re.MULTILINE
    ).splitlines():
        item = ITEM.match(line)
        if item:
            rows.append((item["name"], item["meaning"]))
        elif rows and line.startswith("  "):
            rows[-1] = (rows[-1][0], f"{rows[-1][1]} {line.strip()}")
        else:
            lines += table(rows)
            rows = []
            lines.append(line)
    return "\n".join([*lines, *table(rows)])


def table(rows: list[tuple[str, str]]) -> list[str]:
    """Return rows as a table of Markdown."""
    if not rows:
        return []
    names = [(", ".join(f"`{name}`" for name in names.split(", ")), meaning) for names, meaning in rows]
    return [
        "",
        "| name | meaning |",
        "| --- | --- |",
        *(f"| {name} | {meaning.replace('|', chr(92) + '|')} |" for name, meaning in names),
        "",
    ]
