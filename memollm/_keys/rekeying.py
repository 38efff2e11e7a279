"""A call as another version or name of its function makes it: the same arguments, in their canonical form."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from memollm._keys.canonical import canonical_call
from memollm._keys.keyer import hash_of
from memollm._types.calls import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

NO_ARGUMENTS: Final = ',"arguments":{}}'


def function_in(form: str) -> tuple[dict[str, Any], int] | None:
    """Read the function out of a canonical form, and where in the text it ends; None where the form is none."""
    try:
        start = form.index('"function":') + len('"function":')
        read: tuple[Any, int] = json.JSONDecoder().raw_decode(form, start)
        return read if isinstance(read[0]["version"], str) else None
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def as_function(form: str, end: int, function: Mapping[str, str]) -> Call:
    """Return the call of another function with the arguments of a form, whose own function ends at `end`."""
    whole = canonical_call(function, {}).removesuffix(NO_ARGUMENTS) + form[end:]
    return Call(hash_of(whole), whole, function["name"])


def as_version(call: Call, version: str) -> Call | None:
    """Return the same call of another version of its function; None where the form is none."""
    found = function_in(call.form)
    if found is None:
        return None
    function, end = found
    return as_function(call.form, end, {**function, "version": version})
