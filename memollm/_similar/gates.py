"""Gates: what two texts must agree in, however close their vectors are.

An embedding tells what a text is about. "Convert 5 km" and "convert 50 km" are about the same, and so are a question
and its negation. Each gate here reads one kind of such things out of both texts and lets them pass if they are equal.
Where it cannot tell, it does not let pass: the price of that is a call.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import partial
from inspect import iscoroutinefunction
from operator import eq
from typing import Any, Final, NamedTuple, cast

from memollm._similar.amounts import dates, numbers, units
from memollm._similar.sequence import agree_in_order, agree_in_swaps, in_order, swappable
from memollm._similar.verbatim import code, quotations
from memollm._similar.wording import (
    agree_in_comparatives,
    agree_in_names,
    agree_in_negations,
    compared,
    denied,
    named,
)
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

Gate = Callable[[str, str], Any]
"""A user's: a function of the two texts."""


class NamedGate(NamedTuple):
    """One of ours: what is read of a text, and when two of that agree."""

    read: Callable[[str], Hashable]
    agree: Callable[[Any, Any], bool] = eq

    @property
    def wants_equal(self) -> bool:
        """Whether two agree exactly if they are equal."""
        return self.agree is eq


GATES: Final = {
    "numbers": NamedGate(numbers),
    "dates": NamedGate(dates),
    "units": NamedGate(units),
    "negations": NamedGate(denied, agree_in_negations),
    "comparatives": NamedGate(compared, agree_in_comparatives),
    "quotations": NamedGate(quotations),
    "code": NamedGate(code),
    "names": NamedGate(named, agree_in_names),
    "order": NamedGate(in_order, agree_in_order),
    "swaps": NamedGate(swappable, agree_in_swaps),
}
"""All of them, by their names."""


class ReadText:
    """A text as gates read it: each part once, however many texts it is compared with."""

    __slots__ = ("_parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._parts: dict[str, Hashable] = {}

    def part(self, gate: str) -> Hashable:
        """Return what a gate reads of it."""
        if gate not in self._parts:
            self._parts[gate] = GATES[gate].read(self.text)
        return self._parts[gate]


def is_open(gate: str | Gate, asked: ReadText, stored: ReadText) -> bool:
    """Tell whether a gate lets two texts pass."""
    if isinstance(gate, str):
        return GATES[gate].agree(asked.part(gate), stored.part(gate))
    return bool(gate(asked.text, stored.text))


def passed(gates: Iterable[str | Gate], asked: str | ReadText, stored: str | ReadText) -> tuple[str, ...] | None:
    """Return the names of the gates that two texts have passed; None if one of them is closed."""
    gates = tuple(gates)
    return tuple(map(name_of, gates)) if closed(gates, asked, stored) is None else None


def closed(gates: Iterable[str | Gate], asked: str | ReadText, stored: str | ReadText) -> str | None:
    """Return the name of the first gate that is closed."""
    one, other = (text if isinstance(text, ReadText) else ReadText(text) for text in (asked, stored))
    return next((name_of(gate) for gate in gates if not is_open(gate, one, other)), None)


def require_gates(gates: Any = None) -> tuple[str | Gate, ...]:
    """Return the gates that a user means, all named ones where nothing is said; refuse what is none."""
    if gates is None:
        return tuple(GATES)
    if isinstance(gates, str) or not hasattr(gates, "__iter__"):
        raise OptionError(f"gates={gates!r}: it must be a list of names and functions, as {[*GATES][:2]}.")
    given: tuple[Any, ...] = tuple(gates)
    for gate in given:
        if isinstance(gate, str) and gate not in GATES:
            raise OptionError(f"gates: there is none of the name {gate!r}{did_you_mean(gate, GATES)}")
        if not isinstance(gate, str) and not callable(gate):
            raise OptionError(f"gates: {gate!r} is neither a name nor a function of two texts.")
        if is_async(gate):
            raise OptionError(f"gates: {gate!r} is a coroutine function; what has to be awaited goes to verify=.")
    return given


def is_async(function: object) -> bool:
    """Tell whether what a function returns is to be awaited; one that is an object's call as well."""
    while isinstance(function, partial):
        function = cast("object", function.func)
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004 - not whether it can be called


def name_of(gate: str | Gate) -> str:
    """Name a gate: one of a user's by its function's name."""
    return gate if isinstance(gate, str) else getattr(gate, "__name__", type(gate).__name__)
