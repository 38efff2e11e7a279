"""Errors and warnings about the user's own functions: one made too few or too many results, or could not judge one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._types.warn import warn
from memollm.errors import MemollmWarning

if TYPE_CHECKING:
    from collections.abc import Callable


def judged(function: str, accept: Callable[[Any], bool], result: Any) -> tuple[bool, MemollmWarning | None]:
    """Tell whether a result is to be kept: unless it is refused, for it was paid for (P7).

    Where `accept` raises, a warning says so; it comes back where warnings are errors.
    """
    try:
        return bool(accept(result)), None
    except Exception as error:  # noqa: BLE001 - it is the user's
        raised = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    try:
        warn(f"accept= of {function} raised {raised}. The answer is kept, as nothing refused it.", MemollmWarning)
    except MemollmWarning as warning:
        return True, warning
    return True, None


def wrong_number(function: str, asked: int, returned: int, *, aligned: bool) -> str:
    """Say that a function made another number of results than it was to make."""
    if aligned:
        return not_aligned(function, asked, returned)
    return (
        f"{function} was asked for {asked} samples and returned {returned}. "
        "What it returned is kept as far as it was asked for; make it return exactly as many."
    )


def not_aligned(function: str, items: int, results: int) -> str:
    """Say of results that it cannot be told which item each belongs to."""
    return (
        f"{function} was called with {items} items and returned {results} results. Which belongs to which cannot "
        "be told, so nothing of it is stored; make it return exactly one for each, in order."
    )
