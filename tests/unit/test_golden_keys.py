"""Keys that must never change (P9); if one does, the key format's version goes up and this file is written anew."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import golden_values as values
import pytest

import memollm
from memollm._keys.keyer import hash_of

GOLDEN = Path(values.__file__).parent
FROZEN = json.loads((GOLDEN / "keys.json").read_text(encoding="utf-8"))
PACKAGE = str(Path(memollm.__file__).parent)
PYTHONS = {
    f"{major}.{minor}": path
    for major, minor in ((3, 11), (3, 12), (3, 13), (3, 14))
    for path in [
        next(iter(sorted(Path.home().glob(f".pyenv/versions/{major}.{minor}.*/bin/python"))), None)
        or next((Path(f) / f"python{major}.{minor}" for f in os.environ["PATH"].split(os.pathsep)
                 if (Path(f) / f"python{major}.{minor}").exists() and ".pyenv" not in f), None)
    ]
    if path
}  # fmt: skip


def run(*command, **options):
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_forms_and_keys_are_frozen():
    """P9: each value's form, and the key that it gives, is what it always was."""
    written = {name: {"form": form, "key": hash_of(form).hex()} for name, form in values.forms().items()}
    assert written == FROZEN["calls"]


@pytest.mark.parametrize("version", sorted(PYTHONS))
def test_every_python_writes_the_same_forms(version):
    """P9: the supported Pythons that are on this machine agree with what is frozen."""
    written = json.loads(run(PYTHONS[version], "-I", GOLDEN / "golden_values.py", PACKAGE))
    assert written == {name: call["form"] for name, call in FROZEN["calls"].items()}


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_hash_seeds_do_not_count(seed):
    """P9: the order of sets and dicts in a process is no part of a key."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    written = json.loads(run(sys.executable, GOLDEN / "golden_values.py", PACKAGE, env=environment))
    assert written == {name: call["form"] for name, call in FROZEN["calls"].items()}


@pytest.mark.parametrize("place", ["main", "thread", "process"])
def test_a_program_has_one_key_wherever_it_runs(place, project):
    """P9: the key is the same run as a program, in a thread, and in a spawned process of it."""
    assert run(sys.executable, GOLDEN / "golden_program.py", place, cwd=project).strip() == FROZEN["program"]


def test_a_program_has_that_key_when_it_is_imported(project):
    """P9: importing the file gives the key that running it gives."""
    code = "import golden_program; print(golden_program.key())"
    environment = {**os.environ, "PYTHONPATH": str(GOLDEN)}
    assert run(sys.executable, "-c", code, cwd=project, env=environment).strip() == FROZEN["program"]
