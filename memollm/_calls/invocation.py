"""One call of a decorated function, as it was made: what it asks of the drivers."""

from __future__ import annotations

import functools
import time
from logging import DEBUG
from typing import TYPE_CHECKING, Any, cast

from memollm._calls.context import Scope, scope
from memollm._draws.engine import NOTHING
from memollm._draws.flow import BareDraw, Draw
from memollm._draws.replay import Replayed
from memollm._drive import calls as _drive
from memollm._drive.calls import Introduction, Work
from memollm._keys.keyer import owner_of
from memollm._spending.track import is_logged
from memollm._types.calls import NAMESPACES, Call, Want
from memollm._types.samples import EVER
from memollm.errors import OptionError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from memollm._calls.recipe import Recipe
    from memollm._draws.effects import Batch
    from memollm._draws.engine import Engine
    from memollm._draws.replay import Replay
    from memollm._draws.terms import Terms


class Invocation:
    """A call as it was made: `wrapped` is bound already if there is an instance."""

    __slots__ = ("_args", "_call", "_here", "_instance", "_kwargs", "_n", "_plan", "_recipe", "_replayed", "_wrapped")

    def __init__(
        self,
        recipe: Recipe,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        n: int | None = None,
    ) -> None:
        self._recipe = recipe
        self._wrapped = wrapped
        self._instance = instance
        self._args = args
        self._kwargs = kwargs
        self._n = n
        self._here = here = scope.get()
        self._plan = recipe.plan(here)
        self._replayed: Replayed | None = None

    def introduction(self) -> Introduction | None:
        """See `Request.introduction`."""
        plan, instance = self._plan, self._instance
        owner = None if instance is None else owner_of(instance)
        if owner in plan.introduced or plan.bare or (plan.retry and plan.retry > time.monotonic()):
            return None

        def conclude(succeeded: bool) -> None:  # noqa: FBT001 - the shape of a callback
            if succeeded and not plan.retry:
                plan.introduced.add(owner)
            plan.introductions.pop(owner, None)

        introduce = functools.partial(self._recipe.introduce, plan, self._instance)
        return plan.introductions.setdefault(owner, Introduction(introduce, conclude))

    def recalled(self) -> Any:
        """See `Request.recalled`."""
        plan = self._plan
        if plan.bare:
            return NOTHING
        self._call = call = plan.keyer.call(self._instance, self._args, self._kwargs)
        if plan.remembers and self._n is None:
            engine, terms = plan.engine, plan.terms
            found = engine.recall(call, terms.newer_than(engine.clock) if terms.ages else EVER)
            if found is None:
                return NOTHING
            value = engine.value_of(found, call) if found.is_record else found.value
            books = terms.books
            books.given.append(found.given)
            if not books.is_open:
                books.open()
            if self._here is not None or terms.watchers or is_logged(DEBUG):
                self._terms().tell((found.given,))
            return value
        return self._replay() if self._here is not None and self._replays(self._here) else NOTHING

    def _replays(self, here: Scope) -> bool:
        # Whoever insists on another namespace draws as that one.
        return here.replay is not None and self._plan.reader == NAMESPACES + here.replay.namespace

    def _replay(self) -> Any:
        """Read what a namespace drew; `NOTHING` where draws go on after it."""
        replay = cast("Replay", cast("Scope", self._here).replay)
        self._replayed = replayed = Replayed(self._plan.engine, replay, self._wants())
        return NOTHING if replayed.missing else self.value([])

    def _wants(self) -> list[Want]:
        """Return what is to be drawn."""
        return [self._want(self._call)]

    def _want(self, call: Call) -> Want:
        plan, here = self._plan, self._here
        lane = None if plan.reader is None or here is None else here.lane
        recipe = self._recipe
        number = recipe.number if self._n is None else None
        return Want(call, plan.reader, number or self._number(), recipe.options.pool, lane)

    def _terms(self) -> Terms:
        """Return the terms of this very draw."""
        here, terms = self._here, self._plan.terms
        if here is None:
            return terms
        return terms._replace(lane=here.lane, watchers=(*terms.watchers, *here.watchers), budgets=here.budgets)

    def begin(self) -> Draw:
        """See `Request.begin`."""
        plan = self._plan
        if plan.bare:
            return BareDraw(plan.engine, self._bare_wants(), self._terms())
        replayed = self._replayed
        if replayed is None:
            return Draw(plan.engine, self._wants(), self._terms())
        return Draw(plan.engine, replayed.missing, self._terms()._replace(undone=replayed.give_back))

    def _bare_wants(self) -> list[Want]:
        """Return what is to be drawn where nothing is looked up, so that no argument has to be a key."""
        name = self._plan.keyer.name(self._instance)
        return [Want(Call(b"", "", name), None, self._number(), None)]

    def may_overtake(self) -> bool:
        """See `Request.may_overtake`."""
        return not self._plan.engine.asking

    def work(self) -> Work:
        """See `Request.work`."""
        recipe = self._recipe
        return Work(
            self._plan.engine, self._caller(), recipe.rules.together, recipe.options.concurrency, name=recipe.name
        )

    def value(self, drawn: list[Any]) -> Any:
        """See `Request.value`."""
        replayed = self._replayed
        if replayed is not None:
            drawn = replayed.joined(drawn)
            self._terms().give(replayed.given)
        return self._shaped(drawn)

    def unread(self) -> Callable[[], None] | None:
        """See `Request.unread`."""
        return None if self._replayed is None else self._replayed.give_back

    def _shaped(self, drawn: list[Any]) -> Any:
        """Return samples as the call returns them."""
        return drawn[0] if self._n is None and self._recipe.gives_one else drawn

    def keyed(self) -> tuple[Call, Engine]:
        """Return the call and where its samples are, without drawing."""
        _drive.introduce(self)
        return self._plan.keyer.call(self._instance, *self._one()), self._plan.engine

    def placed(self) -> tuple[str, Engine]:
        """Return the name of the function in keys, and where its samples are."""
        return self._plan.keyer.name(self._instance), self._plan.engine

    def form(self) -> str:
        """Return the canonical form of the call."""
        return self._plan.keyer.form(self._instance, *self._one())

    def _one(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments of the one call that it is."""
        return self._args, self._kwargs

    def _number(self) -> int:
        """Return how many samples to draw; a pool must hold as many."""
        n, pool = self._wished(), self._recipe.options.pool
        if pool is not None and n > pool:
            raise OptionError(f"{n} samples were asked for, from a pool of {pool}. Ask for {pool} at most.")
        return n

    def _wished(self) -> int:
        count = self._recipe.options.count
        if self._n is not None or count is None:
            return self._n or self._recipe.options.n or 1
        given = self._bound().arguments.get(count, self._recipe.options.n)
        if given is None:
            given = self._recipe.keyer.signature.parameters[count].default
        if type(given) is not int or given < 1:
            raise OptionError(f"{count}={given!r}: it says how many samples to make, so it must be 1 or more.")
        return given

    def _caller(self) -> Callable[[Batch], Any]:
        """Return what calls the function for a batch of gaps."""
        wrapped, args, kwargs, count = self._wrapped, self._args, self._kwargs, self._recipe.options.count
        if count is None:
            return lambda _: wrapped(*args, **kwargs)
        bound = self._bound()

        def several(batch: Batch) -> Any:
            bound.arguments[count] = len(batch)
            return wrapped(*bound.args[0 if self._instance is None else 1 :], **bound.kwargs)

        return several

    def _bound(self) -> inspect.BoundArguments:
        whole = self._args if self._instance is None else (self._instance, *self._args)
        return self._recipe.keyer.bind(whole, self._kwargs)
