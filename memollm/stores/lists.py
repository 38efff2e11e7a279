"""Listing what is stored where it is rows, by statements whose names and values all such stores share."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call
from memollm._types.listings import Item, ListedReader, ReaderOfCall, Stored, Surveyed
from memollm.stores.looking import Looking, mentions

if TYPE_CHECKING:
    from collections.abc import Callable


class StoredLists(Looking):
    """Makes lists by whatever gives rows; the rest of looking is each store's own."""

    def __init__(self, rows: Callable[..., list[Any]]) -> None:
        """`rows` runs a statement by its name, with its values."""
        self._rows = rows

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function."""
        rows = self._rows("calls_of_function", function)
        return [Stored(Call(key, form, name), samples) for key, form, name, samples in rows]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples."""
        listed = [
            Surveyed(Call(key, form, name), *figures)
            for key, form, name, *figures in self._rows("survey", function, function)
            if text is None or mentions(form, text)
        ]
        # Rows come by number, so this is hardly any work; the database would carry every form through its sorter.
        return sorted(listed, key=attrgetter("made"))

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call, of which there is a row for each lane."""
        lanes: dict[tuple[str, int], list[str]] = {}
        for name, draws, lane in self._rows("readers_of", call.key, call.form):
            lanes.setdefault((name, draws), []).extend([] if lane is None else [lane])
        return [ReaderOfCall(name, draws, tuple(each)) for (name, draws), each in lanes.items()]

    def readers(self) -> list[ListedReader]:
        """List the readers."""
        return [ListedReader(*row) for row in self._rows("list_readers")]

    def inventory(self) -> list[Item]:
        """List every call that has samples."""
        return [Item(*row) for row in self._rows("inventory")]
