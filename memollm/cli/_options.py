"""What commands have in common: how one is declared, and the options that several take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from memollm.cli._completing import function_names
from memollm.cli._place import remember

if TYPE_CHECKING:
    from collections.abc import Callable

Function = TypeVar("Function", bound="Callable[..., Any]")
SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
LISTED: Final = 50
"""How many a table lists if nothing is said."""


def cache_option(function: Function) -> Function:
    """Take `--cache`."""
    return click.option(
        "--cache",
        metavar="PATH_OR_URL",
        expose_value=False,
        callback=remember,
        # It completes paths; what is wrong with one is told by who opens it.
        type=click.Path(readable=False),
        help="The cache to look at, instead of the project's.",
    )(function)


def command(name: str) -> Callable[[Callable[..., int | None]], click.Command]:
    """Declare a command, which takes `--cache`; what it returns is the exit code if it is not 0."""

    def declared(function: Callable[..., int | None]) -> click.Command:
        return click.command(name, context_settings=SETTINGS)(cache_option(function))

    return declared


def json_option(function: Function) -> Function:
    """Take `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON instead of text.")(function)


def full_option(function: Function) -> Function:
    """Take `--full`."""
    return click.option("--full", is_flag=True, help="Show everything, however long.")(function)


def limit_option(function: Function) -> Function:
    """Take `--limit`, as `how_many` reads it."""
    return click.option(
        "--limit",
        metavar="N",
        type=click.IntRange(0),
        help=f"How many to list, 0 for all; a table lists {LISTED} if nothing is said.",
    )(function)


def how_many(total: int, limit: int | None, *, every: bool) -> int:
    """Return how many to list of so many; if no limit is said, it may be every one."""
    if limit is None:
        return total if every else LISTED
    return limit or total


def yes_option(function: Function) -> Function:
    """Take `--yes`."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(function)


def function_option(function: Function) -> Function:
    """Take `--function`."""
    return click.option(
        "--function",
        metavar="NAME",
        shell_complete=function_names,
        help="Only calls of this function.",
    )(function)
