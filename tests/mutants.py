"""Change memollm's core on purpose, one place at a time, and tell which changes its tests do not notice.

Run by `make mutants`, or as `python tests/mutants.py --number 100 --seed 1 --only _draws`. A change that is not noticed
asks for a test, unless it changes nothing that anyone could see: then `equivalent.txt` says why. The package is changed
in a copy. Each change meets the tests that run its line, the quickest first, until one fails or time is up: what only
the slowest would notice is called NOT NOTICED, too. Which tests run which line is found out once for each version of
the package and of a file of tests, and kept in `.mutants/`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import hashlib
import importlib.util
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import venv
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from mutations import Change, changes, home, lines_around, runs_at_import

ROOT = Path(__file__).parent.parent
NOTES = ROOT / ".mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.txt")
CORE = ["_calls", "_draws", "_drive", "_keys", "_spending", "_upkeep", "_values", "stores"]
FOLDERS = ("unit", "stores", "properties", "faults", "cli")
APART = {"test_house.py", "test_mutants.py", "test_benchmarks.py"}
"""They read sources, or run what is not the package's."""
FIRST_GO = 8
"""How many files of tests are tried before all others: collecting them all takes as long as many of their tests."""


class Place(NamedTuple):
    """A change of a file of the package."""

    name: str
    change: Change
    source: bytes

    def __str__(self) -> str:
        return f"{self.name}:{self.change.line(self.source)}  {self.change.words(self.source)}"

    def described(self) -> tuple[str, str, str]:
        """Return what finds it again when lines have moved: where it stands, the line's text, and the change."""
        line = self.source.splitlines()[self.change.line(self.source) - 1].decode().strip()
        where = f"{self.name} {home(self.name, self.source, self.change)}".rstrip()
        return where, line, self.change.words(self.source)


class Test(NamedTuple):
    """A test, with what it took."""

    seconds: float
    name: str

    @property
    def file(self) -> str:
        """Return the file that it stands in."""
        return self.name.partition("::")[0]


# The copies.


class Copy:
    """A copy of the project with a Python of its own that imports it, also in programs that tests start."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        shutil.copytree(ROOT, self.project, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        venv.create(folder / "environment", symlinks=True)
        (packages,) = (folder / "environment" / "lib").glob("*/site-packages")
        shutil.copy(Path(__file__).with_name("witness.py"), packages)
        paths = f"{self.project}\n{sysconfig.get_path('purelib')}\nimport witness\n"
        (packages / "project.pth").write_text(paths, encoding="utf-8")
        self._python = folder / "environment" / "bin" / "python"
        self._tests, self._last = folder / "tests.txt", folder / "last.txt"

    def write(self, name: str, source: bytes) -> None:
        """Write a file; one of the same size and second would be taken for the one that was compiled."""
        path = self.project / name
        path.write_bytes(source)
        Path(importlib.util.cache_from_source(str(path))).unlink(missing_ok=True)

    def fails(self, tests: list[Test]) -> str | None:
        """Run tests in order and return the first that fails or hangs."""
        self._tests.write_text("\n".join(f"{test.seconds} {test.name}" for test in tests), encoding="utf-8")
        self._last.write_text("(none: an import fails)", encoding="utf-8")
        files = list(dict.fromkeys(test.file for test in tests))
        deadline = 120 + 10 * sum(test.seconds for test in tests)
        ended = self.pytest("-x", *files, deadline=deadline, TESTS=self._tests, LAST=self._last)
        if ended in {4, 5}:
            raise LookupError(f"pytest does not find these tests: {files}")
        return None if ended == 0 else self._last.read_text(encoding="utf-8")

    def pytest(self, *arguments: str, deadline: float, **settings: Path) -> int | None:
        """Run pytest and return its exit status; none if it had to be ended."""
        mine = {f"MUTANTS_{name}": str(value) for name, value in settings.items()}
        mine["MUTANTS_PROJECT"] = str(self.project)
        mine["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"  # Loading other packages' plugins takes longer than most tests.
        command = [self._python, "-m", "pytest", "-q", "-p", "witness", "-p", "no:cacheprovider", "-m", "not deep"]
        quiet = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        run = subprocess.Popen(
            [*command, *arguments], cwd=self.project, env=os.environ | mine, start_new_session=True, **quiet
        )
        try:
            return run.wait(deadline)
        except subprocess.TimeoutExpired:
            return None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(run.pid, signal.SIGKILL)
            run.wait()
            self.end()

    def end(self) -> None:
        """End what runs here, also programs that tests started in groups of their own."""
        mine = f"MUTANTS_PROJECT={self.project}\0".encode()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if mine in (process / "environ").read_bytes():
                    os.kill(int(process.name), signal.SIGKILL)


# What runs where.


def digest(paths: list[Path]) -> str:
    """Return a name for what files hold."""
    return hashlib.sha256(b"".join(path.read_bytes() for path in sorted(paths))).hexdigest()[:16]


def note(copies: queue.Queue[Copy], file: Path, notes: Path) -> None:
    """Run a file of tests and keep what each of them runs."""
    if notes.exists():
        return
    copy = copies.get()
    new = copy.project.with_name("notes.txt")
    new.unlink(missing_ok=True)
    ended = copy.pytest(str(file.relative_to(ROOT)), deadline=1800, NOTES=new)
    if ended not in {0, 1} or not new.exists():
        sys.exit(f"{file.relative_to(ROOT)} could not be run (status {ended}).")
    notes.write_bytes(gzip.compress(new.read_bytes()))
    copies.put(copy)


def noted(copies: queue.Queue[Copy], pool: ThreadPoolExecutor) -> dict[str, set[Test]]:
    """Return the tests that run each line; what is not known yet is found out."""
    tests = [path for folder in FOLDERS for path in (ROOT / "tests" / folder).glob("test_*.py")]
    tests = [path for path in tests if path.name not in APART]
    version = NOTES / digest(list((ROOT / "memollm").rglob("*.[ps][yq]*")))
    for other in {*NOTES.glob("*")} - {version}:
        shutil.rmtree(other)
    version.mkdir(parents=True, exist_ok=True)
    notes = [version / f"{path.stem}-{digest([path])}.gz" for path in tests]
    list(pool.map(lambda pair: note(copies, *pair), zip(tests, notes, strict=True)))
    return read(notes)


def read(notes: list[Path]) -> dict[str, set[Test]]:
    """Return the tests that run each line. What failed without a change can notice nothing."""
    lines: dict[str, set[str]] = defaultdict(set)
    seconds: dict[str, float] = {}
    for path in notes:
        test = ""
        for line in gzip.decompress(path.read_bytes()).decode().splitlines():
            match line[:2]:
                case "> ":
                    test = line[2:]
                case "< ":
                    took, _, name = line[2:].partition(" ")
                    seconds.setdefault(name, float(took))
                case "! ":
                    seconds[line[2:]] = -1
                case _:
                    lines[line].add(test)
    return {
        line: {Test(seconds[name], name) for name in names if seconds.get(name, -1) >= 0}
        for line, names in lines.items()
    }


def tests_of(place: Place, runs: dict[str, set[Test]], seconds: float) -> list[Test]:
    """Return the tests that run a change, quickest first, as many as take so long in all.

    Those of what is run at import are all that run its file.
    """
    lines = (f"{place.name}:{line}" for line in lines_around(place.name, place.source, place.change))
    if runs_at_import(place.name, place.source, place.change):
        lines = (line for line in runs if line.startswith(f"{place.name}:"))
    tests = sorted(set().union(*(runs.get(line, ()) for line in lines)))
    took = accumulate(test.seconds for test in tests)
    return [test for test, until in zip(tests, took, strict=True) if until <= seconds or test is tests[0]]


def is_noticed(copies: queue.Queue[Copy], place: Place, tests: list[Test]) -> bool:
    """Make a change in a copy, and print which test notices it."""
    quickest: dict[str, float] = defaultdict(float)
    for test in tests:
        quickest[test.file] += test.seconds
    first = set(sorted(quickest, key=quickest.get)[:FIRST_GO])
    goes = [test for test in tests if test.file in first], [test for test in tests if test.file not in first]
    copy = copies.get()
    try:
        copy.write(place.name, place.change.apply(place.source))
        by = next(filter(None, (copy.fails(go) for go in goes if go)), None)
    finally:
        copy.write(place.name, place.source)
        copies.put(copy)
    print(f"NOT NOTICED {place}" if by is None else f"noticed     {place}  by {by}", flush=True)
    return by is not None


# The run.


def equivalent() -> dict[tuple[str, str, str], str]:
    """Read the changes that nobody could see, each with the reason."""
    entries = [entry.splitlines() for entry in EQUIVALENT.read_text(encoding="utf-8").split("\n\n")[1:]]
    return {(where, *(text.strip() for text in texts)): why for where, *texts, why in entries}


def places(folders: list[str]) -> list[Place]:
    """Return every change that can be made to folders of the package."""
    files = sorted({path for folder in folders for path in (ROOT / "memollm" / folder).rglob("*.[ps][yq]*")})
    return [
        Place(path.relative_to(ROOT).as_posix(), change, path.read_bytes())
        for path in files
        for change in changes(path)
    ]


def sampled(asked: argparse.Namespace) -> list[Place]:
    """Return the changes that are to be made, and say how many more are equivalent or possible."""
    every = places(asked.only)
    sample = sorted(random.Random(asked.seed).sample(every, min(asked.number, len(every))))
    if asked.again:
        survived = {line.split(None, 2)[2] for line in asked.again.read_text().splitlines() if line[:3] == "NOT"}
        sample = [place for place in every if str(place) in survived]
    same = equivalent()
    if gone := set(same) - {place.described() for place in places(CORE)}:
        print(f"{EQUIVALENT.name} names what is not there any more: {sorted(gone)}")
    left = [place for place in sample if place.described() not in same]
    print(f"{len(sample)} of {len(every)} possible changes, of which {len(sample) - len(left)} are equivalent.")
    return left


def main() -> None:
    """Make a sample of changes and print what became of each."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--number", type=int, default=30, help="how many changes to sample")
    options.add_argument("--seed", type=int, default=0, help="another seed samples other changes")
    options.add_argument("--only", metavar="FOLDER", nargs="+", default=CORE, help="folders of the package")
    options.add_argument("--again", metavar="FILE", type=Path, help="only what an earlier output calls NOT NOTICED")
    options.add_argument("--seconds", type=float, default=60, help="how long the tests of one change take at most")
    options.add_argument("--jobs", type=int, default=os.cpu_count(), help="how many at once")
    asked = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("Ended."))
    sample = sampled(asked)
    with tempfile.TemporaryDirectory(prefix="mutants-", ignore_cleanup_errors=True) as folder:
        every = [Copy(Path(folder) / str(number)) for number in range(asked.jobs)]
        copies: queue.Queue[Copy] = queue.Queue()
        for copy in every:
            copies.put(copy)
        with ThreadPoolExecutor(asked.jobs) as pool:
            try:
                runs = noted(copies, pool)
                found = [
                    pool.submit(is_noticed, copies, place, tests_of(place, runs, asked.seconds)) for place in sample
                ]
                noticed = sum(each.result() for each in as_completed(found))
            finally:
                pool.shutdown(wait=False, cancel_futures=True)
                for copy in every:
                    copy.end()
    print(f"{noticed} of {len(sample)} changes were noticed.")


if __name__ == "__main__":
    main()
