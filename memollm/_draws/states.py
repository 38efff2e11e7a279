"""What a draw knows of its slots beside what the store says, and what a function's options say about its draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from memollm._types.samples import Sample, State
from memollm.errors import WrongNumber

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._spending.accounts import Costs


class Rules(NamedTuple):
    """What a function's options say about its draws."""

    together: bool = False
    """One call makes all the missing samples."""
    aligned: bool = False
    """The results of one call belong to different items, each by its place."""
    accept: Callable[[Any], bool] | None = None
    redraws_stale: bool = False
    """A stored sample whose class has changed is made anew."""


class Fleeting(NamedTuple):
    """A result that is returned and never stored, because more than the call's arguments made it what it is."""

    value: Any


class Unstored(NamedTuple):
    """The state of a slot whose answer is returned and not kept."""

    value: Any
    costs: Costs
    released: bool = False


class Made(NamedTuple):
    """The state of a slot that this draw has filled."""

    value: Any
    sample: Sample


class Recalled(NamedTuple):
    """The state of a slot that this process has read already."""

    value: Any
    costs: Costs


States = dict[int, State | Made | Unstored | Recalled]


def require_aligned(function: str, items: int, results: int) -> None:
    """Refuse results of which it cannot be told which item each belongs to."""
    if items != results:
        raise WrongNumber(
            f"{function} was called with {items} items and returned {results} results. Which belongs to which cannot "
            "be told, so nothing of it is stored; make it return exactly one for each, in order."
        )
