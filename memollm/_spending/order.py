"""The order in which samples were asked for, as the notes of many books tell it together."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memollm._types.counting import DrawnStretch

TICK: Final = 1e-6
"""Seconds between two stretches at least, so that a time tells their order."""


def in_order(drawn: Iterable[DrawnStretch]) -> list[DrawnStretch]:
    """Put samples into the order of asking, and into one stretch what follows one another."""
    ordered: list[DrawnStretch] = []
    for each in sorted(drawn, key=attrgetter("at")):
        last = ordered[-1] if ordered else None
        if last is not None and each.first == last.last + 1 and each[:4] == last[:4]:
            ordered[-1] = last._replace(last=each.last)
        else:
            at = each.at if last is None else max(each.at, last.at + TICK)
            ordered.append(each if at == each.at else each._replace(at=at))
    return ordered
