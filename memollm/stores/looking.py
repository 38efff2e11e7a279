"""Looking into a store: what it lists of itself, changing nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Protocol

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts
    from memollm._types.listings import Item, ListedReader, ReaderOfCall, Standing, Stored, Surveyed

Document = dict[str, Any]
"""An entry of the catalog; what JSON can hold."""


class Looking(Protocol):
    """What a store can tell besides drawing. A store that can has it as its attribute `looking`."""

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call, and which of its positions are recorded for lanes."""
        ...

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function, in order of storing."""
        ...

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples, of one function or all, in order of making.

        With a text, only those whose canonical form `mentions` it.
        """
        ...

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call, by name; what is in flight or given back does not count as drawn."""
        ...

    def readers(self) -> list[ListedReader]:
        """List the readers, by name."""
        ...

    def inventory(self) -> list[Item]:
        """List every call that has samples, in no order."""
        ...

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        ...

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read the documents of a kind (function, namespace, run), by name: all, or the one of a name."""
        ...


def looking(store: object) -> Looking:
    """Return what looks into a store, or refuse where it has none."""
    found: Looking | None = getattr(store, "looking", None)
    if found is None:
        raise StoreRefused(
            f"{type(store).__name__} draws and cannot list what it holds; use a store that has `looking`, such as a "
            "path (SQLite) or 'memory:'."
        )
    return found


def drawn(looking: Looking, reader: str, call: Call, lane: str | None) -> list[int]:
    """List the positions of a call that a reader was given in a lane, or outside lanes, in their order.

    Runs share a record, so that a run is told of its lanes what is recorded there and it was given, wherever.
    """
    return looking.standing(reader, call).drawn(lane)


def mentions(form: str, text: str) -> bool:
    """Tell whether a text stands in a canonical form, in whatever case, as it is or as JSON writes it."""
    form, text = form.casefold(), text.casefold()
    return text in form or json.dumps(text, ensure_ascii=False)[1:-1] in form
