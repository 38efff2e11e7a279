"""The commands about namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from memollm._types.suggest import did_you_mean
from memollm._types.tables import counted
from memollm.cli._asking import agreed
from memollm.cli._completing import namespace_names
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, json_option, yes_option
from memollm.cli._output import Column, list_json, say, show_table
from memollm.cli._words import age_text, moment
from memollm.errors import OptionError
from memollm.stores.documents import notes_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm._cache import Cache
    from memollm._upkeep.holdings import Namespace

COLUMNS = (
    Column("NAMESPACE", gives_way=True),
    Column("CALLS", right=True),
    Column("DRAWS", right=True),
    Column("BEGUN", right=True),
    Column("BY", gives_way=True),
)


@command("namespaces")
@full_option
@json_option
def namespaces(*, full: bool, as_json: bool) -> None:
    """List the namespaces and how much each has drawn.

    BEGUN is how long ago a namespace drew first, and BY the program that did.
    """
    with existing_cache() as cache:
        listed, notes = cache.namespaces(), notes_of(cache.store, "namespace")
    if as_json:
        list_json([_document(each, notes.get(each.name, {})) for each in listed])
    elif listed:
        show_table(COLUMNS, [_row(each, notes.get(each.name, {})) for each in listed], full=full)
    else:
        say("No namespace has drawn from this cache.")


def _document(namespace: Namespace, note: Mapping[str, Any]) -> dict[str, object]:
    first = moment(note["first"]) if "first" in note else None
    return {**namespace._asdict(), "first": first, "program": note.get("program")}


def _row(namespace: Namespace, note: Mapping[str, Any]) -> tuple[str, ...]:
    begun = age_text(note["first"]) if "first" in note else ""
    return namespace.name, f"{namespace.calls:,}", f"{namespace.draws:,}", begun, note.get("program", "")


@command("rewind")
@click.argument("namespace", shell_complete=namespace_names)
@yes_option
def rewind(namespace: str, *, yes: bool) -> None:
    """Set a namespace back to its start.

    It draws the same samples again from then on, for nothing. Asks first.
    """
    with existing_cache() as cache:
        found = _found(cache, namespace)
        if agreed(f"Rewind {found.name!r}, which has drawn {_drawn(found)}?", yes=yes):
            cache.rewind(namespace)
            say(f"{found.name!r} is at its start again.")


@command("drop")
@click.argument("namespace", shell_complete=namespace_names)
@yes_option
def drop(namespace: str, *, yes: bool) -> None:
    """Remove a namespace; the samples that it drew stay.

    What its lanes were given is forgotten, too. Asks first.
    """
    with existing_cache() as cache:
        found = _found(cache, namespace)
        if agreed(f"Drop {found.name!r}, which has drawn {_drawn(found)}?", yes=yes):
            cache.drop(namespace)
            say(f"{found.name!r} is gone; its samples stay stored.")


def _found(cache: Cache, name: str) -> Namespace:
    known = {each.name: each for each in cache.namespaces()}
    if name not in known:
        raise OptionError(f"the cache has no namespace {name!r}{did_you_mean(name, known)}")
    return known[name]


def _drawn(namespace: Namespace) -> str:
    return f"{counted(namespace.draws, 'sample')} of {counted(namespace.calls, 'call')}"
