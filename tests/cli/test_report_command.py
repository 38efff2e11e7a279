"""`memollm report`: what it writes, over what it does not write, and what it says."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from pathlib import Path

import click
import pytest
from report_cache import call_of, fill, store_samples

from memollm import Cache
from memollm.cli._running import run
from memollm.cli.report import report


@pytest.fixture
def filled(project):
    """Fill the project's cache."""
    with Cache(project / ".memollm") as cache:
        fill(cache)
    return project


def test_it_writes_the_page_of_the_projects_cache(filled, capsys):
    """One command, one file, one line that says what is in it."""
    assert run(["report", "report.html"]) == 0
    html = (filled / "report.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert "paper:solve" in html
    assert capsys.readouterr().out.startswith("Wrote report.html: 62 calls, ")
    assert [path.name for path in filled.iterdir() if "report" in path.name] == ["report.html"]


def test_the_page_leads_to_the_terminal(memollm, stocked, project):
    """Of what a real program drew, each call's command shows that call."""
    assert memollm("report", "report.html").code == 0
    data = re.search(r'id="data">(.*?)</script>', (project / "report.html").read_text(encoding="utf-8"), re.DOTALL)[1]
    calls = {call["summary"].partition(" ·")[0]: call for call in json.loads(data)["asked"]}
    call = calls["prompt: What is 17 x 23?"]
    program, *arguments = call["command"].split()
    assert program == "memollm"
    shown = memollm(*arguments, "--full").out
    assert [answer["content"]["text"] in shown for answer in call["answers"]] == [True] * 3
    assert '"score": 3' in calls["text: signed"]["answers"][0]["content"]["text"]
    assert "a pickled object" in calls["text: pickled"]["answers"][0]["content"]["text"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_only_the_user_can_read_it(filled):
    """It holds prompts and answers, so it is as private as the cache, whatever the umask and the file before it."""
    file = filled / "report.html"
    before = os.umask(0)
    try:
        assert run(["report", "report.html"]) == 0
        file.chmod(0o644)
        assert run(["report", "report.html"]) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_it_writes_over_a_report_and_nothing_else(filled, capsys):
    """A misspelt name costs nobody a file."""
    notes = filled / "notes.txt"
    notes.write_text("mine")
    assert run(["report", "notes.txt"]) == 2
    assert notes.read_text() == "mine"
    assert "notes.txt is there and is no report of memollm" in capsys.readouterr().err
    assert run(["report", "notes.txt", "--force"]) == 0
    assert run(["report", "notes.txt"]) == 0


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("missing/report.html", "Name a file in a folder that is there and yours."),
        (".", ". is there and is no file."),
        (os.devnull, "is there and is no file."),
    ],
)
@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_place_that_takes_no_file_is_said(name, told, force, filled, capsys):
    """One line, with what to do about it."""
    assert run(["report", name, *force]) == 2
    assert told in capsys.readouterr().err


def test_bounds_are_options(filled, capsys):
    """What is left out is said in the command's line and in the page."""
    assert run(["report", "a.html", "--calls", "0"]) == 0
    page = (filled / "a.html").read_text(encoding="utf-8")
    assert "Because 1.0" not in page
    assert "62 calls that cost less than the 0 above" in page
    assert "0 of 62 calls" in capsys.readouterr().out
    assert run(["report", "b.html", "--calls", "-1"]) == 2


def test_the_page_names_no_home_and_no_password(project, monkeypatch, tmp_path):
    """A page may be handed on: it calls the user's home ~."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with Cache(project / ".memollm") as cache:
        store_samples(cache, call_of("f", prompt="x"), "y")
    assert run(["report", "report.html"]) == 0
    page = (project / "report.html").read_text(encoding="utf-8")
    assert '"place":"~/project/.memollm"' in page
    assert str(tmp_path) not in page


def test_the_command_for_a_call_names_the_cache(filled, tmp_path):
    """What the page tells to type finds the call, also where --cache was said."""
    assert run(["--cache", ".memollm", "report", "report.html"]) == 0
    assert "memollm --cache .memollm show " in (filled / "report.html").read_text(encoding="utf-8")


def test_without_a_cache_there_is_no_report(project, capsys):
    """Nothing is made where there is nothing to report."""
    assert run(["report", "report.html"]) == 2
    assert "there is no cache" in capsys.readouterr().err
    assert list(project.glob("*.html")) == []


def test_every_option_is_documented():
    """The page of the documents names each bound with what it usually is."""
    document = (Path(__file__).parents[2] / "docs" / "report.md").read_text(encoding="utf-8")
    for option in (each for each in report.params if isinstance(each, click.Option) and each.show_default):
        assert f"| `{option.opts[0]}` | {option.default} |" in document
