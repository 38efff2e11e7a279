"""Print all that the benchmarks `field` and `estimates` measure, and write it to a file."""

from __future__ import annotations

import argparse
import json
import sys
import time
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks._report import machine, show
from benchmarks._workload import estimation, workload

if TYPE_CHECKING:
    from benchmarks._workload.trials import Trial


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks._workload", description=__doc__)
    parser.add_argument("--deep", action="store_true", help="with the sizes of the published experiments")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to a file, too")
    given = parser.parse_args()
    begin = time.monotonic()
    field = workload.begin(workload.DEEP_PUZZLES if given.deep else workload.PUZZLES)
    estimates: dict[str, Trial] = {}
    for text in chain(workload.measure(field), estimation.measure(estimates)):
        print(text, flush=True)
    show([*workload.rows(field), *estimation.rows(estimates)])
    print(f"\n{time.monotonic() - begin:.0f} s")
    if given.json:
        figures = {"machine": machine(), "field": workload.as_json(field), "estimates": estimation.as_json(estimates)}
        given.json.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
