"""The commands about functions: their versions, and giving samples of one version to another."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Final

import click

from memollm._keys.identity import changes
from memollm._types.tables import counted
from memollm._views.finding import require_function
from memollm._views.functions import PREVIOUS, listed_functions, listed_versions
from memollm.cli._completing import function_names as complete_functions
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, json_option
from memollm.cli._output import Column, list_json, say, show_json, show_table
from memollm.cli._words import age_text, moment
from memollm.errors import OptionError

if TYPE_CHECKING:
    from memollm._views.functions import ListedFunction, ListedVersion

FUNCTIONS: Final = (
    Column("FUNCTION", gives_way=True),
    Column("CALLS", right=True),
    Column("SAMPLES", right=True),
    Column("VERSIONS", right=True),
    Column("LATEST", gives_way=True),
)
VERSIONS: Final = (
    Column("VERSION", gives_way=True),
    Column("CALLS", right=True),
    Column("SAMPLES", right=True),
    Column("SEEN FIRST", right=True),
    Column("", gives_way=True),
)


@command("functions")
@click.argument("name", required=False, shell_complete=complete_functions)
@click.option("--diff", nargs=2, metavar="OLD NEW", help="Say what differs between two versions of the function NAME.")
@full_option
@json_option
def functions(*, name: str | None, diff: tuple[str, str] | None, full: bool, as_json: bool) -> None:
    """List the functions, or the versions of one.

    A version is a fingerprint of the function's code, or what its version= says. OLD and NEW may be the beginnings of
    versions, or the words previous and latest.
    """
    if diff is not None and name is None:
        raise OptionError(
            "--diff compares two versions of one function: name it, as in `memollm functions NAME --diff …`."
        )
    with existing_cache() as cache:
        require_function(cache, name)
        if name is None:
            _show_functions(listed_functions(cache), full=full, as_json=as_json)
        elif diff is not None:
            _show_difference(name, listed_versions(cache, name), diff, as_json=as_json)
        else:
            _show_versions(name, listed_versions(cache, name), full=full, as_json=as_json)


# All functions.


def _show_functions(listed: list[ListedFunction], *, full: bool, as_json: bool) -> None:
    if as_json:
        list_json(each._asdict() for each in listed)
    elif listed:
        rows = [
            (each.name, f"{each.calls:,}", f"{each.samples:,}", f"{each.versions:,}", each.latest or "")
            for each in listed
        ]
        show_table(FUNCTIONS, rows, full=full)
    else:
        say("No function has stored anything in this cache.")


# One function.


def _show_versions(name: str, versions: list[ListedVersion], *, full: bool, as_json: bool) -> None:
    if as_json:
        list_json(
            {**each._asdict(), "first": None if each.first is None else moment(each.first), "parts": dict(each.parts)}
            for each in versions
        )
        return
    rows = [
        (
            each.version,
            f"{each.calls:,}",
            f"{each.samples:,}",
            "" if each.first is None else f"{age_text(each.first)} ago",
            each.role,
        )
        for each in versions
    ]
    show_table(VERSIONS, rows, full=full)
    if any(each.role == PREVIOUS for each in versions):
        say(f"\nWhat changed: memollm functions {shlex.quote(name)} --diff previous latest")


def _show_difference(name: str, versions: list[ListedVersion], diff: tuple[str, str], *, as_json: bool) -> None:
    old, new = (_version(name, versions, each) for each in diff)
    told = changes(old.parts, new.parts)
    if as_json:
        show_json({"function": name, "old": old.version, "new": new.version, "changes": told.split("\n")})
        return
    say(f"{name}: from {old.version} to {new.version}")
    say(told)


def _version(name: str, versions: list[ListedVersion], said: str) -> ListedVersion:
    found = [each for each in versions if said in {each.version, each.role}]
    found = found or [
        each for each in versions if each.version.partition(":")[2].startswith(said) or each.version.startswith(said)
    ]
    if len(found) != 1:
        known = ", ".join(each.version for each in versions)
        which = "several versions" if found else "no version"
        raise OptionError(f"{name} has {which} {said!r} (it has: {known}).")
    return found[0]


# Adopting.


@command("adopt")
@click.argument("name", shell_complete=complete_functions)
@click.option(
    "--to", metavar="NAME", shell_complete=complete_functions, help="The function's new name, after a rename."
)
@click.option("--version", metavar="VERSION", help="Which older version, if not the one before the latest.")
@click.option("--dry-run", is_flag=True, help="Tell what would be adopted, and change nothing.")
def adopt(*, name: str, to: str | None, version: str | None, dry_run: bool) -> None:
    """Give samples of an older version of a function to its latest.

    All or nothing, and on Redis so for each call; nothing is lost. Where both have samples the adopted ones come after,
    and what a namespace has drawn stays drawn. The latest version is the one that was drawn or keyed last, so run the
    changed program once before.
    """
    with existing_cache() as cache:
        require_function(cache, name)
        samples = cache.adopt(name, to=to, version=version, dry_run=dry_run)
    say(f"{counted(samples, 'sample')} {'would be ' if dry_run else ''}adopted by {to or name}.")
