"""Run the benchmarks that are named, or all."""

from __future__ import annotations

import argparse
import json
import pkgutil
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import benchmarks
from benchmarks import _check
from benchmarks._measure import Row
from benchmarks._picture import picture
from benchmarks._report import machine, machine_line, show

ORDER = ("memo_hit", "first_touch", "new_process", "durable_draw", "draw_many", "async_hit", "miss", "storage")
"""What a user asks first; the rest follows by name."""


class Measured(NamedTuple):
    """What a benchmark gave: its rows, and what it had to leave out."""

    name: str
    rows: list[Row]
    skipped: list[str]

    def as_json(self) -> dict[str, object]:
        rows = [row.as_json() for row in self.rows]
        rerun = f"python -m benchmarks {self.name}"
        return {"about": about(self.name), "rerun": rerun, "rows": rows, "skipped": self.skipped}


def names() -> list[str]:
    found = {module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")}
    found = {name for name in found if hasattr(load(name), "run")}
    return [*ORDER, *sorted(found - set(ORDER))]


def load(name: str):
    return import_module(f"benchmarks.{name}")


def about(name: str) -> str:
    """Return the first line of a benchmark's docstring: what it measures."""
    return (load(name).__doc__ or "").partition("\n")[0]


def arguments() -> argparse.Namespace:
    described = "\n".join(f"  {name:14} {about(name)}" for name in names())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark; all when none is named")
    parser.add_argument("--deep", action="store_true", help="also those that fill large files")
    parser.add_argument("--check", action="store_true", help="those with promised targets; exit 1 if one is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    parser.add_argument("--svg", type=Path, metavar="FOLDER", help="draw NAME.svg for each in a folder, too")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names()):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    return given


def chosen(given: argparse.Namespace) -> list[str]:
    if given.names:
        return given.names
    if given.check:
        return list(_check.PROMISED)
    return [name for name in names() if given.deep or not getattr(load(name), "DEEP", False)]


def measure(name: str) -> Measured:
    begin = time.monotonic()
    measured = Measured(name, [], [])
    for row in load(name).run():
        if isinstance(row, Row):
            measured.rows.append(row)
        else:
            measured.skipped.append(row)
            sys.stderr.write(f"{row}\n")
    sys.stderr.write(f"{name}: {time.monotonic() - begin:.1f} s\n")
    return measured


def write_json(results: list[Measured], described: dict[str, object], file: Path) -> None:
    found = {measured.name: measured.as_json() for measured in results}
    text = json.dumps({"machine": described, "benchmarks": found}, indent=1, ensure_ascii=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text + "\n", encoding="utf-8")


def draw(results: list[Measured], described: dict[str, object], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows, _ in results:
        own = getattr(load(name), "picture", None)
        text = picture(name, about(name), rows, machine_line(described)) if own is None else own()
        (folder / f"{name}.svg").write_text(text, encoding="utf-8")


def verdict(results: list[Measured]) -> int:
    """Say which targets are missed, and return the exit code for that."""
    rows = [row for measured in results for row in measured.rows]
    skipped = [note for measured in results for note in measured.skipped]
    sys.stdout.write("\n" + "\n".join(_check.lines(rows, skipped)) + "\n")
    return 1 if _check.missed(rows) else 0


def main() -> int:
    given = arguments()
    described = machine()
    sys.stdout.write("; ".join(f"{what} {value}" for what, value in described.items()) + "\n\n")
    results = [measure(name) for name in chosen(given)]
    show([row for measured in results for row in measured.rows])
    if given.json:
        write_json(results, described, given.json)
    if given.svg:
        draw(results, described, given.svg)
    return verdict(results) if given.check else 0


if __name__ == "__main__":
    sys.exit(main())
