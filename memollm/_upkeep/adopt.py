"""Re-keying: the samples of one version or name of a function become those of another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._keys.rekeying import as_function, function_in
from memollm._types.listings import Move
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError
from memollm.stores.documents import notes_of
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing
    from memollm.stores.looking import Document


def adopt(store: Drawing, codec: Codec, name: str, *, to: str | None, version: str | None, dry_run: bool) -> int:
    """Give the stored samples of an older version, or of another name, to the latest version of a function."""
    moves = planned(store, name, to=to, version=version)
    return samples_of(store, name, moves) if dry_run else moved(store, codec, moves)


def samples_of(store: Drawing, name: str, moves: list[Move]) -> int:
    """Tell how many samples would be adopted."""
    samples = {each.call: each.samples for each in looking(store).calls(name)}
    return sum(samples[move.old] for move in moves)


def moved(store: Drawing, codec: Codec, moves: list[Move]) -> int:
    """Do what was planned, all or nothing."""
    return keeping(store).adopt(
        moves, lambda move, record: codec.resign(record, context=move.old.key, new_context=move.new.key)
    )


def planned(store: Drawing, name: str, *, to: str | None, version: str | None) -> list[Move]:
    """List which calls' samples would become which calls'."""
    entries = notes_of(store, "function")
    sources = _entries_of(entries, name)
    moves: list[Move] = []
    for entry in sources.values():
        target = entry if to is None else _only(_entries_of(entries, to), to)
        old = _as_recorded(version, entry) or (entry["latest"] if to is not None else entry.get("previous"))
        if old is None or (old == target["latest"] and target["name"] == name):
            continue
        moves += _moves(store, name, old, target)
    if not moves:
        raise OptionError(
            f"adopt({name!r}): there is nothing to adopt{_of_version(version, sources)}. {_known_versions(sources)}"
            "Name an older version that has samples (version=, --version), or the function's new name (to=, --to)."
        )
    return moves


def _as_recorded(version: str | None, entry: Document) -> str | None:
    """Take a version as the user wrote it in `version=`, too."""
    return f"version:{version}" if f"version:{version}" in entry["versions"] else version


def _entries_of(entries: Mapping[str, Document], name: str) -> dict[str, Document]:
    found = {lineage: entry for lineage, entry in entries.items() if entry["name"] == name}
    if not found:
        names = sorted({str(entry["name"]) for entry in entries.values()})
        raise OptionError(f"The cache knows no function {name!r}{did_you_mean(name, names)}")
    return found


def _only(found: Mapping[str, Document], name: str) -> Document:
    if len(found) > 1:
        raise OptionError(
            f"to={name!r}: {len(found)} functions share that name (closures, partials or lambdas of one place). "
            "Give each a name= of its own first."
        )
    return next(iter(found.values()))


def _known_versions(sources: Mapping[str, Document]) -> str:
    versions = [version for entry in sources.values() for version in entry["versions"]]
    return f"It has {', '.join(versions)}. "


def _of_version(version: str | None, sources: Mapping[str, Document]) -> str:
    if version is None:
        return ""
    known = any(_as_recorded(version, entry) in entry["versions"] for entry in sources.values())
    return f" of version {version!r}" if known else f", as it has no version {version!r}"


def _moves(store: Drawing, name: str, version: str, target: Document) -> list[Move]:
    moves: list[Move] = []
    for stored in looking(store).calls(name):
        if not stored.call.form.startswith("{") and stored.samples:
            raise OptionError(
                f"adopt({name!r}): some of its calls were stored with keep_arguments=False, as digests that cannot be "
                "re-keyed. Nothing was changed."
            )
        found = function_in(stored.call.form)
        if found is None:
            # A damaged form is found by no draw, under no version; `verify` tells.
            continue
        function, end = found
        if function["version"] == version:
            newer = {**function, "name": target["name"], "version": target["latest"]}
            moves.append(Move(stored.call, as_function(stored.call.form, end, newer)))
    return moves
