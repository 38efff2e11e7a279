"""The table on the terminal, and the machine that it was measured on."""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import version
from pathlib import Path

from benchmarks._caches import parent
from benchmarks._measure import UNITS, Row, number
from memollm.stores.sqlite.files import filesystem_of

HEAD = ("figure", "measured", "floor", "", "ratio", "target", "")


def machine() -> dict[str, object]:
    return {
        "memollm": version("memollm"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "filesystem": filesystem_of(parent()) or "unknown",
        "garbage collector": "collected before each round, off during it",
        "spread": "half the distance of the quartiles",
    }


def processor() -> str:
    """Return what the processor calls itself."""
    known = Path("/proc/cpuinfo")
    lines = known.read_text(encoding="utf-8").splitlines() if known.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def machine_line(described: dict[str, object]) -> str:
    """Return what stands below a picture."""
    parts = [f"{what} {described[what]}" for what in ("memollm", "sqlite")]
    return ", ".join(
        [*parts, *(str(described[what]) for what in ("python", "system", "cpu")), f"{described['cores']} cores"]
    )


def cells(row: Row) -> tuple[str, ...]:
    scale = UNITS[row.unit]
    floor = "" if row.floor_measured is None else f"{row.floor_measured.text(scale)} {row.unit}"
    ratio = "" if row.ratio is None else number(row.ratio)
    target = "-" if row.target is None else row.target.text()
    verdict = "" if row.met is None else "met" if row.met else "MISSED"
    return (row.title, f"{row.measured.text(scale)} {row.unit}", row.floor, floor, ratio, target, verdict)


def show(rows: list[Row]) -> None:
    table = [HEAD, *map(cells, rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for line in table:
        padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
