"""Whether a value is so much that writing it would hold an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memollm._values.frame import LARGE

if TYPE_CHECKING:
    from collections.abc import Callable

# The exact class of a value of any type.
kind_of: Callable[[object], type[Any]] = type

ITEM: Final = 16
"""Bytes that anything counts as, however small it is."""
TEXTS: Final = (str, bytes, bytearray)
COLLECTIONS: Final = (list, tuple, set, frozenset)


def is_large(value: object) -> bool:
    """Tell whether writing a value may take milliseconds; only as much of it is looked at as that takes."""
    try:
        return _exceeds(value, LARGE)
    except Exception:  # noqa: BLE001 - a user's class may raise anything; what becomes of it the codec tells
        return False


def _exceeds(value: Any, room: int) -> bool:
    waiting = [value]
    while waiting:
        each = waiting.pop()
        kind = kind_of(each)
        if issubclass(kind, TEXTS):
            room -= len(each)
        elif issubclass(kind, dict):
            room -= ITEM * len(each)
            waiting += [*each, *each.values()] if room > 0 else ()
        elif issubclass(kind, COLLECTIONS):
            room -= ITEM * len(each)
            waiting += each if room > 0 else ()
        elif not issubclass(kind, type):
            # An array says how long it is; an object without a dict of its own is taken for a small one.
            room -= each.nbytes if hasattr(kind, "nbytes") else 0
            waiting += [each.__dict__] if hasattr(each, "__dict__") else ()
        if room <= 0:
            return True
    return False
