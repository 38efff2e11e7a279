"""Change memollm's core on purpose, one place at a time, and tell which changes its tests do not notice.

Run by `make mutants`, or as `python tests/mutants.py --number 100 --seed 1 --only _draws`. A change that is not noticed
asks for a test, unless it changes nothing that anyone could see. The package is changed in a copy.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib.util
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
STORES = "stores properties/test_store_machine.py"
TESTS = {  # What belongs to a folder, fastest first.
    "_draws": "unit/test_desk.py unit/test_drawing.py unit/test_tender.py unit/test_replay.py unit/test_ttl.py "
    "unit/test_lanes.py properties/test_draw_machine.py unit/test_modes.py unit/test_limits.py "
    "faults/test_one_flight.py faults/test_counting.py",
    "_drive": "unit/test_drawing.py unit/test_batch.py unit/test_gather.py unit/test_map.py unit/test_streams.py "
    "unit/test_limits.py faults/test_concurrency.py faults/test_one_flight.py faults/test_maps.py",
    "_keys": "unit/test_canonical.py unit/test_keyer.py unit/test_identity.py unit/test_near_misses.py "
    "unit/test_golden_keys.py unit/test_bounds.py unit/test_changes.py properties/test_canonical_laws.py "
    "faults/test_hostile_functions.py",
    "_spending": "unit/test_usage.py unit/test_prices.py unit/test_budget.py unit/test_limits.py unit/test_stats.py "
    "unit/test_track.py faults/test_counting.py",
    "_takeover": "unit/test_import.py",
    "_upkeep": "unit/test_prune.py unit/test_transfer.py unit/test_verify.py unit/test_changes.py unit/test_modes.py "
    "stores/test_store_transfer.py properties/test_merges.py cli/test_cli_transfer.py",
    "_values": "unit/test_codec.py unit/test_values.py unit/test_codec_same.py unit/test_signing.py "
    "unit/test_sdk_objects.py properties/test_codec_laws.py faults/test_hostile_records.py",
    "stores": f"{STORES} faults/test_one_flight.py faults/test_lane_processes.py unit/test_transfer.py",
    "stores/memory": f"{STORES} unit/test_drawing.py",
    "stores/sqlite": f"{STORES} faults/test_one_flight.py faults/test_lane_processes.py faults/test_forks.py "
    "unit/test_transfer.py unit/test_prune.py unit/test_verify.py",
}
PAIRS = [(ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.And, ast.Or)]
OTHER = {one: (other,) for pair in PAIRS for one, other in (pair, pair[::-1])} | {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
TOLD = re.compile(r"\b(warn\w*|log\w*|cast|Literal|TypeVar)$")
SQL = [  # A term that always holds keeps its parameters, so that a change is noticed by what it does.
    (r"\b(WHERE|AND|OR|ON) ([\w.?]+ (?:<>|[<>]=?|=|IS NOT|IS) [\w.?]+(?: [-+%] [\w.?]+)?)", r"\1 (\2 OR 1)"),
    (r"\s+ORDER BY (?:(?!LIMIT)[\w., ])+", " "),
    (r"\bNOT (EXISTS|IN)\b", r"\1"),
    (r"\s+UNION SELECT [^;)]+", ""),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
]


class Change(NamedTuple):
    """A place in a file's bytes, and what to write there instead."""

    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        """Return the source with the change made."""
        return source[: self.start] + self.new + source[self.end :]

    def line(self, source: bytes) -> int:
        """Return the number of the line where the change begins."""
        return source.count(b"\n", 0, self.start) + 1

    def words(self, source: bytes) -> str:
        """Say in one line what becomes what."""
        before, after = (" ".join(text.decode().split())[:70] for text in (source[self.start : self.end], self.new))
        return f"{before}  =>  {after or '(nothing)'}"


def is_quiet(node: ast.AST) -> bool:
    """Tell whether nothing below a node is to be changed: texts, types, and what only tells people something."""
    match node:
        case (
            ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom()
        ):
            return True
        case ast.Call(func=called) | ast.Subscript(value=called):
            return TOLD.search(ast.unparse(called)) is not None
    return False


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what of a node's children may be changed."""
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns", "decorator_list", "bases"}:
            yield from (
                child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            )


def variants(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield a node's parts that can be changed, each with what to write instead."""
    match node:
        case ast.Compare(ops=[operator]):
            for other in OTHER[type(operator)]:
                yield node, f"({ast.unparse(ast.Compare(node.left, [other()], node.comparators))})"
        case ast.BoolOp(op=operator):
            yield node, f"({ast.unparse(ast.BoolOp(OTHER[type(operator)][0](), node.values))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() | int() | float() as value):
            yield node, str(not value) if isinstance(value, bool) else str(value + 1)
        case ast.Call(func=ast.Name(id=name) as called) if name in NAMES:
            yield called, NAMES[name]
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test]):
            yield from ((test, text) for text in ("True", "False") if not isinstance(test, ast.Constant))


def python_changes(source: bytes) -> list[Change]:
    """Return every change of a Python file, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    open_nodes: list[ast.AST] = [ast.parse(source)]
    while open_nodes:
        node = open_nodes.pop()
        if is_quiet(node) or (isinstance(node, ast.Expr) and is_quiet(node.value)):
            continue
        for part, text in variants(node):
            end = starts[part.end_lineno - 1] + part.end_col_offset
            found.append(Change(starts[part.lineno - 1] + part.col_offset, end, text.encode()))
        open_nodes += parts(node)
    return sorted(set(found))


def sql_changes(source: bytes) -> list[Change]:
    """Return every change of a file of SQL statements, in the order of its lines."""
    text = source.decode()
    return sorted(
        Change(*(len(text[:at].encode()) for at in match.span()), match.expand(new).encode())
        for pattern, new in SQL
        for match in re.finditer(pattern, text)
        if not text[: match.start()].rpartition("\n")[2].startswith("--")
    )


def changes(path: Path) -> list[Change]:
    """Return every change of a file."""
    return (sql_changes if path.suffix == ".sql" else python_changes)(path.read_bytes())


def tests_of(name: str) -> list[str]:
    """Return the tests that belong to a file of the package: those of the innermost folder that has some."""
    folder = max((folder for folder in TESTS if name.startswith(f"memollm/{folder}/")), key=len)
    return [f"tests/{path}" for path in TESTS[folder].split()]


def python_of(project: Path) -> Path:
    """Return a Python that imports the copy, also in programs that tests start."""
    folder = project.with_name("environment")
    venv.create(folder, symlinks=True)
    (packages,) = (folder / "lib").glob("*/site-packages")
    (packages / "project.pth").write_text(f"{project}\n{sysconfig.get_path('purelib')}\n", encoding="utf-8")
    return folder / "bin" / "python"


def passes(python: Path, project: Path, tests: list[str], deadline: float) -> bool:
    """Run tests on a copy of the project; what does not end in time has failed."""
    command = [python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-m", "not deep", *tests]
    quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
    run = subprocess.Popen(command, cwd=project, start_new_session=True, **quiet)
    try:
        return run.wait(deadline) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def write(path: Path, source: bytes) -> None:
    """Write a file of the copy; one of the same size and second would be taken for the one that was compiled."""
    path.write_bytes(source)
    Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)


def main() -> None:
    """Make a sample of changes, one after another, and print what became of each."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--number", type=int, default=30, help="how many changes to sample")
    options.add_argument("--seed", type=int, default=0, help="another seed samples other changes")
    options.add_argument("--only", metavar="FOLDER", choices=sorted(TESTS), help="a folder of the package")
    options.add_argument(
        "--deadline", type=float, help="seconds for each run; else thrice those of a first, unchanged one"
    )
    asked = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended."))  # The tests that are running end, too.
    folders = [asked.only] if asked.only else sorted(TESTS)
    files = sorted({path for folder in folders for path in (ROOT / "memollm" / folder).rglob("*.[ps][yq]*")})
    every = [(path.relative_to(ROOT).as_posix(), change) for path in files for change in changes(path)]
    sample = sorted(random.Random(asked.seed).sample(every, min(asked.number, len(every))))
    noticed = 0
    deadlines: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        project = Path(folder) / "project"
        shutil.copytree(ROOT, project, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        python = python_of(project)
        for name, change in sample:
            tests = tests_of(name)
            if not asked.deadline and str(tests) not in deadlines:
                begun = time.monotonic()
                if not passes(python, project, tests, 3600):
                    sys.exit(f"The tests of {name} fail without a change: run pytest {' '.join(tests)} first.")
                deadlines[str(tests)] = 3 * (time.monotonic() - begun) + 10
            source = (project / name).read_bytes()
            write(project / name, change.apply(source))
            failed = not passes(python, project, tests, asked.deadline or deadlines[str(tests)])
            write(project / name, source)
            noticed += failed
            verdict = "noticed    " if failed else "NOT NOTICED"
            print(f"{verdict} {name}:{change.line(source)}  {change.words(source)}", flush=True)
    print(f"{noticed} of {len(sample)} changes were noticed; {len(every)} are possible.")


if __name__ == "__main__":
    main()
