"""The programs in public docstrings run."""

from __future__ import annotations

import inspect
import re
import textwrap

import pytest
from pages import Block, Program, printed_by, run_program

import memollm
from memollm import testing

CLIENT = """\
from types import SimpleNamespace

import memollm
from memollm import cached_llm

client = SimpleNamespace(responses=SimpleNamespace(create=lambda **_: SimpleNamespace(output_text="yes")))
"""
THREADS = """\
from concurrent.futures import ThreadPoolExecutor

import memollm

prompts = ["x", "y"]

@memollm.cached_llm
def ask(prompt):
    return prompt.upper()

"""
OPENAI = """\
import os

import memollm
import openai

os.environ["OPENAI_API_KEY"] = "sk-of-nobody"
"""
BUCKETS = """\
import os

from memollm import Cache
from memollm.testing import FakeS3

os.environ["MEMOLLM_SIGNING_KEY"] = "0123456789abcdef" * 4
"""
PROGRAMS = {
    "used": (CLIENT, 'assert ask("?") == "yes"\n'),
    "carry": (THREADS, 'assert answers == ["X", "Y"]\n'),
    "wrap": (OPENAI, "assert type(client) is openai.OpenAI\n"),
    "Embedder": (
        "from types import SimpleNamespace\n\nimport memollm\n\nmodel = SimpleNamespace(encode=len)\n",
        'assert (embed.name, embed.is_async) == ("all-MiniLM-L6-v2", False)\n',
    ),
    "Similar": (
        "import memollm\nfrom memollm import cached_llm\nfrom memollm.testing import hashed_ngrams as embed\n",
        'assert answer.__name__ == "answer"\n',
    ),
    "FakeS3": (BUCKETS, "assert s3.requests == []\n"),
    "FakeProvider": (
        "import openai\n\nfrom memollm.testing import FakeProvider\n",
        "",
    ),
}
"""What stands before a docstring's program, and what after it."""
REQUEST = "client.chat.completions.create(model='m', messages=[{'role': 'user', 'content': 'x'}])"


def program_of(docstring):
    """Return the code behind two colons, if there is any."""
    match = re.search(r"::\n\n((?: {4}.*\n|\n)+)", f"{inspect.cleandoc(docstring or '')}\n")
    return textwrap.dedent(match[1]) if match else None


def public_programs():
    """Return the programs of what can be imported, by name."""
    names = [(memollm, name) for name in memollm.__all__] + [(testing, name) for name in testing.__all__]
    return {name: code for module, name in names if (code := program_of(getattr(module, name).__doc__))}


def test_every_program_of_a_docstring_is_known():
    """No public docstring shows a program that nobody runs."""
    assert set(public_programs()) == set(PROGRAMS)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_program_of_a_docstring_runs(name, project):
    """Whoever copies it from `help` sees it work; dots stand for a request."""
    before, after = PROGRAMS[name]
    code = re.sub(r"^( *)\.\.\.$", rf"\1{REQUEST}", public_programs()[name], flags=re.MULTILINE)
    run_program(Program([Block("python", None, f"{before}{code}{after}", 1)]), project / name, project, 1)


def test_the_conformance_suite_runs_as_its_docstring_shows(project):
    """The test file that an author of a store writes is as short as shown, and its tests are found."""
    code = program_of(inspect.getmodule(testing.StoreConformance).__doc__)
    (project / "test_my_store.py").write_text(code.replace("MyStore(self.path)", "None"), encoding="utf-8")
    command = ["sh", "-c", "python -m pytest -q --collect-only test_my_store.py | tail -1"]
    assert int(re.match(r"(\d+) tests collected", printed_by(command, project, 1))[1]) > 100
