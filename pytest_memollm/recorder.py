"""Who records: each test draws in a run of its own, from the recording of its module, and what is new goes there."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import memollm
from memollm.testing import configured, drawing_as
from pytest_memollm import RECORDER
from pytest_memollm.content import Content, Place

if TYPE_CHECKING:
    from collections.abc import Generator

RUN, MODE, CACHE = "MEMOLLM_RUN", "MEMOLLM_MODE", "MEMOLLM_CACHE"


@dataclass
class Shelf:
    """A recording in use: the file, the cache that it was loaded into, and what of it tests were given."""

    path: Path
    mode: str
    cache: memollm.Cache
    used: set[Place] = field(default_factory=set[Place])

    def given(self, event: memollm.DrawEvent) -> None:
        """Know that a test was given a sample."""
        self.used.add((event.key, event.slot))


@dataclass
class Told:
    """What was recorded of a file, by all processes together."""

    mode: str
    texts: list[str] = field(default_factory=list[str])
    used: set[Place] = field(default_factory=set[Place])


class Recorder:
    """Records the tests of one process; where pytest-xdist runs, its main process puts the files together."""

    def __init__(self, config: pytest.Config) -> None:
        self.items: set[pytest.Item] = set()
        self._config = config
        self._folder = Path(tempfile.mkdtemp(prefix="memollm-tests-"))
        self._shelves: dict[tuple[Path, str], Shelf] = {}
        self._told: dict[Path, Told] = {}
        self._runs = count(1)
        self._said: list[str] = []

    # What is said of a test: by the command, its mark, pytest's settings, and where it runs.

    def _of(self, item: pytest.Item, name: str) -> Any:
        mark = item.get_closest_marker("memollm")
        return None if mark is None else mark.kwargs.get(name)

    def _mode(self, item: pytest.Item) -> str:
        in_ci = os.environ.get("CI", "").lower() not in {"", "0", "false"}
        said = self._config.getoption("--memollm") or self._of(item, "mode") or self._config.getini("memollm")
        return str(said or ("offline" if in_ci else "auto"))

    def shelf(self, item: pytest.Item) -> Shelf:
        """Return the recording of a test, loaded."""
        name, mode = self._of(item, "recording") or item.path.stem, self._mode(item)
        path = item.path.parent / "recordings" / f"{name}.jsonl"
        if (path, mode) not in self._shelves:
            cache = memollm.Cache(self._folder / str(len(self._shelves)))
            if mode != "refresh" and path.exists():
                cache.load(path, trust=self._config.getini("memollm_trust"))
            self._shelves[path, mode] = Shelf(path, mode, cache)
        return self._shelves[path, mode]

    # Tests.

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """Let a test draw from its recording, as a fresh run."""
        if item not in self.items:
            return (yield)
        with ExitStack() as stack:
            try:
                stack.enter_context(self._drawing(item))
            except memollm.MemollmError as error:
                item.stash[_failure] = error
            return (yield)

    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Fail a test whose recording cannot be read."""
        if (error := item.stash.get(_failure, None)) is not None:
            pytest.fail(f"{type(error).__name__}: {error}", pytrace=False)

    @contextmanager
    def _drawing(self, item: pytest.Item) -> Generator[None]:
        shelf = self.shelf(item)
        for space in shelf.cache.namespaces():
            shelf.cache.drop(space.name)
        run = f"test-{os.getpid()}-{next(self._runs)}"
        mode = "auto" if shelf.mode == "refresh" else shelf.mode
        on_change = self._of(item, "on_change") or self._config.getini("memollm_on_change") or None
        said = {"cache": shelf.cache, "mode": mode, "on_change": on_change, "on_draw": shelf.given}
        place = self._folder / str([*self._shelves.values()].index(shelf))
        with ExitStack() as stack:
            # The environment is for programs that a test starts, and tells threads of the run.
            stack.enter_context(_environment({RUN: run, MODE: mode, CACHE: str(place)}))
            stack.enter_context(configured(**said))
            # Offline is offline, whatever mode a decorator names.
            stack.enter_context(drawing_as(run, mode="offline" if mode == "offline" else None))
            yield

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Leave frames of ours out of a failure, and say how to record what is missing."""
        excinfo = call.excinfo
        if excinfo is not None and item in self.items:
            _hide_ours()
        report = yield
        if excinfo is not None and excinfo.errisinstance(memollm.CacheMiss) and item in self.items:
            report.sections.append(
                ("memollm", f"To record what is missing: pytest --memollm=auto {shlex.quote(item.nodeid)}")
            )
        return report

    # The end.

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Put the files together, or tell the process that does, before anything is summed up."""
        try:
            for shelf in self._shelves.values():
                self._take(shelf)
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)
        output = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[RECORDER] = {
                str(path): (told.mode, told.texts, sorted(told.used)) for path, told in self._told.items()
            }
            return
        for path, told in sorted(self._told.items()):
            self._put(path, told)
        self._tell_unused(session)

    def _take(self, shelf: Shelf) -> None:
        told = self._told.setdefault(shelf.path, Told(shelf.mode))
        told.used |= shelf.used
        if shelf.mode != "offline":
            file = self._folder / "recorded.jsonl"
            left_out = shelf.cache.export(file, recording=True).damaged
            told.texts.append(file.read_text(encoding="utf-8"))
            if left_out:
                self._said.append(
                    f"{self._shown(shelf.path)}: {left_out} samples are pickles, which no recording holds"
                )
        shelf.cache.close()

    def take_over(self, told: dict[str, Any]) -> None:
        """Know what another process has recorded."""
        for path, (mode, texts, used) in told.items():
            known = self._told.setdefault(Path(path), Told(mode))
            known.texts += texts
            known.used |= {(key, slot) for key, slot in used}

    def _put(self, path: Path, told: Told) -> None:
        """Write a file anew, if anything new is recorded."""
        content, recorded = Content.read(path), Content()
        for text in told.texts:
            recorded.join(Content.of(text))
        if came := content.join(recorded, replaces=told.mode == "refresh"):
            _write(path, content)
            self._said.append(f"{self._shown(path)}: {came} answer{'s' if came > 1 else ''} recorded")

    def _shown(self, path: Path) -> Path:
        root = self._config.rootpath
        return path.relative_to(root) if path.is_relative_to(root) else path

    def _tell_unused(self, session: pytest.Session) -> None:
        what = self._config.getoption("--memollm-unused")
        if not what:
            return
        option = self._config.option
        if session.testsfailed or option.keyword or option.markexpr or any("::" in arg for arg in self._config.args):
            self._said.append("what is unused is told after a whole run in which no test failed")
            return
        for path, told in sorted(self._told.items()):
            content = Content.read(path)
            unused = content.places() - told.used
            for key, slot in sorted(unused):
                self._said.append(f"{self._shown(path)}: no test was given slot {slot} of {content.calls[key].line}")
            if unused and what == "prune":
                _write(path, content.without(unused))
                self._said.append(f"{self._shown(path)}: {len(unused)} answers removed")

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say what became of the files."""
        if self._said:
            terminalreporter.section("memollm")
            for line in self._said:
                terminalreporter.line(line)


_failure = pytest.StashKey[memollm.MemollmError]()


@contextmanager
def _environment(variables: dict[str, str]) -> Generator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _write(path: Path, content: Content) -> None:
    """Write a recording, whole or not at all; one without samples goes."""
    if not content.calls:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.part")
    draft.write_text(content.text(), encoding="utf-8")
    draft.replace(path)


def _hide_ours() -> None:
    """Let pytest leave frames of memollm out of what it shows."""
    for name, module in [*sys.modules.items()]:
        if name.partition(".")[0] == "memollm":
            vars(module)["__tracebackhide__"] = True
