# ruff: noqa: E501 - A row is a program, and reads best on one line.
"""A source text counts only if it is that of the code that runs (P8)."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from memollm import Cache

ROOT = str(Path(__file__).parents[2])
TEXTS = {
    "a body": "def ask(q): return 'WORD' + q\n",
    "a helper": "def tidy(q): return 'WORD' + q\ndef ask(q): return tidy(q)\n",
    "a lambda": "tidy = lambda q: 'WORD' + q\ndef ask(q): return tidy(q)\n",
    "an attribute of a class": "class Config:\n    style = 'WORD'\ndef ask(q): return Config().style + q\n",
    "a default of a dataclass": (
        "from dataclasses import dataclass\n@dataclass\nclass Config:\n    style: str = 'WORD'\n"
        "def ask(q): return Config().style + q\n"
    ),
    "a factory of a dataclass": (
        "from dataclasses import dataclass, field\n@dataclass\nclass Config:\n"
        "    style: str = field(default_factory=lambda: 'WORD')\ndef ask(q): return Config().style + q\n"
    ),
    "a default of a model": (
        "import pydantic\nclass Config(pydantic.BaseModel):\n    style: str = 'WORD'\ndef ask(q): return Config().style + q\n"
    ),
    "a method": "class Tidy:\n    def go(self, q): return 'WORD' + q\ndef ask(q): return Tidy().go(q)\n",
    "a decorator's argument": (
        "def with_word(word):\n    def around(function):\n        return lambda q: word + function(q)\n    return around\n"
        "@with_word('WORD')\ndef tidy(q): return q\ndef ask(q): return tidy(q)\n"
    ),
}
LOADS = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
folder, number, *edits = sys.argv[1:]
sys.path[:0] = [folder, ROOT]
import study
for text in edits:
    Path(study.__file__).write_text(text)
from memollm import Cache
print(Cache("memory:").cached_llm(study.ask).key("q"))
""".replace("ROOT", repr(ROOT))


def program(*command, text=""):
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ROOT}
    done = subprocess.run(
        [sys.executable, *command], input=text, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_that_was_edited_after_its_import_is_not_what_runs(tmp_path, name):
    """What the old code makes before its first call is never filed under the new text."""
    old, new = (TEXTS[name].replace("WORD", word) for word in ("old", "a new one"))
    (tmp_path / "study.py").write_text(old)
    running_old = program("-c", LOADS, str(tmp_path), "1", new)
    assert (tmp_path / "study.py").read_text() == new
    assert program("-c", LOADS, str(tmp_path), "2") != running_old


ASKS = """
import warnings
warnings.simplefilter("ignore")
from memollm import Cache
STYLE = "STYLE"
def tidy(q): return "WORD" + STYLE + q
@Cache("memory:").cached_llm
def ask(q): return tidy(q)
print(ask.key("q"))
"""


@pytest.mark.parametrize("way", ["a command", "standard input", "exec"])
def test_programs_without_a_file_are_told_apart_by_their_code(way):
    """Two texts that were typed or piped in share nothing, and one has one key."""

    def key(text):
        if way == "a command":
            return program("-c", text)
        return program("-", text=text if way == "standard input" else f"exec({textwrap.dedent(text)!r})")

    edits = [ASKS, ASKS.replace('"WORD"', '"other"'), ASKS.replace('= "STYLE"', '= "other"')]
    assert len({key(text) for text in edits}) == 3
    assert key(ASKS) == key(ASKS)


def test_a_method_whose_code_a_reload_has_put_in_counts_by_its_text(tmp_path, monkeypatch):
    """What `%autoreload` of IPython compiles in a class of its own making is found in the file, and comes back."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    text = "class Tidy:\n    def go(self, q):\n        'Say\\n        it.'\n        return 'a' + q\n"
    (tmp_path / "put_in.py").write_text(text)
    study = importlib.import_module("put_in")
    tidy = study.Tidy()

    def ask(q):
        return tidy.go(q)

    with Cache("memory:") as cache:
        asked = cache.cached_llm(ask, pool=1)
        keys = [asked.key("q")]
        for said in ("b", "a"):
            (tmp_path / "put_in.py").write_text("\n" + text.replace("'a'", repr(said)))
            space = {}
            code = text.replace("Tidy", "__autoreload_class__").replace("'a'", repr(said))
            exec(compile(code, study.__file__, "exec", dont_inherit=True), space)
            study.Tidy.go.__code__ = space["__autoreload_class__"].go.__code__
            keys.append(asked.key("q"))
    assert keys[0] == keys[2] != keys[1]
    del sys.modules["put_in"]
