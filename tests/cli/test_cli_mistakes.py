"""A user's mistake is one line that says what to do, and exit code 2; nothing is made or changed by it."""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path

import pytest
from filling import fill

from memollm import Cache
from memollm.cli._opening import require_file
from memollm.errors import OptionError

COMMANDS = [
    ["stats"],
    ["ls"],
    ["show", "ab"],
    ["functions"],
    ["adopt", "study.ask"],
    ["namespaces"],
    ["rewind", "baseline"],
    ["drop", "baseline"],
    ["forget", "ab"],
    ["verify"],
    ["export", "x.jsonl"],
]


def refused(ran, *told):
    """Check that it is one line that tells all this."""
    assert (ran.code, ran.out) == (2, ""), ran
    (line,) = ran.err.splitlines()
    assert line.startswith("error: ")
    for text in told:
        assert text in line
    return True


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_there_is_no_cache(memollm, project, command):
    """A missing cache is not made by looking for it."""
    refused(
        memollm(*command), f"there is no cache at {project / '.memollm'}", "--cache PATH", "(the project's default)"
    )
    assert not (project / ".memollm").exists()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_file_is_a_folder(memollm, project, command):
    """Nothing is made beside a folder that has a database's name."""
    (project / "x.db").mkdir()
    refused(memollm(*command, "--cache", "x.db"), "is a folder with a database's name")
    assert not [*project.glob("x.db.*")]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_file_is_foreign(memollm, project, command):
    """A file that is no cache is left as it is."""
    file = project / "notes.txt"
    file.write_text("These are notes, and many of them. " * 9, encoding="utf-8")
    before = sorted(project.iterdir())
    refused(memollm(*command, "--cache", file), "is not a memollm cache", "another path")
    assert file.read_text(encoding="utf-8").startswith("These are notes")
    assert sorted(project.iterdir()) == before


def test_the_database_is_foreign(memollm, project):
    """So is the database of another program."""
    connection = sqlite3.connect(project / "other.db")
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    connection.close()
    refused(memollm("ls", "--cache", "other.db"), "a SQLite database of another program")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["show", "zz"], "is no key"),
        (["show", "0" * 32], "`memollm ls` lists them"),
        (["forget", "0" * 32], "`memollm ls` lists them"),
        (["forget", "", "--yes"], "is no key"),
        (["functions", "study.aks"], "Did you mean 'study.ask'?"),
        (["functions", "study.ask", "--diff", "code:", "nine"], "has no version 'nine'"),
        (["functions", "--diff", "previous", "latest"], "name it"),
        (["adopt", "study.aks"], "Did you mean 'study.ask'?"),
        (["adopt", "study.ask", "--to", "study.embd"], "Did you mean 'study.embed'?"),
        (["adopt", "study.ask"], "there is nothing to adopt"),
        (["rewind", "baselin"], "Did you mean 'baseline'?"),
        (["drop", "nobody", "--yes"], "it has: ablation, baseline"),
        (["ls", "--function", "study.aks"], "Did you mean 'study.ask'?"),
        (["ls", "--older", "soon"], "write 90s, 30min, 12h, 7d, 2w or 1y"),
        (["ls", "--limit", "-1"], "x>=0"),
        (["ls", "--sort", "mood"], "'made'"),
        (["stats", "--by", "mood"], "'function'"),
        (["completion", "tcsh"], "'bash'"),
        (["lss"], "Did you mean 'ls'?"),
        (["show"], "See 'memollm show --help'"),
        (["drop"], "See 'memollm drop --help'"),
        (["ls", "--jsn"], "--json"),
        (["ls", "--cache", "memory:"], "lives inside one program"),
        (["ls", "--cache", "gopher://host/x"], "gopher://host/x"),
        (["ls", "--cache", ""], "cache=''"),
        (["ls", "--cache", "study.py/inner"], "there is no cache at"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_named_is_not_there(memollm, stocked, project, arguments, told):
    """An unknown name says what there is or how it is written."""
    (project / "study.py").touch()
    refused(memollm(*arguments), told)


def test_the_beginning_of_several_keys(memollm, project):
    """Too few digits of a key say so, instead of taking any; the key of a call is never taken for another's."""
    with Cache(project / ".memollm") as cache:
        keys = [call.key.hex() for call in fill(cache, 17)]  # More than there are digits.
    shared = next(key[0] for key in keys if sum(other[0] == key[0] for other in keys) > 1)
    ran = memollm("forget", shared, "--yes")
    refused(ran, f"'{shared}' begins the keys of", "Give more digits.")
    assert len(json.loads(memollm("ls", "--json").out)) == 17


@pytest.mark.parametrize("name", ["MEMOLLM_CACHE", "pyproject"])
def test_the_place_is_said_to_come_from(memollm, project, name):
    """A cache that is missing says who named it."""
    if name == "pyproject":
        (project / "pyproject.toml").write_text('[tool.memollm]\ncache = "elsewhere"', encoding="utf-8")
        refused(memollm("ls"), str(project / "elsewhere"), "(pyproject.toml)")
    else:
        refused(memollm("ls", MEMOLLM_CACHE="elsewhere"), str(project / "elsewhere"), "(MEMOLLM_CACHE)")


def test_the_configuration_is_wrong(memollm, project):
    """A mistake in pyproject.toml is told as one."""
    (project / "pyproject.toml").write_text('[tool.memollm]\ncahce = "x"', encoding="utf-8")
    refused(memollm("ls"), "Did you mean 'cache'?")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="needs a user that permissions bind")
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_the_folder_is_unreadable(memollm, stocked, command):
    """A folder that this user may not look into is told as that."""
    stocked.chmod(0o000)
    try:
        refused(memollm(*command), "Permission denied", "Make its folder readable")
    finally:
        stocked.chmod(0o700)


def test_an_unreadable_folder_is_no_missing_cache(monkeypatch):
    """The same without such a user: what the system forbids is told with its own words."""

    def stat(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(OptionError, match=r"memollm.db \(--cache\) cannot be looked at: Permission denied. Make its"):
        require_file(Path("memollm.db"), "--cache")


def test_a_damaged_cache_is_something_wrong(memollm, stocked):
    """What is wrong with a cache, and not with the command, has exit code 1."""
    file = stocked / "memollm.db"
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    ran = memollm("ls")
    assert (ran.code, len(ran.err.splitlines())) == (1, 1)
    assert "memollm verify --repair keeps what can be read" in ran.err


def test_an_empty_file_is_no_cache(memollm, tmp_path):
    """A command that looks makes nothing out of an empty file."""
    empty = tmp_path / "empty.db"
    empty.touch()
    refused = memollm("stats", "--cache", str(empty))
    assert (refused.code, empty.stat().st_size, len(list(tmp_path.glob("empty.db*")))) == (2, 0, 1)
    assert "is empty: nothing is stored there" in refused.err
