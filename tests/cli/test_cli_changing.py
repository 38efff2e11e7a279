"""What the commands that change a cache do, and that they ask first."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from test_cli_listing import QUESTION

DEADLINE = 60


def draws(memollm):
    return {each["name"]: each["draws"] for each in json.loads(memollm("namespaces", "--json").out)}


def test_rewind_asks_first(memollm, stocked):
    """Only a yes rewinds, and then only that namespace (P2)."""
    refused = memollm("rewind", "baseline", stdin="n\n")
    assert (refused.code, draws(memollm)["baseline"]) == (0, 4)
    assert "Rewind 'baseline', which has drawn 4 samples of 2 calls? [y/N]" in refused.err
    assert "Nothing was changed." in refused.err
    assert memollm("rewind", "baseline", stdin="y\n").code == 0
    assert draws(memollm) == {"ablation": 2, "baseline": 0}


def test_drop_asks_first(memollm, stocked):
    """A dropped namespace is gone, and its samples stay."""
    assert memollm("drop", "baseline", stdin="no\n").code == 0
    assert memollm("drop", "baseline", "--yes")[:2] == (0, "'baseline' is gone; its samples stay stored.\n")
    assert draws(memollm) == {"ablation": 2}
    assert len(memollm("ls").lines) == 1 + 6


def test_forget_asks_first(memollm, key):
    """Forgetting says how much goes, and takes only the calls that are named."""
    keys = [key(QUESTION), key("THE END")[:12]]
    refused = memollm("forget", *keys, stdin="\n")
    assert "Forget 2 calls with 4 samples" in refused.err
    assert len(memollm("ls").lines) == 1 + 6
    assert memollm("forget", *keys, "--yes").out == "4 samples forgotten.\n"
    assert len(memollm("ls").lines) == 1 + 4


@pytest.mark.parametrize("command", ["rewind", "drop", "forget"])
def test_without_an_answer_nothing_happens(memollm, key, command):
    """In a script without --yes a question is an error that says so, and nothing has changed."""
    name = key(QUESTION) if command == "forget" else "baseline"
    unanswered = memollm(command, name)
    assert unanswered.code == 2
    assert unanswered.err.splitlines()[-1].startswith("error: nobody answered, so nothing was changed. Say --yes")
    assert draws(memollm) == {"ablation": 2, "baseline": 4}
    assert len(memollm("ls").lines) == 1 + 6


@pytest.mark.skipif(os.name != "posix", reason="needs signals")
def test_ctrl_c_stops_and_loses_nothing(memollm, stocked, project):
    """Stopped at the question, the command says that nothing is lost, without a traceback, and exits with 130."""
    with subprocess.Popen(
        [sys.executable, "-m", "memollm", "drop", "baseline"],
        cwd=project,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        asked = b""
        try:
            while not asked.endswith(b"[y/N] "):
                asked += process.stderr.read1(1) or pytest.fail(f"it ended before it asked: {asked!r}")
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
    assert (process.returncode, err) == (130, b"\nstopped; nothing is lost\n")
    assert draws(memollm) == {"ablation": 2, "baseline": 4}


def test_adopt_keeps_the_samples_of_the_old_code(memollm, stock, stocked, project):
    """After an edit and `adopt` the new code has the old samples; versions and their difference are shown."""
    program = (stock / "study.py").read_text(encoding="utf-8")
    (project / "study.py").write_text(program.replace("I am sure", "I am quite sure"), encoding="utf-8")
    peek = [sys.executable, "-W", "ignore", "-c", f"import study; print(len(study.ask.peek({QUESTION!r})))"]
    assert subprocess.check_output(peek, cwd=project, timeout=DEADLINE) == b"0\n"
    versions = memollm("functions", "study.ask")
    assert [line.split()[1] for line in versions.lines[1:3]] == ["2", "0"]
    assert [line.split()[-1] for line in versions.lines[1:3]] == ["previous", "latest"]
    assert "I am quite sure" in memollm("functions", "study.ask", "--diff", "previous", "latest").out
    told = json.loads(memollm("functions", "study.ask", "--diff", "previous", "latest", "--json").out)
    assert any("I am quite sure" in line for line in told["changes"])
    assert json.loads(memollm("functions", "study.ask", "--json").out)[0]["role"] == "previous"
    assert memollm("adopt", "study.ask")[:2] == (0, "4 samples adopted by study.ask.\n")
    assert subprocess.check_output(peek, cwd=project, timeout=DEADLINE) == b"3\n"
    again = memollm("adopt", "study.ask", "--version", "never")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert "there is nothing to adopt" in again.err


def test_adopt_after_a_rename(memollm, stock, stocked, project):
    """--to gives the samples to the function's new name."""
    program = (stock / "study.py").read_text(encoding="utf-8")
    (project / "study.py").write_text(program.replace("def ask(", "def ask_model("), encoding="utf-8")
    peek = [sys.executable, "-c", f"import study; print(len(study.ask_model.peek({QUESTION!r})))"]
    assert subprocess.check_output(peek, cwd=project, timeout=DEADLINE) == b"0\n"
    assert memollm("adopt", "study.ask", "--to", "study.ask_model").out == "4 samples adopted by study.ask_model.\n"
    assert subprocess.check_output(peek, cwd=project, timeout=DEADLINE) == b"3\n"


def test_prune_asks_first(memollm, stocked):
    """What would go is told and asked about; then only as much goes as the limits say."""
    dry = memollm("prune", "--max-samples", "4", "--dry-run")
    assert dry.out.startswith("4 samples of 4 calls"), dry.out
    assert len(memollm("ls").lines) == 1 + 6
    assert "Nothing was changed." in memollm("prune", "--max-samples", "4", stdin="n\n").err
    done = memollm("prune", "--max-samples", "4", "--yes")
    assert (done.code, "removed; " in done.out) == (0, True)
    assert json.loads(memollm("prune", "--max-samples", "4", "--json").out)["kept_samples"] <= 4


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "no limit"),
        (("--max-bytes", "much"), "is no size"),
        (("--older-than", "soon"), "is no length of time"),
        (("--max-samples", "many"), "max-samples"),
    ],
)
def test_prune_of_what_cannot_be(memollm, stocked, arguments, told):
    """A limit that is none is a usage error that says what may be given."""
    refused = memollm("prune", *arguments, "--yes")
    assert refused.code == 2
    assert told in refused.err


def test_an_adoption_can_be_foreseen(memollm, stock, stocked, project):
    """`--dry-run` tells how many samples would be adopted, and changes nothing."""
    before = memollm("functions", "study.ask", "--json").out
    told = memollm("adopt", "study.ask", "--to", "study.embed", "--dry-run")
    assert told[:2] == (0, "4 samples would be adopted by study.embed.\n")
    assert memollm("functions", "study.ask", "--json").out == before
