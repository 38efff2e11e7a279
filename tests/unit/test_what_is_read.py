"""What a function reads besides its arguments counts as it is at the moment of the call (P8)."""

from __future__ import annotations

import importlib
import json
import linecache
import os
import subprocess
import sys
import types
from pathlib import Path

import pytest
from rows_read import HITS, MISSES

from memollm import Cache
from memollm._keys import identity

HERE = Path(__file__).parent
RUN = f"""
import json, sys, warnings
sys.path.insert(0, {str(HERE)!r})
sys.path.insert(0, {str(HERE.parents[1])!r})
from pathlib import Path
from rows_read import HITS, MISSES
from test_what_is_read import loaded
warnings.simplefilter("ignore")
keys = {{}}
for number, (name, row) in enumerate({{**MISSES, **HITS}}.items()):
    folder = Path(sys.argv[1]) / str(number)
    folder.mkdir(parents=True)
    study, ask = loaded(folder, row)
    if sys.argv[2] == "changed":
        exec(row.change, vars(study))
    keys[name] = ask.key("q")
print(json.dumps(keys))
"""


def loaded(folder, row, cache=None, *, has_text=True):
    """Load a row's module from a folder, as a program would import it, with its function memoized.

    Without a text it is executed as what was typed or piped into the interpreter is.
    """
    for name in ("study", *(each for each, _ in row.also)):
        sys.modules.pop(name, None)
    for name, text in (*row.also, ("study", row.text)):
        (folder / f"{name}.py").write_text(text + "\n")
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    linecache.clearcache()
    if has_text:
        study = importlib.import_module("study")
    else:
        study = sys.modules["study"] = types.ModuleType("study")
        exec(compile(row.text, "<stdin>", "exec", dont_inherit=True), vars(study))
    study.inner = study.ask
    study.ask = (cache or Cache("memory:")).cached_llm(study.ask, pool=1, ignore=row.ignore)
    return study, study.ask


@pytest.fixture
def load(tmp_path):
    """Load rows of the tables; what they warn of is an error."""
    with Cache("memory:") as cache:
        yield lambda row, **how: loaded(tmp_path, row, cache, **how)
    sys.path.remove(str(tmp_path))
    for name in ("study", "prompts", "lab"):
        sys.modules.pop(name, None)


@pytest.fixture
def readings(monkeypatch):
    """List how often the code of a function is read."""
    read, findings = [], identity.findings

    def noted(*args, **options):
        read.append(args)
        return findings(*args, **options)

    monkeypatch.setattr(identity, "findings", noted)
    return read


@pytest.mark.parametrize("name", MISSES)
def test_a_change_while_the_program_runs_is_another_version(load, name, readings):
    """What is given is what the function would give now; changed back, the old sample is found again."""
    row = MISSES[name]
    study, ask = load(row)
    before = ask("q")
    assert before == study.inner("q")
    key, read = ask.key("q"), len(readings)
    assert (ask("q"), len(readings)) == (before, read)
    exec(row.change, vars(study))
    assert ask.key("q") != key
    assert ask("q") == study.inner("q")
    exec(row.undo, vars(study))
    assert ask.key("q") == key
    assert ask("q") == before


@pytest.mark.parametrize("name", HITS)
def test_what_the_function_changes_itself_is_its_output(load, name, readings):
    """It stays a hit without a warning, whoever changes it and however often the function does."""
    row = HITS[name]
    study, ask = load(row)
    first, key = ask("q"), ask.key("q")
    for question in ("r", "s"):
        ask(question)
    read = len(readings)
    assert (ask("q"), len(readings)) == (first, read)
    exec(row.change, vars(study))
    assert ask.key("q") == key
    assert ask("q") == first


@pytest.mark.filterwarnings("ignore:.*there is no source for it")
@pytest.mark.parametrize("name", [*MISSES, *HITS])
def test_it_counts_without_a_text_as_well(load, name):
    """Compiled code tells what it reads and changes as its text would, where there is none."""
    row = {**MISSES, **HITS}[name]
    study, ask = load(row, has_text=False)
    before, key = ask("q"), ask.key("q")
    for question in ("r", "s") if name in HITS else ():
        ask(question)
    exec(row.change, vars(study))
    assert (ask.key("q") == key) is (name in HITS)
    assert ask("q") == (before if name in HITS else study.inner("q"))
    exec(row.undo, vars(study))
    assert ask.key("q") == key


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Make the keys of all rows in two processes: as they are, and changed before their first call."""
    found = []
    for state in ("as it is", "changed"):
        folder = tmp_path_factory.mktemp("rows")
        command = [sys.executable, "-c", RUN, str(folder), state]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout))
    return found


@pytest.mark.parametrize("name", MISSES)
def test_another_process_in_another_state_has_other_keys(keys, name):
    """It makes no difference when the state was set."""
    as_it_is, changed = keys
    assert as_it_is[name] != changed[name]


@pytest.mark.parametrize("name", HITS)
def test_another_process_in_a_state_that_does_not_matter_has_the_same_keys(keys, name):
    """What one process has drawn another gets."""
    as_it_is, changed = keys
    assert as_it_is[name] == changed[name]
