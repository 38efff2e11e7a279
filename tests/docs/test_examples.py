"""The examples run, print what is worth reading, and pay for nothing when they are run again."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, text=""):
    """Run an example here, with warnings as errors, and return what it prints."""
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (result.returncode, result.stderr) == (0, "")
    return result.stdout


def columns(printed, pattern):
    """Return the groups of every line that fits."""
    return re.findall(pattern, printed, flags=re.MULTILINE)


def test_votes_share_their_samples():
    """Self-consistency: each number of votes pays for what the one before it has not; a rerun is free and the same."""
    line = r"^ +(\d+) +(\d+%) +(\d+) "
    first, again = columns(run("self_consistency.py"), line), columns(run("self_consistency.py"), line)
    assert [int(paid) for _, _, paid in first] == [6, 12, 12, 24, 96]
    assert again == [(votes, accuracy, "0") for votes, accuracy, _ in first]


def test_a_wide_search_reuses_the_narrow_one():
    """Game of 24: the wide search is given what the narrow one paid for; a rerun solves as many for nothing."""
    line = r"^(\d thoughts, keep \d) +(\d) of 4 +(\d+) +(\d+)"
    (narrow, wide), again = columns(run("game24.py"), line), columns(run("game24.py"), line)
    assert int(narrow[2]) > 0 == int(narrow[3])
    assert 0 < int(wide[3]) <= int(narrow[2])
    assert [(name, solved, paid) for name, solved, paid, _ in again] == [(*narrow[:2], "0"), (*wide[:2], "0")]


def test_a_grid_costs_its_largest_column(project):
    """The ablation: a cell pays for what no cell of its row has paid for, and the plot is there."""
    line = r"^(\w+ +[\w ]+?) +(\d) +#* +(\d+%) +(\d+) "
    first, again = columns(run("ablation.py"), line), columns(run("ablation.py"), line)
    assert [int(paid) for *_, paid in first] == [8, 16, 48] * 4
    assert again == [(*cell, "0") for *cell, _ in first]
    assert (project / "ablation.svg").read_text(encoding="utf-8").count("<rect") == len(first)


def test_agents_are_repeated():
    """Lanes: every agent does the same again, in the same run and in the next."""
    first, again = run("agents.py"), run("agents.py")
    line = r"^  (\w+): (.*)$"
    assert len(columns(first, line)) == 4
    assert columns(first, line) == columns(again, line)
    assert all("each of the four did the same again: True" in printed for printed in (first, again))


def test_a_crawl_goes_on():
    """The crawl: what the first attempt has paid for, the second is given; nothing is paid for twice."""
    first, again = run("crawl.py", "300"), run("crawl.py", "300")
    paid = columns(first, r"^\w+ attempt: \d+ results, (\d+) calls paid for, (\d+) from the cache$")
    assert sum(int(calls) for calls, _ in paid) == 300
    assert paid[1][1] == paid[0][0]
    assert columns(again, r"results, (\d+) calls") == ["0", "0"]
    assert first.splitlines()[-1] == again.splitlines()[-1]


def test_a_chat_is_replayed():
    """The chat: the same lines again are answered as before, for nothing; another line is another answer."""
    first, again = run("chat.py", text="hello\nmore\n"), run("chat.py", text="hello\nmore\nnew\n")
    assert first.count("(paid for)") == 2
    assert again.splitlines()[:2] == [line.replace("(paid for)", "(replayed)") for line in first.splitlines()]
    assert again.splitlines()[2].endswith("(paid for)")


def test_processes_share_a_namespace():
    """Two processes draw thirty samples, none twice, and two others read them in another namespace for nothing."""
    printed = run("processes.py")
    assert columns(printed, r"^(\w+): 30 samples in 2 processes, 30 of them distinct$") == ["cluster", "review"]
    assert columns(printed, r"^(cluster|review) +30 +(\d+) +\d+ +(\d+) ") == [
        ("cluster", "0", "30"),
        ("review", "30", "0"),
    ]


def test_workers_of_a_service_share_their_answers():
    """The service: two workers ask the model once for each question, and not again after they were started anew."""
    printed = run("service.py")
    assert columns(printed, r"^  40 visitors got (\d) different answers$") == ["4", "4"]
    assert columns(printed, r"^service\.ask +(\d+) +\d+ +\d+ +\d+ +(\d+) ") == [("80", "4")]


def cells():
    """Return the notebook's cells of code, with what they are shown to print."""
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return [("".join(cell["source"]), "".join("".join(each["text"]) for each in cell["outputs"])) for cell in code]


def test_the_notebook_prints_what_it_shows(project):
    """The notebook's cells, run one after the other as a program, print what the notebook shows."""
    mark = "=====\n"
    program = "\nprint('=====')\n".join(["import random\nrandom.seed(1)", *(source for source, _ in cells())])
    (project / "notebook.py").write_text(program, encoding="utf-8")
    printed = run(project / "notebook.py").split(mark)[1:]
    shown = [output for _, output in cells()]
    assert [nameless(text) for text in printed] == [nameless(text) for text in shown]


def nameless(text):
    """Leave out what differs between a notebook and a program: the module's name, and keys, which contain it."""
    return re.sub(r"\b[0-9a-f]{32}\b", "key", re.sub(r"\b\w+\.ask\b", "ask", text))


def test_the_notebook_runs_in_a_kernel(project):
    """The notebook runs as notebooks do, where nbclient is there."""
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(project)}}).execute()
    assert "the same five: True" in str(notebook.cells)


def test_every_example_is_listed():
    """The list of examples names each file."""
    listed = set(re.findall(r"\]\((\w+\.\w+)\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert listed == {file.name for file in EXAMPLES.iterdir() if file.is_file() and file.suffix in {".py", ".ipynb"}}


def test_a_suite_on_recordings_calls_no_model(project):
    """The recorded suite passes offline, without a key, and changes no byte of its recording."""
    shutil.copytree(EXAMPLES / "recorded", suite := project / "recorded")
    recording = suite / "recordings" / "test_assistant.jsonl"
    before = recording.read_bytes()
    environment = os.environ | {
        "CI": "true",
        "ASSISTANT_URL": "http://127.0.0.1:9/v1",  # Where nobody is; what is stored needs nobody.
        "PYTEST_PLUGINS": "pytest_memollm",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "recorded"]
    result = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert "3 passed" in result.stdout, result.stdout
    assert recording.read_bytes() == before
