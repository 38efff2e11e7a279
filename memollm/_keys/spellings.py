"""Arguments that are spelt differently and mean the same: whole floats, and marks of what was not given."""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Union

from memollm._keys.canonical import canonical
from memollm.errors import UnkeyableArgument

EXACT_FLOATS: Final = 1 << 53
"""Up to here every whole number is a float."""
_OF_FLOATS: Final = frozenset({"float", "None", "NoneType", "Optional", "Union", "typing.Optional", "Omit", "NotGiven"})


def is_float(annotation: object) -> bool:
    """Tell whether an annotation says that a parameter is a float, or nothing."""
    if annotation is float:
        return True
    if not isinstance(annotation, str):
        annotation = " ".join(_names_of(annotation))
    names = set(re.findall(r"[\w.]+", annotation))
    return "float" in names and names <= _OF_FLOATS


def _names_of(annotation: object) -> list[str]:
    parts = getattr(annotation, "__args__", None)
    if parts is None or getattr(annotation, "__origin__", Union) is not Union:
        return [str(getattr(annotation, "__name__", "?"))]
    return [str(getattr(part, "__name__", "?")) for part in parts]


def means_nothing(default: object) -> bool:
    """Tell whether a default is a mark that has no content, as `openai.omit` is."""
    kind = type(default)
    if kind.__module__ == "builtins" and kind is not object:
        return False
    held = [name for name in getattr(default, "__dict__", ()) if not name.startswith("__")]
    if held or isinstance(default, type | Enum) or callable(default):
        return False
    try:
        canonical(default, "")
    except UnkeyableArgument:
        return not any(hasattr(default, slot) for base in kind.__mro__ for slot in vars(base).get("__slots__", ()))
    return False


def is_like(value: object, nothing: object) -> bool:
    """Tell whether a value is a mark of the same kind; each `object()` is one of its own."""
    return type(value) is not object and type(value) is type(nothing)
