"""The house: its imports, its names and the walk of a stored draw are what docs/architecture.md says."""

from __future__ import annotations

import ast
import sys
from collections import Counter, defaultdict
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import filelock
import pytest

import memollm
from memollm import Cache, Usage, cached_llm
from memollm._keys.canonical import canonical
from memollm._values.codec import Codec
from memollm.stores.sqlite.connections import WARNS_OF_NUMBERS

ROOT = Path(memollm.__file__).parent
FILES = {
    ".".join(("memollm", *file.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__"): file
    for file in ROOT.rglob("*.py")
}
TREES = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in FILES.items()}


# Imports.


def imports_of(tree, known):
    """Give every module of ours that a module imports: at the top, inside functions, or for type checkers."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield from (name for name in (full if full in known else node.module,) if name in known)


def test_no_import_leads_back():
    """Imports form no circle, lazy and type-checking ones included."""
    graph = {name: {*imports_of(tree, FILES)} - {name} for name, tree in TREES.items()}
    try:
        assert len([*TopologicalSorter(graph).static_order()]) == len(FILES)
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_a_circle_would_be_noticed():
    """The test above sees an import that stands inside a function."""
    tree = ast.parse("def f():\n    from memollm._cache import Cache\n    return Cache")
    assert [*imports_of(tree, FILES)] == ["memollm._cache"]


# Names.


def test_a_class_name_stands_once():
    """Whoever reads a name need not ask which of two classes is meant."""
    places = defaultdict(list)
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_a_file_name_of_the_tests_stands_once():
    """Tests of several folders run together, and import their helpers by their names alone."""
    names = Counter(file.name for file in Path(__file__).parents[1].rglob("*.py") if file.name != "conftest.py")
    assert [name for name, times in names.items() if times > 1] == []


def test_every_module_says_what_it_owns():
    """The first line of each file, read alone, is a sentence."""
    first = {name: (ast.get_docstring(tree) or "").split("\n")[0] for name, tree in TREES.items()}
    assert [name for name, line in first.items() if not line.endswith((".", ":"))] == []


def test_public_classes_are_known_by_the_package():
    """Keys, records and pickles carry the name of a class, which must not change when it moves."""
    classes = [value for name in memollm.__all__ if isinstance(value := getattr(memollm, name), type)]
    assert {cls.__module__ for cls in classes} == {"memollm"}


@cached_llm(name="ask", version="1")
def ask(prompt):
    return prompt


class Agent:
    def __memollm_key__(self):
        return "agent"

    @cached_llm(name="Agent.ask", version="1")
    def ask(self, prompt):
        return prompt


def test_texts_of_what_is_ours_are_frozen():
    """A decorated function as an argument, and a value of ours in a record, are told by names that stay."""
    assert canonical(ask) == '{"!cached":{"!tuple":["ask","version:1"]}}'
    assert canonical(Agent().ask) == (
        '{"!cached":{"!tuple":["Agent.ask","version:1",{"!key":["test_house.Agent","agent"]}]}}'
    )
    record = Codec().encode(Usage(input_tokens=1, cost=0.5, model="m"))
    assert record.partition(b"{")[2] == (
        b'"$":"fields","c":"memollm:Usage","v":{"input_tokens":1,"output_tokens":0,"cost":0.5,"model":"m",'
        b'"cached_tokens":0,"cache_write_tokens":0}}'
    )


# The walk of a stored draw.


def walked(draw):
    """Draw, and return the files of the Python functions that were called on the way."""
    files = []
    sys.setprofile(lambda frame, event, _: files.append(frame.f_code.co_filename) if event == "call" else None)
    try:
        draw()
    finally:
        sys.setprofile(None)
    return files[1:]


@pytest.mark.skipif(not hasattr(filelock, "lock_descriptor"), reason="an older filelock leaves the lock to us")
@pytest.mark.skipif(WARNS_OF_NUMBERS, reason="this Python wants numbered parameters by name, which is a few more calls")
def test_a_stored_draw_is_a_short_walk(tmp_path):
    """A draw of one stored sample is at most 25 calls of Python, in at most 9 modules of ours."""
    with Cache(tmp_path / "cache") as cache:
        kept = cache.cached_llm(namespace="a", pool=4, name="kept", version=1)(lambda prompt: prompt)
        kept.draw(4, "x")
        for _ in range(3):
            kept("x")
        files = walked(lambda: kept("x"))
    assert len(files) <= 25
    assert len({file for file in files if file.startswith(str(ROOT))}) <= 9
