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
from memollm._types.warn import warn
from memollm.errors import CodeChanged, CodeChangedWarning, StoreReadOnly, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._draws.engine import Engine


def introduce_reader(engine: Engine, reader: str) -> None:
    """Keep when a namespace or a run drew first, and by which program."""
    kind, _, name = reader.partition(":")
    if (kind, name) in engine.known:
        return
    if not looking(engine.store).notes(kind, name):
        first = {"first": time.time(), "program": Path(sys.argv[0]).name}
        # Whoever else came first has said it.
        keeping(engine.store).note(kind, name, first, instead_of=None)
    engine.known[kind, name] = ""


def version_for(engine: Engine, identity: Identity, on_change: str, *, readable: bool) -> str:
    """Make a function known, and return the version whose samples it is to use: its own, or an older one.

    With `readable=False` the parts of its code are kept as digests.
    """
    version = engine.known.get(("function", identity.lineage + identity.version))
    while version is None:
        # Another program may change the entry meanwhile, and is then read again.
        version = _version_for(engine, identity, on_change, readable=readable)
    engine.known["function", identity.lineage + identity.version] = version
    return version


def _version_for(engine: Engine, identity: Identity, on_change: str, *, readable: bool) -> str | None:
    entry = looking(engine.store).notes("function", identity.lineage).get(identity.lineage)
    parts = dict(identity.parts) if readable else {label: _digest(text) for label, text in identity.parts.items()}
    latest = identity.version if entry is None else str(entry["latest"])
    if entry is not None and latest == identity.version:
        return latest
    changed = entry is not None and _is_code(latest) and _is_code(identity.version)
    if entry is not None and changed and on_change != "new":
        _object(engine, identity, on_change, _told(entry, parts))
        return latest
    if not _keep(engine, identity, entry, parts):
        return None
    if entry is not None and changed:
        told = _told(entry, parts)
        known = identity.version in entry["versions"]
        said = _old_again(identity, told) if known else _new_samples(engine, identity, told)
        warn(said + _ignoring(entry, parts), CodeChangedWarning)
    return identity.version


def has_catalog(store: object) -> bool:
    """Tell whether a store knows functions and readers; one that draws alone does not."""
    return getattr(store, "looking", None) is not None and getattr(store, "keeping", None) is not None


def _is_code(version: str) -> bool:
    return version.startswith("code:") and version != NAME_ONLY


def _digest(text: str) -> str:
    return "blake2b:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _keep(engine: Engine, identity: Identity, entry: dict[str, Any] | None, parts: Mapping[str, str]) -> bool:
    """Note the version as the latest; tell that nobody has changed the entry meanwhile."""
    before = entry or {"name": identity.name, "versions": {}}
    versions = dict(before["versions"])
    versions.setdefault(identity.version, {"first": time.time(), "parts": dict(parts)})
    after = {**before, "latest": identity.version, "previous": before.get("latest"), "versions": versions}
    return keeping(engine.store).note("function", identity.lineage, after, instead_of=entry)


def _told(entry: Mapping[str, Any], parts: Mapping[str, str]) -> str:
    return changes(entry["versions"][entry["latest"]]["parts"], parts)


def _object(engine: Engine, identity: Identity, on_change: str, told: str) -> None:
    if on_change == "error":
        raise CodeChanged(
            f"The code of {identity.name} has changed since its stored samples were made:\n{told}\n"
            'on_change="error" forbids that. Undo the change, take on_change="new" to draw new samples, or '
            f'{_adopting(engine, identity)} after a draw with on_change="new" to keep the old ones.'
        )
    if on_change == "warn":
        warn(
            f"The code of {identity.name} has changed, and the samples that its old code made are used all the same:\n"
            f"{told}",
            CodeChangedWarning,
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
    engine: Engine, identity: Identity, readers: Iterable[str], on_change: str, *, readable: bool
) -> str | None:
    """Make a function and readers known; return the version of the function to use.

    A store that cannot be used now is no reason to fail: None says so, and the draw that follows tells the user. One
    that can only be read is.
    """
    if not has_catalog(engine.store):
        return identity.version
    try:
        version = version_for(engine, identity, on_change, readable=readable)
        for reader in readers:
            introduce_reader(engine, reader)
    except StoreReadOnly:
        raise
    except StoreUnavailable:
        return None
    return version
