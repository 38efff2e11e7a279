"""Programs under test: Python texts that run as processes of their own, each with a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DEADLINE = 60.0
"""Seconds after which a program has hung."""


class Program:
    """A running program; tests talk with it in lines, and it is killed when its deadline has passed."""

    def __init__(self, folder: Path, *command: str, env: dict[str, str], deadline: float) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-u", "-W", "error", *command],
            cwd=folder,
            env=clean_environment() | env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A group of its own, so that a program that hung is ended with the children that it started.
            start_new_session=True,
        )
        self.pid = self._process.pid
        self._errors: list[str] = []
        self._drain = threading.Thread(target=lambda: self._errors.extend(self._process.stderr), daemon=True)
        self._drain.start()
        self._timer = threading.Timer(deadline, self._end)
        self._timer.daemon = True
        self._timer.start()

    def line(self) -> str:
        """Read the next line that it prints."""
        line = self._process.stdout.readline()
        assert line, f"the program ended, or hung and was killed:\n{self._end() or ''}{self.errors()}"
        return line.rstrip("\n")

    def say(self, text: str = "") -> None:
        """Write a line to its standard input."""
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Let it die at once, as it stands, and wait until it is gone."""
        self._process.kill()
        self._process.wait()

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        return self._process.wait()

    def finish(self) -> list[str]:
        """Wait for its good end and return the lines that it had yet to print."""
        lines = self._process.stdout.read().splitlines()
        # Threads and destructors can only complain on standard error.
        assert (self.wait(), self.errors()) == (0, ""), "\n".join([*lines, self.errors()])
        return lines

    def errors(self) -> str:
        """Return what it wrote to standard error; to be called after its end."""
        self._drain.join(5)
        return "".join(self._errors)

    def _end(self) -> None:
        if self._process.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)

    def close(self) -> None:
        """End it, if it has not ended, and let go of its pipes."""
        self._timer.cancel()
        self._end()
        self._process.wait()
        self._drain.join(5)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            with suppress(BrokenPipeError):
                pipe.close()


class Project:
    """A folder that looks like a user's project, with programs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / ".memollm" / "memollm.db"
        self._started: list[Program] = []
        (folder / "pyproject.toml").touch()

    def write(self, name: str, text: str) -> None:
        """Write a module or a program."""
        (self.folder / name).write_text(textwrap.dedent(text), encoding="utf-8")

    def start(self, name: str, *arguments: object, deadline: float = DEADLINE, **env: str) -> Program:
        """Start a program that was written."""
        program = Program(self.folder, name, *map(str, arguments), env=env, deadline=deadline)
        self._started.append(program)
        return program

    def run(self, name: str, *arguments: object, deadline: float = DEADLINE, **env: str) -> list[str]:
        """Run a program that was written to its good end and return the lines that it printed."""
        return self.start(name, *arguments, deadline=deadline, **env).finish()

    def lines(self, name: str) -> list[str]:
        """Read the lines of a file of the project; none if there is no such file."""
        file = self.folder / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []

    def close(self) -> None:
        """End what still runs."""
        for program in self._started:
            program.close()


def clean_environment() -> dict[str, str]:
    """Return this process's environment without what configures memollm."""
    return {name: value for name, value in os.environ.items() if not name.startswith("MEMOLLM_")}
