"""What the calls of one batch function have in common: where its items stand, and how they are put together."""

from __future__ import annotations

import marshal
from collections.abc import Hashable, Iterable, Mapping, Set as AbstractSet
from typing import TYPE_CHECKING, Any

from memollm._keys.keyer import MARSHAL_FORMAT, is_plain
from memollm._types.secret import veiled
from memollm.errors import OptionError

if TYPE_CHECKING:
    from memollm._calls.options import Options
    from memollm._keys.keyer import Keyer

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Batching:
    """What the calls of one batch function have in common."""

    def __init__(self, function: str, options: Options, keyer: Keyer) -> None:
        self.name = options.batch or ""
        self._keyer = keyer
        parameters = keyer.signature.parameters
        parameter = parameters.get(self.name)
        if parameter is not None and parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise OptionError(
                f"batch={self.name!r}: {function} takes its items as {parameter}; make it one parameter that holds "
                "a list."
            )
        self._index = (
            list(parameters).index(self.name) if parameter and parameter.kind < parameter.VAR_POSITIONAL else None
        )

    def given(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a call gives for the parameter."""
        index = self._place(instance)
        if index is not None and index < len(args):
            return args[index]
        if self.name in kwargs:
            return kwargs[self.name]
        bound = self._keyer.bind(args if instance is None else (instance, *args), kwargs)
        bound.apply_defaults()
        return bound.arguments.get(self.name, ())

    def replaced(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> Arguments:
        """Return the arguments of a call with another value for the parameter."""
        index = self._place(instance)
        if index is not None and index < len(args):
            return (*args[:index], value, *args[index + 1 :]), kwargs
        return args, {**kwargs, self.name: value}

    def _place(self, instance: object) -> int | None:
        return self._index if self._index is None or instance is None else self._index - 1

    def items(self, given: Any) -> list[Any]:
        """Return the items of a list."""
        if isinstance(given, str | bytes | Mapping | AbstractSet) or not isinstance(given, Iterable):
            raise OptionError(
                f"{veiled(f'{self.name}={given!r}')}: batch={self.name!r} says that it holds a list of items."
            )
        return list(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def like(keyer: Keyer, without: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
    """Return what is equal for calls that differ in one parameter alone; those of a method begin with its object."""
    bound = keyer.bind(args, kwargs)
    bound.apply_defaults()
    return tuple((name, _likeness(value)) for name, value in bound.arguments.items() if name != without)


def _likeness(value: Any) -> Hashable:
    try:
        text = marshal.dumps(value, MARSHAL_FORMAT)
    except ValueError:
        return id(value)
    return text if is_plain(value) else id(value)
