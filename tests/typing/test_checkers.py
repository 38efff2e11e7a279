"""Type checkers see the exact parameters and results of decorated functions."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from memollm import Cached, cached_llm
from memollm._calls import typing as call_typing
from memollm._calls.decorator import CachedFunction, _Methods
from memollm._calls.options import Options

HERE = Path(__file__).parent
API = HERE / "api.py"
DEADLINE = 240
"""Seconds; a cold checker on a busy machine takes twenty."""

Errors = dict[int, str]


def run(*command: str) -> str:
    """Run a checker; finding errors is its work, so its exit code says nothing."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=HERE.parents[1])
    assert done.stdout, done.stderr
    return done.stdout


def mypy(folder: Path) -> Errors:
    out = run(
        *(sys.executable, "-m", "mypy", "--strict", "--python-version=3.11", "--config-file="),
        *("--no-error-summary", "--no-pretty", "--hide-error-context", f"--cache-dir={folder}", str(API)),
    )
    found = re.finditer(rf"{API.name}:(\d+): error: (.*)", out)
    return {int(line): message for line, message in (match.groups() for match in found)}


def pyright(_: Path) -> Errors:
    out = json.loads(run(sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, str(API)))
    assert out["summary"]["filesAnalyzed"] == 1, out
    found = [d for d in out["generalDiagnostics"] if d["severity"] == "error"]
    return {d["range"]["start"]["line"] + 1: d["message"] for d in found}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_reports_exactly_the_lines_that_are_marked_as_errors(checker, tmp_path):
    marked = {number for number, line in enumerate(API.read_text().splitlines(), 1) if "  # E: " in line}
    found = checker(tmp_path)
    unexpected = {line: message for line, message in found.items() if line not in marked}
    assert not unexpected
    assert marked - set(found) == set(), "these lines should have been errors"


def test_every_option_has_a_type():
    typed = {*call_typing.OptionTypes.__annotations__, "n", "count", "batch", "gather"}
    assert typed == {field.name for field in dataclasses.fields(Options)} - {"insisted"}


def test_every_public_method_has_a_type():
    written = (HERE.parents[1] / "memollm" / "_calls" / "typing.py").read_text(encoding="utf-8")
    public = {name for kind in (CachedFunction, _Methods) for name in vars(kind) if not name.startswith("_")}
    assert {name for name in public if f"def {name}(" not in written} == set()


def test_what_checkers_call_cached_is_so_at_run_time():
    class Agent:
        @cached_llm
        def ask(self, prompt):
            return prompt

    assert isinstance(cached_llm(lambda: "x"), Cached)
    assert isinstance(Agent.ask, Cached)
    assert isinstance(Agent().ask, Cached)
    assert not isinstance(lambda: "x", Cached)
