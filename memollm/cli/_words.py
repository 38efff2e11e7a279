"""Figures and texts as people read them: sizes, times, money, and texts cut to a width."""

from __future__ import annotations

import time
import unicodedata
from datetime import UTC, datetime
from typing import Final

from memollm._types.tables import money

ELLIPSIS: Final = "…"
UNITS: Final = ((31_557_600, "y"), (86_400, "d"), (3_600, "h"), (60, "min"))
"""The units of ages and durations, in seconds."""
WIDE: Final = frozenset({"W", "F"})


def cells(text: str) -> int:
    """Count the cells of a terminal that a text takes: some characters take two, accents none."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def _cells(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in WIDE else int(not unicodedata.combining(character))


def middle_cut(text: str, width: int) -> str:
    """Cut a text to a width by leaving out its middle."""
    if cells(text) <= width:
        return text
    head, tail = width // 2, (width - 1) // 2
    return f"{_begin(text, head)}{ELLIPSIS}{_begin(text[::-1], tail)[::-1]}"


def _begin(text: str, width: int) -> str:
    taken = 0
    for at, character in enumerate(text):
        taken += _cells(character)
        if taken > width:
            return text[:at]
    return text


def padded(text: str, width: int, right: bool) -> str:  # noqa: FBT001 - it goes with the other two
    """Fill a text up to a width."""
    blank = " " * (width - cells(text))
    return blank + text if right else text + blank


def duration_text(seconds: float) -> str:
    """Write how long something took."""
    for unit, name in UNITS:
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {name}"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.0f} s"  # noqa: PLR2004 - two digits are enough from there on


def age_text(then: float) -> str:
    """Write how long ago something was, in whole units."""
    seconds = max(0.0, time.time() - then)
    for unit, name in UNITS:
        if seconds >= unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.0f} s"


def dollars(cost: float | None) -> str:
    """Write a price; nothing where nobody knows one."""
    return "" if cost is None else money(cost)


def tokens_text(into: int, out: int) -> str:
    """Write tokens that went in and came out; nothing where none were counted."""
    return f"{into:,} in, {out:,} out" if into or out else ""


def moment(when: float) -> str:
    """Write a time for a program: ISO 8601, UTC."""
    return datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds")


def local_time(when: float, *, seconds: bool = False) -> str:
    """Write a time for a person, in their own zone: to the minute, or to the second."""
    return datetime.fromtimestamp(when, UTC).astimezone().strftime(f"%Y-%m-%d %H:%M{':%S' if seconds else ''}")
