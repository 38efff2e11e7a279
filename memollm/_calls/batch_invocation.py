"""Calls of batch functions: each item of the list is a call of its own, and one call serves those that are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from memollm._calls.blocks import blocks, look_around
from memollm._calls.invocation import Invocation
from memollm._draws.engine import NOTHING
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._calls.batch_items import Arguments, Batching
    from memollm._drive.calls import Called
    from memollm._keys.keyer import Keyer
    from memollm._types.calls import Call, Want


class BatchInvocation(Invocation):
    """A call of a batch function: one want for each item."""

    __slots__ = ("_items",)

    def recalled(self) -> Any:
        """Return what this process has read already, if it is all."""
        if self._here is None and blocks:
            look_around()
        self._items = self._listed()
        if self.plan.bare:
            return NOTHING if self._items else []
        self._calls = self._keyed_by(self.plan.keyer)
        if not self._items:
            return []
        if not self.plan.remembers or self._n is not None:
            return NOTHING
        return self._remembered(self._calls)

    def _keyed_by(self, keyer: Keyer) -> Sequence[Call]:
        call, replaced = keyer.call, self._batching.replaced
        instance, args, kwargs = self._instance, self._args, self._kwargs
        return [call(instance, *replaced(instance, args, kwargs, item)) for item in self._items]

    def _remembered(self, calls: Sequence[Call]) -> Any:
        plan = self.plan
        newer_than, epoch, codec = plan.newer_than(), plan.engine.store.epoch(), plan.engine.codec
        found = [plan.engine.shelf.get(call, newer_than, epoch) for call in calls]
        known = [each for each in found if each is not None]
        if len(known) < len(found):
            return NOTHING
        values = [each.value_by(codec) for each in known]
        given = [each.given for each in known]
        self.plan.books.note(given)
        self.plan.tell(given, self._here)
        return self.value(values)

    def _listed(self) -> list[Any]:
        return self._batching.items(self._batching.given(self._instance, self._args, self._kwargs))

    def _with(self, value: Any) -> Arguments:
        return self._batching.replaced(self._instance, self._args, self._kwargs, value)

    @property
    def _batching(self) -> Batching:
        return cast("Batching", self._function.batching)

    def _bare_wants(self) -> list[Want]:
        return [*super()._bare_wants()] * len(self._items)

    def function(self) -> Called:
        """Return what calls the function for some of the items."""
        items = self._items
        return lambda wanted: self._serve([items[index] for index in wanted])

    def _serve(self, items: list[Any]) -> Any:
        self._begins()
        args, kwargs = self._with(items)
        return self._wrapped(*args, **kwargs)

    def value(self, drawn: list[Any]) -> Any:
        """Return one result for each item, or a list of n."""
        n = self._n or self._function.options.n
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
        """Return the result of the item."""
        return super().value(drawn)[0]

    def function(self) -> Called:
        """Return what calls the function for the item, together with those of other tasks where it can."""
        gatherer, items = self._function.gatherer, self._items
        if gatherer is None:
            return super().function()
        server = self._server(self._serve, aligned=True)

        def gathered(wanted: Sequence[int]) -> Any:
            return gatherer.results(self._like(self._batching.name), server, items * len(wanted))

        return gathered
