"""Calls of batch functions: each item of the list is a call of its own, and one call serves those that are missing."""

from __future__ import annotations

import marshal
from collections.abc import Hashable, Iterable, Mapping, Set as AbstractSet
from typing import TYPE_CHECKING, Any, cast

from memollm._calls.invocation import Invocation
from memollm._calls.kind import Kind
from memollm._draws.engine import NOTHING
from memollm._drive.gather import Gather, Gatherer, Task
from memollm._keys.keyer import MARSHAL_FORMAT, is_plain
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._calls.recipe import Recipe
    from memollm._draws.effects import Batch
    from memollm._types.calls import Want

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
        if self._plan.bare:
            return NOTHING if self._items else []
        call, replaced = self._plan.keyer.call, self._batching.replaced
        instance, args, kwargs = self._instance, self._args, self._kwargs
        self._each = [call(instance, *replaced(instance, args, kwargs, item)) for item in self._items]
        if not self._items:
            return []
        if not self._plan.remembers or self._n is not None:
            return self._replay() if self._here is not None and self._replays(self._here) else NOTHING
        engine = self._plan.engine
        newer_than = self._plan.terms.newer_than(engine.clock)
        found = [engine.recall(call, newer_than) for call in self._each]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return NOTHING
        values = [engine.value_of(each, call) for each, call in zip(known, self._each, strict=True)]
        self._terms().give([each.given for each in known])
        return self._shaped(values)

    def _listed(self) -> list[Any]:
        return self._batching.items(self._batching.given(self._instance, self._args, self._kwargs))

    def _with(self, value: Any) -> Arguments:
        return self._batching.replaced(self._instance, self._args, self._kwargs, value)

    @property
    def _batching(self) -> Batching:
        return cast("Batching", self._recipe.batching)

    def _wants(self) -> list[Want]:
        return [self._want(call) for call in self._each]

    def _bare_wants(self) -> list[Want]:
        return super()._bare_wants() * len(self._items)

    def _caller(self) -> Callable[[Batch], Any]:
        replayed = self._replayed
        items = self._items if replayed is None else [self._items[index] for index in replayed.short]
        return lambda batch: self._function([items[gap.want] for gap in batch])

    def _function(self, items: list[Any]) -> Any:
        args, kwargs = self._with(items)
        return self._wrapped(*args, **kwargs)

    def _shaped(self, drawn: list[Any]) -> Any:
        """Return one result for each item, or a list of n."""
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

    def _shaped(self, drawn: list[Any]) -> Any:
        return super()._shaped(drawn)[0]

    def _caller(self) -> Callable[[Batch], Any]:
        if self._recipe.kind is not Kind.COROUTINE:
            return super()._caller()
        like = self._batching.like(self._instance, self._args, self._kwargs)
        gatherer, name, items, terms = self._batching.gatherer, self._recipe.name, self._items, self._plan.terms
        task = Task(self._function, name, terms.toll)
        return lambda batch: gatherer.results(like, task, items * len(batch))
