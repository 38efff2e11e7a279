"""The commands about functions: their versions, and giving samples of one version to another."""

from __future__ import annotations

import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from memollm._keys.identity import changes
from memollm._types.tables import counted
from memollm.cli._completing import function_names as complete_functions
from memollm.cli._finding import described, require_function
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, json_option
from memollm.cli._output import Column, list_json, say, show_json, show_table
from memollm.cli._words import age_text, moment
from memollm.errors import OptionError
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm._cache import Cache
    from memollm.stores.looking import Document

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
LATEST: Final = "latest"
PREVIOUS: Final = "previous"


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
            _show_functions(_functions(cache), full=full, as_json=as_json)
        elif diff is not None:
            _show_difference(name, _versions(cache, name), diff, as_json=as_json)
        else:
            _show_versions(name, _versions(cache, name), full=full, as_json=as_json)


# All functions.


class _ListedFunction(NamedTuple):
    name: str
    calls: int
    samples: int
    versions: int
    latest: str | None


def _functions(cache: Cache) -> list[_ListedFunction]:
    calls: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for item in looking(cache.store).inventory():
        calls[item.function] += 1
        samples[item.function] += item.samples
    noted: dict[str, list[Document]] = {}
    for entry in notes_of(cache.store, "function").values():
        noted.setdefault(str(entry["name"]), []).append(entry)
    return [
        _ListedFunction(
            name,
            calls[name],
            samples[name],
            sum(len(entry["versions"]) for entry in noted.get(name, ())),
            str(noted[name][-1]["latest"]) if name in noted else None,
        )
        for name in sorted({*calls, *noted})
    ]


def _show_functions(listed: list[_ListedFunction], *, full: bool, as_json: bool) -> None:
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


class _ListedVersion(NamedTuple):
    version: str
    calls: int
    samples: int
    first: float | None
    role: str
    """`latest`, `previous` or empty."""
    parts: Mapping[str, str]


def _versions(cache: Cache, name: str) -> list[_ListedVersion]:
    """List the versions of all that bear the name: closures, partials and lambdas of one place share it."""
    calls: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    for each in looking(cache.store).survey(function=name):
        version = described(each.call.form).version or "(not kept)"
        calls[version] += 1
        samples[version] += each.samples
    listed: dict[str, _ListedVersion] = {}
    for entry in notes_of(cache.store, "function").values():
        if entry["name"] == name:
            roles = {entry.get("previous"): PREVIOUS, entry["latest"]: LATEST}
            for version, noted in entry["versions"].items():
                numbers = calls[version], samples[version]
                listed[version] = _ListedVersion(
                    version, *numbers, noted["first"], roles.get(version, ""), noted["parts"]
                )
    unknown = [
        _ListedVersion(version, calls[version], samples[version], None, "", {})
        for version in calls.keys() - listed.keys()
    ]
    return [*sorted(listed.values(), key=lambda each: each.first or 0.0), *unknown]


def _show_versions(name: str, versions: list[_ListedVersion], *, full: bool, as_json: bool) -> None:
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


def _show_difference(name: str, versions: list[_ListedVersion], diff: tuple[str, str], *, as_json: bool) -> None:
    old, new = (_version(name, versions, each) for each in diff)
    told = changes(old.parts, new.parts)
    if as_json:
        show_json({"function": name, "old": old.version, "new": new.version, "changes": told.split("\n")})
        return
    say(f"{name}: from {old.version} to {new.version}")
    say(told)


def _version(name: str, versions: list[_ListedVersion], said: str) -> _ListedVersion:
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
def adopt(*, name: str, to: str | None, version: str | None) -> None:
    """Give samples of an older version of a function to its latest.

    All or nothing; nothing is lost. Where both have samples the adopted ones come after, and what a namespace has drawn
    stays drawn. The latest version is the one that was drawn or keyed last, so run the changed program once before.
    """
    with existing_cache() as cache:
        require_function(cache, name)
        samples = cache.adopt(name, to=to, version=version)
    say(f"{counted(samples, 'sample')} adopted by {to or name}.")
