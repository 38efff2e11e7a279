"""Making functions and readers known to a store, and what follows when a function's code has changed."""

from __future__ import annotations

import hashlib
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memollm._keys.code.changes import changed_constants
from memollm._keys.identity import NAME_ONLY, Identity, changes
from memollm._types.suggest import did_you_mean
from memollm._types.warn import warn
from memollm.errors import CodeChanged, CodeChangedWarning, MemollmWarning, StoreReadOnly, StoreUnavailable
from memollm.stores.documents import notes_of
from memollm.stores.keeping import keeping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._draws.engine import Engine


def introduce_reader(engine: Engine, reader: str) -> None:
    """Keep when a namespace or a run drew first, and by which program."""
    kind, _, name = reader.partition(":")
    if (kind, name) in engine.known:
        return
    if not notes_of(engine.store, kind, name):
        first = {"first": time.time(), "program": Path(sys.argv[0]).name}
        # Whoever else came first has said it.
        keeping(engine.store).note(kind, name, first, instead_of=None)
    engine.known[kind, name] = ()


def _look_for(engine: Engine, resumed: str) -> None:
    """Warn of a reader that is to be resumed and begins now, if its name looks misspelt."""
    kind, _, name = resumed.partition(":")
    engine.known["resumed", resumed] = ()
    if (kind, name) in engine.known or name in (there := notes_of(engine.store, kind)):
        return
    # What this program has resumed itself is not what it meant now: a grid has a namespace for each cell.
    others = [other for other in there if ("resumed", f"{kind}:{other}") not in engine.known]
    if others and (near := did_you_mean(name, others)).endswith("?"):
        warn(f"There is no {kind} {name!r} to resume in this cache{near} It begins with this draw.", MemollmWarning)


def introduce_function(engine: Engine, identity: Identity, on_change: str, *, readable: bool) -> tuple[str, ...]:
    """Make a function known, and return the older versions whose samples it is to read, too; the oldest first.

    With `readable=False` the parts of its code are kept as digests.
    """
    known = "function", f"{on_change} {identity.lineage} {identity.version}"
    older = engine.known.get(known)
    while older is None:
        # Another program may change the entry meanwhile, and is then read again.
        older = _introduce_function(engine, identity, on_change, readable=readable)
    engine.known[known] = older
    return older


def _introduce_function(
    engine: Engine, identity: Identity, on_change: str, *, readable: bool
) -> tuple[str, ...] | None:
    entry = notes_of(engine.store, "function", identity.lineage).get(identity.lineage)
    parts = dict(identity.parts) if readable else {label: _digest(text) for label, text in identity.parts.items()}
    latest = identity.version if entry is None else str(entry["latest"])
    if entry is not None and latest == identity.version:
        return _read_too(entry, on_change)
    changed = entry is not None and _is_code(latest) and _is_code(identity.version)
    if entry is not None and changed and on_change == "error":
        raise CodeChanged(_forbidden(engine, identity, _told(entry, parts)))
    after = _with_version(identity, entry, parts, after=latest if changed else None)
    if not keeping(engine.store).note("function", identity.lineage, after, instead_of=entry):
        return None
    if entry is not None and changed and on_change != "ignore":
        told = _told(entry, parts)
        if identity.version in entry["versions"]:
            text = _old_again(identity, told)
        else:
            text = _new_samples(engine, identity, told) if on_change == "new" else _old_samples(identity, told)
        warn(text + _ignoring(entry, parts), CodeChangedWarning)
    return _read_too(after, on_change)


def _read_too(entry: Mapping[str, Any] | None, on_change: str) -> tuple[str, ...]:
    """List the versions that a function's latest was edited from, where their samples are to be used."""
    if entry is None or on_change not in {"warn", "ignore"}:
        return ()
    older: list[str] = []
    version = entry["versions"][entry["latest"]].get("after")
    while version in entry["versions"] and version not in older:
        older.insert(0, str(version))
        version = entry["versions"][version].get("after")
    return tuple(older)


def has_catalog(store: object) -> bool:
    """Tell whether a store knows functions and readers; one that draws alone does not."""
    return getattr(store, "looking", None) is not None and getattr(store, "keeping", None) is not None


def _is_code(version: str) -> bool:
    return version.startswith("code:") and version != NAME_ONLY


def _digest(text: str) -> str:
    return "blake2b:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _with_version(
    identity: Identity, entry: Mapping[str, Any] | None, parts: Mapping[str, str], *, after: str | None
) -> dict[str, Any]:
    """Return what is noted of a function, with this version as its latest; `after` is what it was edited from."""
    before = entry or {"name": identity.name, "versions": {}}
    versions = dict(before["versions"])
    versions.setdefault(identity.version, {"first": time.time(), "after": after, "parts": dict(parts)})
    return {**before, "latest": identity.version, "previous": before.get("latest"), "versions": versions}


def _told(entry: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    return changes(entry["versions"][entry["latest"]]["parts"], parts)


def _forbidden(engine: Engine, identity: Identity, told: str) -> str:
    return (
        f"The code of {identity.name} has changed since its stored samples were made:\n{told}\n"
        'on_change="error" forbids that. Undo the change, take on_change="new" to draw new samples, or '
        'make the new code known by .with_options(on_change="new").key(...), which calls nothing, and then keep '
        f"the old ones by {_adopting(engine, identity)}."
    )


def _old_samples(identity: Identity, told: str) -> str:
    return (
        f"The code of {identity.name} has changed, and the samples that its old code made are used all the same:\n"
        f"{told}\n"
        "What the new code makes is stored apart, so that undoing the change does not find it."
    )


def _old_again(identity: Identity, told: str) -> str:
    return f"The code of {identity.name} is as it was before, and the samples that it made then are used:\n{told}"


def _new_samples(engine: Engine, identity: Identity, told: str) -> str:
    return (
        f"The code of {identity.name} has changed, so it draws new samples:\n{told}\n"
        f"The old ones stay stored. To keep using them for the new code: {_adopting(engine, identity)}; "
        "to decide by yourself when samples are outdated: version=."
    )


def _ignoring(entry: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    """Say how to leave out what differs from run to run and does not matter."""
    names = changed_constants(entry["versions"][entry["latest"]]["parts"], parts)
    listed = "".join(f'"{name}", ' for name in names[:3]).rstrip()
    return f"\nWhat differs from run to run and does not matter is left out by ignore=({listed})." if names else ""


def _adopting(engine: Engine, identity: Identity) -> str:
    """Say how to keep the samples of the version before, on the command line and in Python."""
    by_method = f"{engine.place}.adopt({identity.name!r})"
    if engine.path is None:
        return by_method
    return f"`memollm adopt {shlex.quote(identity.name)} --cache {shlex.quote(engine.path)}` or {by_method}"


def introduce(
    engine: Engine, identity: Identity, readers: Iterable[str], on_change: str, *, readable: bool, resumed: str | None
) -> tuple[str, ...] | None:
    """Make a function and readers known; return the older versions of the function that it is to read, too.

    `resumed` is the reader that is to be resumed; if it begins here its name may be misspelt.

    A store that cannot be used now is no reason to fail: None says so, and the draw that follows tells the user. One
    that can only be read is.
    """
    if not has_catalog(engine.store):
        return ()
    try:
        older = introduce_function(engine, identity, on_change, readable=readable)
        if resumed is not None:
            _look_for(engine, resumed)
        for reader in readers:
            introduce_reader(engine, reader)
    except StoreReadOnly:
        raise
    except StoreUnavailable:
        return None
    return older
