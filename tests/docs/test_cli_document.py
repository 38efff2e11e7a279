"""docs/cli.md says what the command line's own help says."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import click
import pytest

from memollm.cli._commands import COMMANDS
from memollm.cli._group import memollm

DOCUMENT = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
OF_ALL = {"--cache"}
"""Options that are described once."""


def loaded(name):
    return getattr(import_module(COMMANDS[name].module), COMMANDS[name].function)


def section(name):
    """Return what the document says of a command, without its line breaks."""
    match = re.search(rf"^### `memollm {name}\b[^\n]*\n.*?(?=^##|\Z)", DOCUMENT, flags=re.DOTALL | re.MULTILINE)
    assert match, f"docs/cli.md has no section for {name}"
    return " ".join(match[0].split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_documented(name):
    """A command's section has its usage and its help, word by word."""
    command = loaded(name)
    context = click.Context(command)
    arguments = [p.make_metavar(context) for p in command.params if isinstance(p, click.Argument)]
    assert section(name).startswith(f"### `{' '.join(['memollm', name, *arguments])}`")
    assert " ".join(inspect.cleandoc(command.help).split()) in section(name)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_documented(name):
    """Each option of a command has a row with its help, and no row is left of one that is gone."""
    command = loaded(name)
    context = click.Context(command)
    options = [p for p in command.params if isinstance(p, click.Option) and not OF_ALL.intersection(p.opts)]
    for option in options:
        value = "" if option.is_flag else f" {option.make_metavar(context)}"
        assert f"| `{option.opts[0]}{value}` | {option.help} |" in section(name)
    assert re.findall(r"\| `(--[\w-]+)", section(name)) == [option.opts[0] for option in options]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_of_commands_is_true(name):
    """The line of a command in `memollm --help` is the first of its own help, and both have room for it."""
    assert inspect.cleandoc(loaded(name).help).splitlines()[0] == COMMANDS[name].help
    assert len(COMMANDS[name].help) + max(map(len, COMMANDS)) + 4 <= 80


def test_options_of_all_are_documented():
    """What every command takes is named above them all."""
    options = [option for option in memollm.params if isinstance(option, click.Option)]
    assert [option.opts[0] for option in options if f"`{option.opts[0]}`" not in DOCUMENT] == []


def test_no_command_is_left_over():
    """A section is about a command that exists."""
    assert sorted(re.findall(r"^### `memollm ([\w-]+)", DOCUMENT, flags=re.MULTILINE)) == sorted(COMMANDS)
