"""Run the benchmarks that are named, or all."""

from __future__ import annotations

import argparse
import importlib
import json
import pkgutil
import sys
import time
from pathlib import Path

import benchmarks
from benchmarks._measure import Row
from benchmarks._report import machine, show

ORDER = ("memo_hit", "durable_draw", "first_touch", "draw_many", "async_hit", "miss")
"""Small ones first; the rest follows by name."""


def names() -> list[str]:
    found = {module.name for module in pkgutil.iter_modules(benchmarks.__path__) if not module.name.startswith("_")}
    return [*ORDER, *sorted(found - set(ORDER))]


def arguments() -> argparse.Namespace:
    described = "\n".join(f"  {name:14} {(load(name).__doc__ or '').splitlines()[0]}" for name in names())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", epilog=described, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="a benchmark; all when none is named")
    parser.add_argument("--deep", action="store_true", help="also those that fill large files")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    given = parser.parse_args()
    if unknown := set(given.names) - set(names()):
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}; there are {', '.join(names())}")
    return given


def load(name: str):
    return importlib.import_module(f"benchmarks.{name}")


def chosen(given: argparse.Namespace) -> list[str]:
    return given.names or [name for name in names() if given.deep or not getattr(load(name), "DEEP", False)]


def measure(name: str) -> list[Row]:
    begin = time.monotonic()
    rows = []
    for row in load(name).run():
        if isinstance(row, Row):
            rows.append(row)
        else:
            sys.stderr.write(f"{row}\n")
    sys.stderr.write(f"{name}: {time.monotonic() - begin:.1f} s\n")
    return rows


def main() -> int:
    given = arguments()
    described = machine()
    sys.stdout.write("; ".join(f"{what} {value}" for what, value in described.items()) + "\n\n")
    rows = [row for name in chosen(given) for row in measure(name)]
    show(rows)
    if given.json:
        text = json.dumps({"machine": described, "rows": [row.as_json() for row in rows]}, indent=1, ensure_ascii=False)
        given.json.write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
