"""The table on the terminal, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import version

from benchmarks._caches import parent
from benchmarks._measure import UNITS, Row
from memollm.stores._sqlite_files import filesystem_of

HEAD = ("figure", "measured", "floor", "", "ratio", "target", "")


def machine() -> dict[str, object]:
    return {
        "memollm": version("memollm"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "filesystem": filesystem_of(parent()) or "unknown",
        "garbage collector": "off during rounds",
        "spread": "half the distance of the quartiles",
    }


def cells(row: Row) -> tuple[str, ...]:
    scale = UNITS[row.unit]
    floor = "" if row.floor_measured is None else f"{row.floor_measured.text(scale)} {row.unit}"
    judged = "" if row.judged is None else f"{row.judged:.2f}"
    verdict = "" if row.met is None else "met" if row.met else "MISSED"
    return (row.figure, f"{row.measured.text(scale)} {row.unit}", row.floor, floor, judged, row.target, verdict)


def show(rows: list[Row]) -> None:
    table = [HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
