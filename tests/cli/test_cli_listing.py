"""What the commands that list show of a cache that a program has filled."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest

from memollm import Cache
from memollm._views.report.collect import Bounds, collect

QUESTION = "What is 17 x 23?"


def test_ls_lists_calls(memollm, stocked):
    """Each call has a line with its key, its samples, its function and its arguments; 80 columns are enough."""
    listed = memollm("ls")
    assert (listed.code, listed.err) == (0, "")
    assert listed.lines[0].split() == ["KEY", "SAMPLES", "AGE", "FUNCTION", "ARGUMENTS"]
    assert len(listed.lines) == 1 + 6
    assert max(map(len, listed.lines)) <= 80
    (line,) = [line for line in listed.lines if "17 x 23" in line]
    assert line.split()[1] == "3"
    assert "study.ask" in line


def test_ls_cuts_in_the_middle(memollm, stocked):
    """Of a long argument both ends are seen, and everything with --full."""
    (line,) = [line for line in memollm("ls").lines if "THE END" in line]
    assert "…" in line
    assert "more and " * 100 in memollm("ls", "--full").out


def test_ls_as_json(memollm, stocked):
    """The JSON has what a program needs: the whole key, the arguments, sums, times."""
    listed = json.loads(memollm("ls", "--json", "--text", "17 X 23").out)
    (call,) = listed
    assert len(call["key"]) == 32
    assert call["function"] == "study.ask"
    assert call["version"].startswith("code:")
    assert call["arguments"] == {"prompt": QUESTION, "model": "m"}
    assert call["samples"] == 3
    assert call["made"].endswith("+00:00")
    assert set(call) >= {"bytes", "used", "seconds", "input_tokens", "output_tokens", "cost"}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--function", "study.embed"], 2),
        (["--text", "x", "--function", "study.embed"], 2),
        (["--min-samples", "2"], 1),
        (["--max-samples", "2"], 5),
        (["--older", "1h"], 0),
        (["--newer", "1h"], 6),
        (["--limit", "2"], 2),
        (["--limit", "0"], 6),
        (["--sort", "samples", "--limit", "1"], 1),
    ],
)
def test_ls_filters(memollm, stocked, arguments, found):
    """Calls are found by function, text, number of samples and age."""
    assert len(json.loads(memollm("ls", "--json", *arguments).out)) == found


def test_ls_says_what_it_leaves_out(memollm, stocked):
    """A cut list says so beside the list, which stays a list."""
    listed = memollm("ls", "--limit", "2", "--sort", "samples")
    assert len(listed.lines) == 3
    assert "17 x 23" in listed.lines[1]
    assert "2 of 6 calls; --limit 0 lists all" in listed.err


def test_ls_of_nothing(memollm, stocked):
    """No match is no error."""
    assert memollm("ls", "--text", "nobody asked this")[:2] == (0, "No stored call is like that.\n")


def test_show_puts_samples_side_by_side(memollm, key):
    """A call is found by the first digits of its key; each sample says how it differs from the first, and who drew."""
    shown = memollm("show", key(QUESTION)[:8])
    assert (shown.code, shown.err) == (0, "")
    assert max(map(len, shown.lines)) <= 80
    assert f'prompt = "{QUESTION}"' in shown.lines
    # The cache was filled once for all tests, so its samples may be of any age.
    rows = [line for line in shown.lines if re.match(r" +[012] +\d+ (s|min|h) ", line)]
    assert len(rows) == 3
    assert rows[1].endswith("from 29: 1 → 2")
    assert "baseline: 3 drawn" in shown.out
    assert "ablation: 2 drawn" in shown.out


def test_show_in_full(memollm, key):
    """--full cuts nothing."""
    shown = memollm("show", key("THE END"), "--full")
    assert "more and " * 100 in shown.out
    assert "  I am sure that the answer is 4 indeed\n" in shown.out


def test_show_as_json(memollm, key):
    """The JSON has values, differences and readers."""
    (call,) = json.loads(memollm("show", key(QUESTION), "--json").out)
    assert [sample["value"][29:] for sample in call["samples"]] == ["1 indeed", "2 indeed", "3 indeed"]
    assert [sample["slot"] for sample in call["samples"]] == [0, 1, 2]
    assert [sample["difference"] for sample in call["samples"]] == ["", "from 29: 1 → 2", "from 29: 1 → 3"]
    assert call["readers"] == [
        {"kind": "namespace", "name": "ablation", "draws": 2, "lanes": []},
        {"kind": "namespace", "name": "baseline", "draws": 3, "lanes": []},
    ]


RESPONSES = """
from memollm import cached_llm

@cached_llm(namespace="a", version=1)
def chat(messages):
    at = next(numbers)
    text = "It is 4" if at % 3 == 0 else "It is 3"
    return {"id": f"c-{at}", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}

numbers = iter(range(20))
chat.draw(20, [{"role": "user", "content": "1 + 2?"}])
"""


def test_show_and_report_count_equal_answers(memollm, project):
    """Twenty responses that differ in their ids are two answers, in a terminal, as JSON and in the page."""
    (project / "chats.py").write_text(RESPONSES, encoding="utf-8")
    subprocess.run([sys.executable, "chats.py"], cwd=project, timeout=60, check=True)
    (call,) = json.loads(memollm("ls", "--json").out)
    lines = memollm("show", call["key"]).lines
    assert [line for line in lines if "×" in line] == ["     13 × It is 3", "      7 × It is 4"]
    assert len([line for line in lines if line.endswith(" same")]) == 6
    (document,) = json.loads(memollm("show", call["key"], "--json").out)
    assert document["answers"] == [{"times": 13, "text": "It is 3"}, {"times": 7, "text": "It is 4"}]
    with Cache(project / ".memollm") as cache:
        (asked,) = collect(cache, place="x", made=0.0, show=("memollm", "show"), bounds=Bounds(samples=3)).asked
    assert [(each.times, each.content.text) for each in asked.equal] == [(13, "It is 3"), (7, "It is 4")]
    assert (asked.different, len(asked.answers)) == (2, 3)


def test_show_loads_no_class_and_no_pickle(memollm, key, project):
    """An object of a class is shown by its fields, a pickled one by its size; no program is imported (P10)."""
    (project / "study.py").write_text("raise SystemExit('imported')", encoding="utf-8")
    assert 'Verdict {"score": 3}' in memollm("show", key("signed")).out
    assert "a pickled object of" in memollm("show", key("pickled"), "--full").out
    assert json.loads(memollm("show", key("signed"), "--json").out)[0]["samples"][0]["value"] == {
        "class": "study:Verdict",
        "value": {"score": 3},
    }


def test_show_does_not_show_what_is_not_trusted(memollm, key, tmp_path):
    """A record that somebody else signed is said to be that; the rest of the listing is there (P10)."""
    shutil.rmtree(tmp_path / "config")
    shown = memollm("show", key("signed"), "--full")
    assert shown.code == 0
    assert "the record is signed by key" in shown.out
    assert "score" not in shown.out.replace("score_", "")
    assert 'text = "signed"' in shown.out
    (sample,) = json.loads(memollm("show", key("signed"), "--json").out)[0]["samples"]
    assert "value" not in sample
    assert "MEMOLLM_SIGNING_KEY" in sample["not_shown"]


def test_functions_are_listed(memollm, stocked):
    """Each function has a line with its calls, its samples and its versions."""
    listed = memollm("functions")
    assert [line.split()[:4] for line in listed.lines] == [
        ["FUNCTION", "CALLS", "SAMPLES", "VERSIONS"],
        ["study.ask", "2", "4", "1"],
        ["study.embed", "2", "2", "1"],
        ["study.judge", "1", "1", "1"],
        ["study.pickled", "1", "1", "1"],
    ]
    assert max(map(len, listed.lines)) <= 80
    assert json.loads(memollm("functions", "--json").out)[0]["name"] == "study.ask"


def test_namespaces_are_listed(memollm, stocked):
    """Each namespace has a line with its calls, its draws and the program that began it."""
    listed = memollm("namespaces")
    assert [line.split()[:3] for line in listed.lines] == [
        ["NAMESPACE", "CALLS", "DRAWS"],
        ["ablation", "1", "2"],
        ["baseline", "2", "4"],
    ]
    assert all(line.endswith("study.py") for line in listed.lines[1:])
    (ablation, _) = json.loads(memollm("namespaces", "--json").out)
    assert (ablation["name"], ablation["draws"], ablation["program"]) == ("ablation", 2, "study.py")
