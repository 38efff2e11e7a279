"""A draw through a door, as it was asked for: nothing is decorated, so whoever asks says what makes the samples."""

from __future__ import annotations

from dataclasses import replace
from inspect import isawaitable, iscoroutine
from time import perf_counter
from typing import TYPE_CHECKING, Any

from memollm._calls.function import Function
from memollm._calls.invocation import Invocation
from memollm._draws.effects import Paid
from memollm._draws.engine import NOTHING
from memollm._draws.placing import Placing
from memollm._drive.holding import caller_in
from memollm._spending.meter import Meter
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from memollm._calls.options import Options
    from memollm._draws.lookups import Caller, Missed
    from memollm._drive.calls import Called
    from memollm._types.calls import Call


def _door(material: Any) -> Any:
    """Stand for what is not known: the function behind a door."""


async def _async_door(material: Any) -> Any:
    """Stand for it where it is a coroutine function."""


class DoorFunction(Function):
    """What all draws through a door have in common."""

    @property
    def name(self) -> str:
        """The door's name, for messages."""
        return str(self.options.name)


def functions_of(options: Options) -> tuple[DoorFunction, DoorFunction]:
    """Return what stands for the function in threads, and in tasks; their keys are the same."""
    return DoorFunction(_door, replace(options, on_cancel=None, grace=None)), DoorFunction(_async_door, options)


class DoorCall(Invocation):
    """A draw whose samples are made by what came along with it."""

    __slots__ = ()

    def function(self) -> Called:
        """Return what makes one sample."""
        produce, of_tasks = self._wrapped, self._function.function is _async_door

        def make(_: Sequence[int]) -> Any:
            self._begins()
            made = produce()
            if isawaitable(made) is not of_tasks:
                if iscoroutine(made):
                    made.close()
                raise OptionError(_wrong_colour(self._function.name, of_tasks=of_tasks))
            return made

        return make

    def call(self) -> Call:
        """Return the call, with its key."""
        self._calls = (call,) = self._keyed_by(self.plan.keyer)
        return call

    def placing(self, answer: Any, missed: Missed | None = None, *, brought: bool = False) -> Placing:
        """Return the draw of an answer that is there: of a lookup, or of none, and then it moves no cursor."""
        (want,) = self._bare_wants() if self.plan.bare else self._wants()
        engine = self.plan.engine
        meter = Meter()
        # No slot was held for it, so it was not in flight: what is known is how long it took.
        meter.latency = 0.0 if missed is None else perf_counter() - missed.since
        paid = Paid(engine.clock() - meter.latency, meter, answer)
        if missed is None:
            want = want._replace(reader=None, lane=None)
        return Placing(self.plan, want._replace(n=1), self._here, answer, paid, brought=brought)


class Holding(DoorCall):
    """A draw that is parked where the function would run."""

    __slots__ = ()

    waits: bool = True
    is_lookup: bool = False
    of_thread: bool = False

    def recalled(self) -> Any:
        """Return what this process has read already, as a list, or `NOTHING`."""
        found = DoorCall.recalled(self)
        return found if found is NOTHING else [found]

    def value(self, drawn: Any) -> Any:
        """Return the samples, or the draw where it is parked."""
        return drawn


class Lookup(Holding):
    """A draw that is parked until an update comes, or does not come."""

    __slots__ = ("caller", "of_thread", "waits")

    is_lookup: bool = True

    def __init__(self, function: Function, material: Any, name: Hashable, waits: bool) -> None:  # noqa: FBT001 - the caller's word
        super().__init__(function, nothing, None, (material,), {})
        caller = caller_in(self.plan.engine.lookups, name)
        self.caller: Caller | None = caller
        self.of_thread = name is None
        # Also where it is not to wait: a lookup after an update begins a new round.
        self.waits = caller.looks_up() and waits


def nothing() -> None:
    """Stand for what makes samples where nobody is to call it."""


def _wrong_colour(name: str, *, of_tasks: bool) -> str:
    if of_tasks:
        return f"adraw of {name!r}: what makes the samples returned nothing that can be awaited. Use draw(...)."
    return f"draw of {name!r}: what makes the samples returned something to be awaited. Use await adraw(...)."
