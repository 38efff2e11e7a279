"""Transcripts: what runs were given, in the order in which they asked for it. A store may keep them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from memollm._types.calls import NAMESPACES, RUNS, Call
from memollm._types.counting import DrawnStretch
from memollm.errors import StoreRefused
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Row = tuple[str, str, str, bytes, str, str, int, int, float]


class Transcribing(Protocol):
    """What `keeping` of a store can besides, where the store keeps transcripts."""

    def transcribe(self, drawn: Sequence[DrawnStretch]) -> None:
        """Note what runs were given. A stretch that a run has as the same reader already stays where it is."""
        ...


class Transcribed(Protocol):
    """What `looking` of a store can besides, where the store keeps transcripts."""

    def transcript(self, *, run: str | None, namespace: str | None, lane: str | None) -> list[DrawnStretch]:
        """List what was given, of a run, in a namespace and in a lane, in the order of asking; None: in any.

        What was given without a namespace is in the namespace "", and what was given outside of lanes in the lane "".
        """
        ...


# What stores share.


def runner_of(drawn: DrawnStretch) -> str:
    """Return under which name a store knows the run of a stretch as a reader."""
    return RUNS + drawn.run


def reader_of(drawn: DrawnStretch) -> str:
    """Return under which name a store knows as whom it drew."""
    return NAMESPACES + drawn.namespace if drawn.namespace else runner_of(drawn)


def sought(run: str | None, namespace: str | None) -> tuple[str | None, str | None]:
    """Return the names of the runner and of the reader that are looked for, as far as one name says it."""
    return None if run is None else RUNS + run, NAMESPACES + namespace if namespace else None


def once_each(drawn: Iterable[DrawnStretch]) -> list[DrawnStretch]:
    """Put those into one that are of one run, reader, call and first slot."""
    kept: dict[tuple[str, str, Call, int], DrawnStretch] = {}
    for each in drawn:
        had = kept.setdefault((each.run, each.namespace, each.call, each.first), each)
        if each.last > had.last:
            kept[each.run, each.namespace, each.call, each.first] = had._replace(last=each.last)
    return list(kept.values())


def stretches_of(rows: Iterable[Row], namespace: str | None) -> list[DrawnStretch]:
    """Make stretches of rows that name the runner, the reader, the lane, the call, the slots and the moment."""
    return [
        DrawnStretch(by.removeprefix(RUNS), _named(whose), lane, Call(key, form, function), first, last, at)
        for by, whose, lane, key, form, function, first, last, at in rows
        if namespace is None or namespace == _named(whose)
    ]


def _named(reader: str) -> str:
    return reader.removeprefix(NAMESPACES) if reader.startswith(NAMESPACES) else ""


# Which stores do it.


def transcribing(store: object) -> Transcribing | None:
    """Return what notes transcripts in a store, if it keeps any."""
    keeping = getattr(store, "keeping", None)
    return cast("Transcribing", keeping) if hasattr(keeping, "transcribe") else None


def transcribed(store: object) -> Transcribed | None:
    """Return what reads transcripts in a store, if it keeps any."""
    found = looking(store)
    return cast("Transcribed", found) if hasattr(found, "transcript") else None


def transcript_of(
    store: object, *, run: str | None = None, namespace: str | None = None, lane: str | None = None
) -> list[DrawnStretch]:
    """List what was given, or refuse where nobody has written it down."""
    found = transcribed(store)
    if found is None:
        raise StoreRefused(
            f"{type(store).__name__} does not keep in which order runs draw; use a path (SQLite) or the URL of a "
            "server as the cache for that."
        )
    return found.transcript(run=run, namespace=namespace, lane=lane)
