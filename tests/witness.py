"""In every Python process of a test run: note which lines each test runs, or run chosen tests in a given order.

`mutants.py` starts it by the environment, in programs that tests start, too: notes go to the file MUTANTS_NOTES as they
are made, so that those of killed processes count. SQL is noted as the lines of the statement that was executed.
(As it is loaded before pytest: PYTEST_DONT_REWRITE.)
"""

from __future__ import annotations

import faulthandler
import os
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

NOTES, TESTS, LAST = (os.environ.get(f"MUTANTS_{name}") for name in ("NOTES", "TESTS", "LAST"))
PROJECT = os.environ.get("MUTANTS_PROJECT", "")
HANG = 60.0
"""Seconds after which a test has hung, beside ten times what it took when nothing was changed."""
chosen: dict[str, float] = {}
"""The tests to run, in order, and what they took."""
connect = sqlite3.connect


class Witness:
    """Writes down each line of the package once a test, when it is first run."""

    def __init__(self) -> None:
        self._file = os.open(NOTES, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._package = f"{PROJECT}{os.sep}memollm{os.sep}"
        self._unseen: dict[int, tuple[object, set[int]]] = {}
        self._seen: set[str] = set()
        self._heads = list(self._statements())

    def _statements(self):
        for path in Path(self._package).rglob("*.sql"):
            text = path.read_text(encoding="utf-8")
            line = 1
            for block in text.split("-- name: "):
                lines = range(line, line + block.count("\n"))
                line = lines.stop
                head = block.partition("\n")[2].strip().partition("?")[0]
                yield head, [f"{path.relative_to(PROJECT).as_posix()}:{number}" for number in lines]

    def note(self, text: str) -> None:
        """Write a line; processes and threads write theirs side by side."""
        with suppress(OSError):  # Some tests let every write fail.
            os.write(self._file, text.encode() + b"\n")

    def begin(self, test: str) -> None:
        """Let another test be the one that runs what is run from here on."""
        self.note(f"> {test}")
        self._unseen.clear()
        self._seen.clear()
        self.watch()

    def watch(self) -> None:
        """Look at this thread and at those that will be started."""
        threading.settrace(self._enter)
        sys.settrace(self._enter)
        sqlite3.connect = self._connect

    def _connect(self, *args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(self._executed)
        return connection

    def _executed(self, sql: str) -> None:
        for head, lines in self._heads:
            if head not in self._seen and head and sql.startswith(head):
                self._seen.add(head)
                self.note("\n".join(lines))

    def _enter(self, frame, _event, _arg):
        code = frame.f_code
        known = self._unseen.get(id(code))
        if known is None:
            ours = code.co_filename.startswith(self._package)
            known = self._unseen[id(code)] = (code, {line for *_, line in code.co_lines() if line} if ours else set())
        return self._step if known[1] else None

    def _step(self, frame, event, _arg):
        code, line = frame.f_code, frame.f_lineno
        unseen = self._unseen.get(id(code), (None, ()))[1]
        if event == "line" and line in unseen:
            unseen.discard(line)
            self.note(f"{code.co_filename[len(PROJECT) + 1 :]}:{line}")
        if not unseen:
            frame.f_trace_lines = False
        return self._step


witness = Witness() if NOTES else None
if witness and (of := os.environ.get("PYTEST_CURRENT_TEST")):
    witness.begin(of.rpartition(" (")[0])


# As a plugin of pytest.


def pytest_collection_modifyitems(items) -> None:
    """Keep the chosen tests, in the order in which they were named."""
    if TESTS:
        for line in Path(TESTS).read_text(encoding="utf-8").splitlines():
            seconds, _, test = line.partition(" ")
            chosen[test] = float(seconds)
        order = {test: at for at, test in enumerate(chosen)}
        items[:] = sorted((item for item in items if item.nodeid in order), key=lambda item: order[item.nodeid])


def pytest_runtest_logstart(nodeid: str) -> None:
    """Say which test is running: with `-x`, the last is the one that noticed."""
    if LAST:
        Path(LAST).write_text(nodeid, encoding="utf-8")
        faulthandler.dump_traceback_later(HANG + 10 * chosen[nodeid], exit=True)
    if witness:
        witness.begun = time.monotonic()
        witness.begin(nodeid)


def pytest_runtest_logreport(report) -> None:
    """Note what a test took, and that it cannot notice anything."""
    if not witness:
        return
    if report.when == "teardown":
        witness.note(f"< {time.monotonic() - witness.begun:.3f} {report.nodeid}")
    if not report.passed:
        witness.note(f"! {report.nodeid}")


def pytest_unconfigure() -> None:
    """End in time."""
    with suppress(ValueError):
        faulthandler.cancel_dump_traceback_later()
