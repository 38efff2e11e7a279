"""A cache that a real program has filled, and the command line as a real process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest
from ready import ReadyProcess

DEADLINE = 60
STUDY = """
import dataclasses, itertools, sys
import memollm
from memollm import cached_llm

numbers = itertools.count(1)

@dataclasses.dataclass
class Verdict:
    score: int

@cached_llm
def ask(prompt, model="m"):
    return f"I am sure that the answer is {next(numbers)} indeed"

@cached_llm(pool=1)
def embed(text):
    return {"vector": [1.5, 2.5], "text": text}

@cached_llm(pool=1)
def judge(text):
    return Verdict(score=3)

@cached_llm(pool=1)
def pickled(text):
    class Local:
        def __eq__(self, other):
            return type(other).__name__ == "Local"
    return Local()

LONG = "Tell me " + "more and " * 100 + "THE END"

if __name__ == "__main__":
    with memollm.namespace("baseline"):
        ask.draw(3, "What is 17 x 23?")
        ask(LONG)
    with memollm.namespace("ablation"):
        ask.draw(2, "What is 17 x 23?")
    embed("x")
    embed("y")
    judge("signed")
    pickled("pickled")
"""


class Ran(NamedTuple):
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture(scope="session")
def stock(tmp_path_factory):
    """Fill a cache once for all tests."""
    folder = tmp_path_factory.mktemp("stock")
    (folder / "pyproject.toml").touch()
    (folder / "study.py").write_text(STUDY, encoding="utf-8")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    subprocess.run([sys.executable, "study.py"], cwd=folder, env=environment, timeout=DEADLINE, check=True)
    return folder


@pytest.fixture
def stocked(stock, project, tmp_path):
    """Give the test's project a copy of the cache, and the key that it was signed with."""
    shutil.copytree(stock / ".memollm", project / ".memollm")
    shutil.copytree(stock / "config", tmp_path / "config")
    return project / ".memollm"


@pytest.fixture(scope="session")
def ready():
    process = ReadyProcess(DEADLINE)
    yield process
    process.close()


@pytest.fixture
def memollm(project, ready):
    """Run the command line in the project."""

    def run(*arguments, stdin="", **environment):
        environment = {**os.environ, **environment}
        ran = Ran(*ready.run([*map(str, arguments)], folder=project, environment=environment, stdin=stdin))
        assert "Traceback" not in ran.err, ran.err
        return ran

    return run


@pytest.fixture
def key(memollm, stocked):
    """Find the key of the call that mentions a text."""
    import json

    def find(text):
        (call,) = json.loads(memollm("ls", "--json", "--text", text).out)
        return call["key"]

    return find
