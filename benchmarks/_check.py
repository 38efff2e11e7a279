"""The verdict over what the design promises: which targets are missed, and by how much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks._measure import TIMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._measure import Row

PROMISED = (
    "memo_hit",
    "durable_draw",
    "doors",
    "first_touch",
    "draw_many",
    "sdk_objects",
    "wrapped_hit",
    "langchain_hit",
    "async_hit",
    "miss",
    "async_misses",
    "stampede",
    "processes",
    "scale_million",
    "import_time",
    "similar",
    "estimates",
    "selection",
)
"""The benchmarks that a promised figure comes from."""


def missed(rows: list[Row]) -> list[Row]:
    """Return the rows whose target is missed."""
    return [row for row in rows if row.met is False]


def lines(rows: list[Row], skipped: list[str]) -> Iterator[str]:
    """Say what is missed and by how much, what was left out, and how many are met."""
    for row in missed(rows):
        yield f"MISSED  {row.title}: {_reached(row)}"
    for note in skipped:
        yield f"left out  {note}"
    judged = sum(row.met is not None for row in rows)
    yield f"{judged - len(missed(rows))} of {judged} targets are met."


def _reached(row: Row) -> str:
    if row.target is None or row.judged is None:
        return "has no target."
    times = f" {TIMES} {row.floor}" if not row.target.unit else f" {row.target.unit}"
    off = row.target.missed_by(row.judged)
    return f"{row.judged:.3g}{times}, must be {row.target.text()} ({off:.0%} off)."
