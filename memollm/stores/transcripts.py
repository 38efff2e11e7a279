"""Transcripts: what runs were given, in the order in which they asked for it. A store may keep them or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from memollm.errors import StoreRefused
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.counting import DrawnStretch


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
            f"{type(store).__name__} does not keep in which order runs draw; use a path (SQLite) as the cache for that."
        )
    return found.transcript(run=run, namespace=namespace, lane=lane)
