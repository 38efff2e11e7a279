"""The logs: a line for whatever a program makes, is given or does, written at once, so that a kill unsays nothing."""

from __future__ import annotations

import json
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("calls", "draws", "deeds", "signals")


class Log:
    """A log that many processes write."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def say(self, **what: object) -> None:
        """Write a line, in one write to a file opened for appending: it is there, whole, whatever comes next."""
        # The monotonic clock is one for all processes of a machine.
        line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), **what})
        os.write(self._descriptor, f"{line}\n".encode())


class Logs:
    """The logs of a round."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.calls, self.draws, self.deeds, self.signals = (Log(folder / name) for name in NAMES)


def lines_of(file: Path) -> list[dict]:
    """Read a log."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def new_name() -> str:
    """Return a name that nothing else has."""
    return os.urandom(8).hex()
