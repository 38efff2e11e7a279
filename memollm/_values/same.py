"""Sameness: equal, and of the same types at every level, whatever a class's `__eq__` says.

Two objects without a rule of their own are the same when what `pickle` would take them apart into is the same.
"""

from __future__ import annotations

import math
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Rule = Callable[["Sameness", Any, Any], bool]

# The exact class of a value of any type.
kind_of: Callable[[object], type[Any]] = type

_PICKLE_PROTOCOL = 4
_REDUCED_PARTS = 6


class Sameness:
    """Compare; `views` say for a registered type by which of its parts two of its objects are told apart."""

    def __init__(self, views: Mapping[type, Callable[[Any], object]]) -> None:
        self._views = views

    def __call__(self, one: Any, other: Any) -> bool:
        """Tell whether one could stand for the other. Endless nesting ends in `RecursionError`."""
        kind = kind_of(one)
        if kind is not kind_of(other):
            return False
        if one is other:
            return True
        if view := self._views.get(kind):
            return self(view(one), view(other))
        return (_RULES.get(kind) or _rule_by_family(kind))(self, one, other)


def _equal(_same: Sameness, one: Any, other: Any) -> bool:
    return bool(one == other)


def _floats(_same: Sameness, one: float, other: float) -> bool:
    if one != one:  # noqa: PLR0124 (NaN is the one number that differs from itself)
        return other != other  # noqa: PLR0124
    return one == other and math.copysign(1, one) == math.copysign(1, other)


def _sequences(same: Sameness, one: Any, other: Any) -> bool:
    return len(one) == len(other) and all(map(same, one, other))


def _dicts(same: Sameness, one: Any, other: Any) -> bool:
    return _sequences(same, tuple(one), tuple(other)) and _sequences(same, tuple(one.values()), tuple(other.values()))


def _sets(same: Sameness, one: Any, other: Any) -> bool:
    partners = {item: item for item in other}
    rest: list[Any] = []
    for item in one:
        if item not in partners:
            rest.append(item)
        elif not same(item, partners.pop(item)):
            return False
    return len(rest) == len(partners) and _paired(same, rest, list(partners))


def _paired(same: Sameness, ones: list[Any], others: list[Any]) -> bool:
    """Find for each of the few members that only structure tells apart (NaN, objects) one that is the same."""
    for one in ones:
        partner = next((index for index, other in enumerate(others) if same(one, other)), None)
        if partner is None:
            return False
        del others[partner]
    return True


def _functions(same: Sameness, one: types.FunctionType, other: types.FunctionType) -> bool:
    return same(_function_parts(one), _function_parts(other))


def _function_parts(function: types.FunctionType) -> tuple[object, ...]:
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    return (function.__code__, function.__defaults__, function.__kwdefaults__, function.__dict__, cells)


def _arrays(same: Sameness, one: Any, other: Any) -> bool:
    if one.dtype.hasobject:
        return _reduced(same, one, other)
    return bool(one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes())


def _set_objects(same: Sameness, one: Any, other: Any) -> bool:
    return _sets(same, one, other) and same(getattr(one, "__dict__", None), getattr(other, "__dict__", None))


def _reduced(same: Sameness, one: Any, other: Any) -> bool:
    try:
        return same(_parts(one), _parts(other)) and not _forgets(one, other)
    except (TypeError, AttributeError, ValueError):  # What cannot be taken apart cannot be shown to be the same.
        return False


def _forgets(one: Any, other: Any) -> bool:
    """Where a class says itself what pickle takes it apart into, its own `__eq__` may know of more."""
    kind = kind_of(one)
    own = isinstance(kind.__reduce__, types.FunctionType) or isinstance(kind.__reduce_ex__, types.FunctionType)
    return own and (one == other) is False


def _parts(value: Any) -> list[object]:
    reduced: Any = value.__reduce_ex__(_PICKLE_PROTOCOL)
    if kind_of(reduced) is str:
        raise TypeError("stands for itself only")
    parts: list[Any] = [*reduced, *[None] * (_REDUCED_PARTS - len(reduced))]
    call, arguments, state, items, pairs, setter = parts
    return [call, arguments, _sorted(state), list(items or ()), list(pairs or ()), setter]


def _sorted(state: Any) -> Any:
    """Attributes have no order, unlike the items of a dict."""
    kind = kind_of(state)
    if kind is tuple:
        return tuple(map(_sorted, state))
    if kind is not dict or any(type(key) is not str for key in state):
        return state
    return {key: _sorted(state[key]) if key == "__dict__" else state[key] for key in sorted(state)}


def _rule_by_family(kind: type) -> Rule:
    if kind.__module__ == "numpy" and kind.__name__ == "ndarray":
        return _arrays
    if issubclass(kind, (set, frozenset)):
        return _set_objects
    return _reduced


_RULES: dict[type, Rule] = {
    **dict.fromkeys((str, int, bool, bytes, bytearray, types.CodeType), _equal),
    **dict.fromkeys((list, tuple), _sequences),
    **dict.fromkeys((set, frozenset), _sets),
    float: _floats,
    dict: _dicts,
    types.FunctionType: _functions,
}
