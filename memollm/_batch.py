"""Calls of batch functions: each item of the list is a call of its own, and one call serves those that are missing."""

from __future__ import annotations

import marshal
from collections.abc import Hashable, Iterable, Mapping, Set as AbstractSet
from typing import TYPE_CHECKING, Any, cast

from memollm._engine import NOTHING
from memollm._flow import Draw
from memollm._gather import Gather, Gatherer
from memollm._keys import MARSHAL_FORMAT, is_plain
from memollm._kind import Kind
from memollm._model import EVER, Want
from memollm._recipe import Invocation
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._effects import Batch
    from memollm._recipe import Recipe

Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Batching:
    """What the calls of one batch function have in common."""

    def __init__(self, recipe: Recipe) -> None:
        self.name = recipe.options.batch or ""
        self._keyer = recipe.keyer
        parameters = recipe.keyer.signature.parameters
        parameter = parameters.get(self.name)
        if parameter is not None and parameter.kind in {parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD}:
            raise OptionError(
                f"batch={self.name!r}: {recipe.name} takes its items as {parameter}; make it one parameter that holds "
                "a list."
            )
        self._index = (
            list(parameters).index(self.name) if parameter and parameter.kind < parameter.VAR_POSITIONAL else None
        )
        if recipe.options.gather is not None and recipe.kind is not Kind.COROUTINE:
            raise OptionError(
                f"gather={recipe.options.gather}: only coroutine functions gather; make {recipe.name} one."
            )
        self.gatherer = Gatherer(recipe.options.gather or Gather())
        self.one: type[Invocation] = OneInvocation

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

    def like(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        """Return what is equal for calls that differ in the parameter alone."""
        bound = self._keyer.bind(args if instance is None else (instance, *args), kwargs)
        bound.apply_defaults()
        return tuple((name, _likeness(value)) for name, value in bound.arguments.items() if name != self.name)

    def _place(self, instance: object) -> int | None:
        return self._index if self._index is None or instance is None else self._index - 1

    def items(self, given: Any) -> list[Any]:
        """Return the items of a list."""
        if isinstance(given, str | bytes | Mapping | AbstractSet) or not isinstance(given, Iterable):
            raise OptionError(f"{self.name}={given!r}: batch={self.name!r} says that it holds a list of items.")
        return list(given)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]


def _likeness(value: Any) -> Hashable:
    try:
        text = marshal.dumps(value, MARSHAL_FORMAT)
    except ValueError:
        return id(value)
    return text if is_plain(value) else id(value)


class BatchInvocation(Invocation):
    """A call of a batch function: one want for each item."""

    __slots__ = ("_each", "_items")

    def recalled(self) -> Any:
        """See `Request.recalled`."""
        self._items = self._listed()
        call, replaced = self._plan.keyer.call, self._batching.replaced
        instance, args, kwargs = self._instance, self._args, self._kwargs
        self._each = [call(instance, *replaced(instance, args, kwargs, item)) for item in self._items]
        if not self._items:
            return []
        if not self._plan.remembers or self._n is not None:
            return NOTHING
        known = [self._plan.engine.recall(call, EVER) for call in self._each]
        return NOTHING if any(value is NOTHING for value in known) else self.value(known)

    def _listed(self) -> list[Any]:
        return self._batching.items(self._batching.given(self._instance, self._args, self._kwargs))

    def _with(self, value: Any) -> Arguments:
        return self._batching.replaced(self._instance, self._args, self._kwargs, value)

    @property
    def _batching(self) -> Batching:
        return cast("Batching", self._recipe.batching)

    def begin(self) -> Draw:
        """See `Request.begin`."""
        plan, recipe, n = self._plan, self._recipe, self._number()
        wants = [Want(call, plan.reader, n, recipe.options.pool) for call in self._each]
        return Draw(plan.engine, wants, EVER, recipe.rules)

    def _caller(self) -> Callable[[Batch], Any]:
        return lambda batch: self._function([self._items[gap.want] for gap in batch])

    def _function(self, items: list[Any]) -> Any:
        args, kwargs = self._with(items)
        return self._wrapped(*args, **kwargs)

    def value(self, drawn: list[Any]) -> Any:
        """See `Request.value`: one result for each item, or a list of n."""
        n = self._n or self._recipe.options.n
        return drawn if n is None else [drawn[start : start + n] for start in range(0, len(drawn), n)]

    def _one(self) -> Arguments:
        items = self._listed()
        if len(items) != 1:
            raise OptionError(f"This is about one call, and {len(items)} items were given. Give a list of one item.")
        return self._with(items[0])


class OneInvocation(BatchInvocation):
    """A call for a single item, which is in the place of the list; what is missing may be gathered."""

    __slots__ = ()

    def _listed(self) -> list[Any]:
        return [self._batching.given(self._instance, self._args, self._kwargs)]

    def value(self, drawn: list[Any]) -> Any:
        """See `Request.value`."""
        return super().value(drawn)[0]

    def _caller(self) -> Callable[[Batch], Any]:
        if self._recipe.kind is not Kind.COROUTINE:
            return super()._caller()
        like = self._batching.like(self._instance, self._args, self._kwargs)
        gatherer, function, name, items = self._batching.gatherer, self._function, self._recipe.name, self._items
        return lambda batch: gatherer.results(like, function, name, items * len(batch))
