"""One call of a decorated function, as it was made: what it asks of the drivers."""

from __future__ import annotations

import functools
import time
from logging import DEBUG
from typing import TYPE_CHECKING, Any, Final

from memollm._calls.batch_items import like
from memollm._calls.blocks import blocks, look_around
from memollm._calls.configuration import configuration
from memollm._draws.effects import Outdated
from memollm._draws.engine import NOTHING
from memollm._draws.flow import Draw
from memollm._draws.rereading import Rereading
from memollm._draws.resuming import Resuming
from memollm._draws.scope import scope
from memollm._draws.succession import Succession
from memollm._drive.calls import get_ready
from memollm._drive.gather import Server
from memollm._drive.introduction import Introduction, introduce
from memollm._keys.keyer import owner_of
from memollm._spending.bill import told_of
from memollm._spending.track import is_logged
from memollm._types.calls import NAMESPACES, Call, Want, new_tuple
from memollm._types.hiding import hides
from memollm._types.warn import CodeLine, done_for, user_line
from memollm.errors import OptionError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable, Hashable, Sequence

    from memollm._calls.function import Function
    from memollm._draws.engine import Engine
    from memollm._draws.every import AnyDraw
    from memollm._draws.plan import Plan
    from memollm._drive.calls import Called
    from memollm._keys.keyer import Keyer
    from memollm.stores.drawing import Drawing

__tracebackhide__ = hides

PATIENCE: Final = 100
"""How often a draw is keyed anew because what its function reads has changed, before it goes on all the same."""


class Invocation:
    """A call as it was made: `wrapped` is bound already if there is an instance."""

    __slots__ = (
        "_args",
        "_asked_at",
        "_calls",
        "_epoch",
        "_function",
        "_here",
        "_instance",
        "_kwargs",
        "_n",
        "_rekeyed",
        "_wrapped",
        "is_new",
        "plan",
    )

    _calls: Sequence[Call]

    def __init__(  # noqa: PLR0917 - as wrapt hands them over
        self,
        function: Function,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        n: int | None = None,
    ) -> None:
        self._function = function
        self._wrapped = wrapped
        self._instance = instance
        self._args = args
        self._kwargs = kwargs
        self._n = n
        self._epoch: int | None = None
        self._rekeyed = 0
        self._here = here = scope.get()
        plan = function.plans.get(None if here is None else here.role)
        if plan is None or plan.engine.closed or function.generation != configuration.generation:
            plan = function.plan(None if here is None else here.role)
        self.plan = plan
        self.is_new = is_new = (None if instance is None else owner_of(instance)) not in plan.introduced
        self._asked_at = user_line() if is_new and not plan.bare else None
        """Where a call may be the first one, of which there may be something to say."""

    def introduction(self) -> Introduction | None:
        """Return what must be done, and may block, before the first draw of a function; usually nothing."""
        plan, owner = self.plan, owner_of(self._instance)
        if owner in plan.introduced or plan.bare or (plan.retry and plan.retry > time.monotonic()):
            return None
        # Thousands of tasks may ask at once, in one pass of a loop.
        under_way: Introduction | None = plan.introductions.get(owner)
        if under_way is not None:
            return under_way

        def conclude(succeeded: bool) -> None:  # noqa: FBT001 - the shape of a callback
            if succeeded and not plan.retry:
                plan.introduced.add(owner)
            plan.introductions.pop(owner, None)

        introduce = functools.partial(self._introduce, self._asked_at or user_line())
        found: Introduction = plan.introductions.setdefault(owner, Introduction(introduce, conclude))
        return found

    def _introduce(self, asked_at: CodeLine) -> None:
        with done_for(asked_at):
            self._function.introduce(self.plan, self._instance)

    def recalled(self) -> Any:
        """Return what this process has read already, or `NOTHING`; so begins every draw."""
        if self._here is None and blocks:
            look_around()
        plan = self.plan
        if plan.bare:
            return NOTHING
        call = plan.keyer.call(self._instance, self._args, self._kwargs)
        self._calls = (call,)
        if not plan.remembers or self._n is not None:
            return NOTHING
        engine = plan.engine
        self._epoch = epoch = engine.store.epoch()
        # As `FirstSamples.get` does, without a call of its own.
        found = engine.shelf.of.get(call.form)
        if found is None or found.epoch != epoch or (plan.ages and found.stored <= plan.newer_than()):
            return NOTHING
        value = found.value_by(engine.codec) if found.is_record else found.value
        # As `Books.note` does, without a call of its own: nothing is asked for more often than this.
        books = plan.books
        books.given.append(found.given)
        if not books.is_open:
            books.open()
        if self._here is not None or plan.watchers or is_logged(DEBUG):
            plan.tell((found.given,), self._here)
        return value

    def begin(self) -> AnyDraw:
        """Begin a draw."""
        plan, here = self.plan, self._here
        if plan.bare:
            return Draw(plan, self._bare_wants(), here)
        # Whoever insists on another namespace draws as that one.
        if here is not None and here.replay is not None and plan.reader == NAMESPACES + here.replay.namespace:
            return Rereading(plan, self._wants(), here, here.replay, self._of_older(plan), rekey=self._wants_anew)
        if plan.resumes is not None:
            return Resuming(plan, self._wants(), here, self._of_older(plan), rekey=self._wants_anew)
        if plan.older and (older := self._of_older(plan)):
            return Succession(plan, self._wants(), here, older, rekey=self._wants_anew)
        return Draw(plan, self._wants(), here, epoch=self._epoch, rekey=self._wants_anew)

    def _wants_anew(self) -> Sequence[Want]:
        """Key the call again, of what the function reads now."""
        self._rekeyed += 1
        self._calls = self._keyed_by(self.plan.keyer)
        return self._wants()

    def _begins(self) -> None:
        """Look once more at what the function reads, just before it is called: a draw may have waited since."""
        plan = self.plan
        if plan.bare or self._rekeyed > PATIENCE:
            return
        still = plan.keyer.still_makes(self._instance, self._calls)
        if still is False or (still is None and self._keyed_by(plan.keyer) != self._calls):
            raise Outdated

    def _wants(self) -> Sequence[Want]:
        """Return what is to be drawn: of each call as many as are asked for."""
        plan, here, calls = self.plan, self._here, self._calls
        lane: str | None = None
        order: tuple[str, ...] = ()
        if plan.reader is not None and here is not None:
            lane, order = (here.lane, here.order) if plan.lane is None else plan.lanes(here)
        n = plan.number if self._n is None and plan.number else self._number()
        if len(calls) == 1:
            # As `Want(...)`, without a call of its own.
            return (new_tuple(Want, (calls[0], plan.reader, n, plan.pool, lane, order)),)
        return [Want(call, plan.reader, n, plan.pool, lane, order) for call in calls]

    def _of_older(self, plan: Plan) -> Sequence[Sequence[Call]]:
        """Return the same calls as older code made them, where its samples are read, too."""
        return [self._keyed_by(keyer) for keyer in self._older_keyers(plan)]

    def _older_keyers(self, plan: Plan) -> Sequence[Keyer]:
        version, keyers = plan.older.get(owner_of(self._instance), ("", ()))
        return keyers if keyers and plan.keyer.identity(self._instance).version == version else ()

    def _keyed_by(self, keyer: Keyer) -> Sequence[Call]:
        return (keyer.call(self._instance, self._args, self._kwargs),)

    def _bare_wants(self) -> Sequence[Want]:
        """Return what is to be drawn where nothing is looked up, so that no argument has to be a key."""
        name = self.plan.keyer.name(self._instance)
        return [Want(Call(b"", "", name), None, self._number(), None)]

    def value(self, drawn: list[Any]) -> Any:
        """Return what the call gives for what was drawn."""
        return drawn[0] if self._n is None and self.plan.gives_one else drawn

    # About the one call that it is.

    def keyed(self) -> Call:
        """Return the call, without drawing; this asks no store."""
        return self.plan.keyer.call(self._instance, *self._one())

    def looked_for(self) -> tuple[Call, Drawing]:
        """Return the call and what its samples are looked for in, without drawing; where no cache is none is made."""
        if (store := self.plan.engine.existing) is self.plan.engine.store:
            introduce(self)
            store = self.plan.engine.store
        return self.keyed(), store

    def older(self) -> list[Call]:
        """Return the same call as older code made it, where its samples are read, too; the oldest first."""
        return [keyer.call(self._instance, *self._one()) for keyer in self._older_keyers(self.plan)]

    def placed(self) -> tuple[str, Engine]:
        """Return the name of the function in keys, and where its samples are."""
        return self.plan.keyer.name(self._instance), self.plan.engine

    def form(self) -> str:
        """Return the canonical form of the call."""
        return self.plan.keyer.form(self._instance, *self._one())

    def differs(self) -> str:
        """Say how the function differs from what it was when this process called it first."""
        return self.plan.keyer.differs(self._instance)

    def lends(self) -> str:
        """Say what a similar call lends this one, where any does."""
        return ""

    def _one(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the one call that it is."""
        return self._args, self._kwargs

    # How many samples.

    def _number(self) -> int:
        """Return how many samples to draw; a pool must hold as many."""
        n, pool = self._wished(), self.plan.pool
        if pool is not None and n > pool:
            raise OptionError(f"{n} samples were asked for, from a pool of {pool}. Ask for {pool} at most.")
        return n

    def _wished(self) -> int:
        options = self._function.options
        if self._n is not None or options.count is None:
            return self._n or options.n or 1
        given = self._bound().arguments.get(options.count, options.n)
        if given is None:
            given = self._function.keyer.signature.parameters[options.count].default
        if type(given) is not int or given < 1:
            raise OptionError(
                f"{options.count}={given!r}: it says how many samples to make, so it must be a whole number from 1 up."
            )
        return given

    # The function.

    def function(self) -> Called:
        """Return what calls the function, given which of the wants it is to serve, one for each sample."""
        wrapped, args, kwargs, count = self._wrapped, self._args, self._kwargs, self._function.options.count
        if count is None:

            def once(_: Sequence[int]) -> Any:
                self._begins()
                return wrapped(*args, **kwargs)

            return once
        bound = self._bound()

        def several(wanted: Sequence[Any]) -> Any:
            self._begins()
            bound.arguments[count] = len(wanted)
            return wrapped(*bound.args[0 if self._instance is None else 1 :], **bound.kwargs)

        gatherer = self._function.gatherer
        if gatherer is None or self.plan.bare:
            return several
        server = self._server(several, aligned=False)
        return lambda wanted: gatherer.results(self._like(count), server, [*wanted])

    def _like(self, without: str) -> Hashable:
        """Return what is equal for calls of the function that may be served together, of one version of it."""
        self._begins()
        version = "" if self.plan.bare else self.plan.keyer.identity(self._instance).version
        whole = self._args if self._instance is None else (self._instance, *self._args)
        return version, like(self._function.keyer, without, whole, self._kwargs)

    def _server(self, function: Callable[[list[Any]], Any], *, aligned: bool) -> Server:
        plan = self.plan
        told = functools.partial(told_of, function=plan.name, usage=plan.usage, prices=plan.prices)
        return Server(function, plan.name, aligned, told, get_ready(plan.engine))

    def _bound(self) -> inspect.BoundArguments:
        whole = self._args if self._instance is None else (self._instance, *self._args)
        return self._function.keyer.bind(whole, self._kwargs)
