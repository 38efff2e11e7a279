"""What a SQLite store lists, made of the rows that its statements give."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call
from memollm._types.listings import ReaderOfCall, Surveyed
from memollm.stores.base import mentions

if TYPE_CHECKING:
    from collections.abc import Iterable


def surveyed(rows: Iterable[tuple[Any, ...]], text: str | None) -> list[Surveyed]:
    """Make a survey of its rows, of which only those that mention the text count."""
    listed = [
        Surveyed(Call(key, form, function), *figures)
        for key, form, function, *figures in rows
        if text is None or mentions(form, text)
    ]
    # Rows come by number, so this is hardly any work; the database would carry every form through its sorter.
    return sorted(listed, key=attrgetter("made"))


def drawn(rows: Iterable[tuple[str, int, str | None]]) -> list[ReaderOfCall]:
    """Make readers of their rows, of which there is one for each lane."""
    lanes: dict[tuple[str, int], list[str]] = {}
    for name, draws, lane in rows:
        lanes.setdefault((name, draws), []).extend([] if lane is None else [lane])
    return [ReaderOfCall(name, draws, tuple(each)) for (name, draws), each in lanes.items()]
