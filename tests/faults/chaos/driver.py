"""A round: programs are started, killed, stopped and interrupted, waited for, and judged."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

from .logs import Log, lines_of

HERE = Path(__file__).parent.parent
PATIENCE = 120.0
"""Seconds after which the programs of a round have hung, and so has the one after them."""
A_WHILE = 1.0
"""Seconds in which whatever still does something would have gone on."""
LAST_WORDS = 2.0
"""Seconds that whoever hung has to write down where it stands."""
DEEDS = ["rewind", "drop", "forget", "prune", "export", "load", "verify", "close", "replay", "refresh"]
CHILDREN = ["fork", "child", "pool"]


class Hung(AssertionError):
    """Somebody waited for ever."""


def plan_of(seed):
    """Choose what may happen in a round."""
    dice = random.Random(f"plan {seed}")
    what = dice.sample(DEEDS, dice.randint(2, 6)) + dice.sample(CHILDREN, dice.randint(1, 3))
    return {
        "readers": ["namespace:a", "namespace:b", "run:r"][: dice.randint(1, 3)],
        "prompts": [f"p{number}" for number in range(dice.choice([1, 2, 2, 4]))],
        "what": what,
        "deeds": dice.choice([0.05, 0.1, 0.2]),
        "cancels": dice.choice([0.0, 0.5]),
        "fails": dice.choice([0.0, 0.05, 0.3]),
        "refuses": dice.choice([0.0, 0.05]),
        "methods": ["fork", "forkserver", "spawn"],
        "programs": dice.randint(2, 3),
        "threads": dice.randint(0, 2),
        "loops": dice.randint(0, 1),
        "main_loop": dice.random() < 0.4,
        "steps": dice.choice([20, 40, 60]),
        "child_steps": dice.choice([3, 8]),
        "signals": dice.choice([[], ["kill"], ["stop"], ["interrupt"], ["kill", "stop", "interrupt"]]),
    }


class Round:
    """One round, in a folder of its own."""

    def __init__(self, folder, seed, plan=None, patience=PATIENCE):
        self.folder = Path(folder).resolve()
        self.seed = seed
        self.plan = plan or plan_of(seed)
        self._patience = patience
        self._dice = random.Random(f"round {seed}")
        self._programs: list[subprocess.Popen] = []
        for name in ("logs", "stacks", "exports", "errors"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "pyproject.toml").touch()
        (self.folder / "plan.json").write_text(json.dumps(self.plan), encoding="utf-8")
        self._log = Log(self.folder / "logs" / "signals")

    def run(self):
        """Run the programs to their end, and then the one that draws what is left."""
        until = time.monotonic() + self._patience
        try:
            for number in range(self.plan["programs"]):
                self._start("chaos.worker", number)
            left = self.plan["programs"] if "kill" in self.plan["signals"] else 0
            while alive := self._alive():
                if time.monotonic() > until:
                    raise Hung(f"seed {self.seed}: {self._last_words(alive)}")
                time.sleep(self._dice.uniform(0.02, 0.15))
                self._end_orphans(alive)
                killed = self.plan["signals"] and self._strike(alive)
                if killed and left:
                    left -= 1
                    self._start("chaos.worker", self.plan["programs"] + left)
            self._start("chaos.drain", "drain")
            while alive := self._alive():
                if time.monotonic() > until + self._patience:
                    raise Hung(f"seed {self.seed}: the last program hung: {self._last_words(alive)}")
                time.sleep(0.02)
        finally:
            self._end()
        killed = {line["of"] for line in lines_of(self.folder / "logs" / "signals") if line["what"] == "kill"}
        if any(program.returncode for program in self._programs if program.pid not in killed):
            raise AssertionError(f"seed {self.seed}: a program failed\n{self.errors()}")

    def _start(self, module, number):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MEMOLLM_")}
        environment |= {
            "PYTHONPATH": os.pathsep.join(map(str, (HERE, HERE.parent.parent))),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
        }
        with (self.folder / "errors" / str(number)).open("w") as errors:
            program = subprocess.Popen(
                [sys.executable, "-m", module, f"{self.seed} {number}"],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                # A group of its own, so that what hung is ended with its children.
                start_new_session=True,
            )
        self._programs.append(program)

    def _alive(self):
        """Return who lives of the programs, their children, and what these start besides."""
        for program in self._programs:
            program.poll()
        sessions = {program.pid for program in self._programs}
        processes = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())
        return {pid for pid in processes if _session_of(pid) in sessions}

    def _strike(self, alive):
        """Kill, stop or interrupt one of those who live; tell whether a program was killed."""
        targets = sorted(pid for pid, how in self._born().items() if pid in alive and not how.startswith("pool"))
        if not targets:
            return False
        pid, what = self._dice.choice(targets), self._dice.choice(self.plan["signals"])
        if what == "kill" and self._dice.random() < 0.7:
            return False
        self._log.say(what=what, of=pid)
        with suppress(ProcessLookupError):
            if what == "stop":
                os.kill(pid, signal.SIGSTOP)
                time.sleep(self._dice.uniform(0.01, 0.3))
                os.kill(pid, signal.SIGCONT)
            else:
                os.kill(pid, signal.SIGKILL if what == "kill" else signal.SIGINT)
        return what == "kill" and pid in {program.pid for program in self._programs}

    def _born(self):
        """Return how each was born that has begun to draw."""
        lines = lines_of(self.folder / "logs" / "signals")
        return {line["pid"]: line["how"] for line in lines if line["what"] == "born"}

    def _end_orphans(self, alive):
        """End what is left of pools whose programs were killed: the standard library lets them wait for ever."""
        born = self._born()
        if any(program.poll() is None for program in self._programs):
            return
        if all(born[pid].startswith("pool") for pid in alive & born.keys()):
            time.sleep(A_WHILE)
            for pid in self._alive():
                self._log.say(what="kill", of=pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def _last_words(self, alive):
        """Have those who hang write down where each of their threads stands."""
        for pid in alive & self._born().keys():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
                os.kill(pid, signal.SIGUSR1)
        time.sleep(LAST_WORDS)
        files = (self.folder / "stacks").iterdir()
        stacks = [f"{file.name}:\n{text}" for file in files if (text := file.read_text())]
        return "\n\n".join([f"{len(alive)} processes hang: {sorted(alive)}", *stacks])

    def _end(self):
        for program in self._programs:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()

    def errors(self):
        """Return what the programs complained of."""
        return "\n".join(file.read_text() for file in sorted((self.folder / "errors").iterdir()))


def _session_of(pid):
    """Return the session of a process, unless it has ended and nobody has asked about it yet."""
    try:
        with Path(f"/proc/{pid}/stat").open() as file:
            state, _, _, session = file.read().rpartition(")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else int(session)
