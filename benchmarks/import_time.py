"""`import memollm` against `import asyncio, sqlite3`, each in new processes, without the interpreter's own start."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks._measure import Row, Timed, in_turn, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator


def importer(modules: str) -> Timed:
    program = f"from time import perf_counter as t; b = t(); import {modules}; print(t() - b)"

    # Compiling is not importing, so bytecode may be kept from the first round on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def timed(number: int) -> float:
        command = [sys.executable, "-c", program]
        outputs = (
            subprocess.run(command, check=True, capture_output=True, env=environment).stdout for _ in range(number)
        )
        return sum(map(float, outputs))

    return timed


def run() -> Iterator[Row]:
    times = in_turn({"memollm": importer("memollm"), "floor": importer("asyncio, sqlite3")}, number=1, rounds=15)
    yield ratio("import memollm", times["memollm"], "import asyncio, sqlite3", times["floor"], at_most=2, unit="ms")
