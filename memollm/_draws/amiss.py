"""What is said of a function that makes another number of results than it was to make."""

from __future__ import annotations


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
