"""A decorated function without its decoration: where its calls stand, and what one call asks of the drivers."""

from __future__ import annotations

import functools
import inspect
import os
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memollm import _drive, _drive_streams
from memollm._cache import Cache, open_cache
from memollm._context import Scope, configuration, reader_name, scope
from memollm._drive import Introduction, Work
from memollm._engine import NOTHING, RETRY
from memollm._flow import Draw
from memollm._keys import Keyer, owner_of
from memollm._kind import Kind, kind_of
from memollm._model import EVER, Call, Want
from memollm._states import Rules
from memollm._streams import heard
from memollm.errors import OptionError

if TYPE_CHECKING:
    import inspect
    from collections.abc import Callable

    from memollm._batch import Batching
    from memollm._effects import Batch
    from memollm._engine import Engine
    from memollm._options import Options

PLANS: Final = 1000
"""How many combinations of namespace and run a function remembers its plan for."""


@dataclass(slots=True)
class Plan:
    """What a draw of a function does where it stands: with which store, and as which reader."""

    engine: Engine
    keyer: Keyer
    """Makes keys for that store, with the version of the function that it is to use there."""
    reader: str | None
    remembers: bool
    """One sample for ever: what was read once need not be read again."""
    introduced: set[type | None] = field(default_factory=set[type | None])
    """The classes as whose method (or none) the function has been introduced to the store."""
    retry: float = 0.0
    """When an introduction that the store could not take is tried again."""
    introductions: dict[type | None, Introduction] = field(default_factory=dict[type | None, Introduction])
    """Those that are under way."""


class Recipe:
    """A function with its options: what its calls have in common."""

    def __init__(self, function: Callable[..., Any], options: Options) -> None:
        self.function = function
        self.options = options
        self.kind = kind_of(function)
        if self.kind.streams:
            self._require_one_stream()
        self.keyer = Keyer(
            function,
            name=options.name,
            version=None if options.version is None else str(options.version),
            ignore=options.ignored,
            key=options.key,
            count=options.count,
            batch=options.batch,
        )
        batch = options.batch is not None
        self.rules = Rules(
            together=batch or options.count is not None,
            aligned=batch,
            accept=self._accept(),
            redraws_stale=options.on_stale == "miss",
        )
        self.invocation = Invocation
        self.batching: Batching | None = None
        if batch:
            from memollm._batch import Batching, BatchInvocation

            self.invocation, self.batching = BatchInvocation, Batching(self)
        self._plans: dict[Scope | None, Plan] = {}
        self._keyers: weakref.WeakKeyDictionary[Engine, Keyer] = weakref.WeakKeyDictionary()
        self._generation = -1
        _living.add(self)

    def after_fork_in_child(self) -> None:
        """Begin anew: introductions that are under way are the parent's."""
        self._plans = {}

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        inner = getattr(self.function, "__func__", self.function)
        return getattr(inner, "__qualname__", None) or repr(inner)

    def _require_one_stream(self) -> None:
        for option in ("n", "count", "batch"):
            given = getattr(self.options, option)
            if given is not None:
                raise OptionError(
                    f"{option}={given!r}: {self.name} is a generator function, and a stream is read one at a time. "
                    "Call it again for another, or decorate a function that returns the whole answer."
                )

    def _accept(self) -> Callable[[Any], bool] | None:
        accept = self.options.accept
        if accept is None or not self.kind.streams:
            return accept
        return lambda sample: accept(heard(sample).chunks)

    def plan(self) -> Plan:
        """Return the plan for the context managers around the call."""
        if self._generation != configuration.generation:
            self._plans.clear()
            self._generation = configuration.generation
        here = scope.get()
        plan = self._plans.get(here)
        if plan is None or plan.engine.closed:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[here] = self._make_plan(here or Scope())
        return plan

    def _make_plan(self, here: Scope) -> Plan:
        cache = self.options.cache
        engine = (cache if isinstance(cache, Cache) else open_cache(cache)).engine
        keyer = self._keyers.setdefault(engine, self.keyer.apart())
        if self.options.pool == 1:
            return Plan(engine, keyer, None, remembers=self.options.n is None and self.options.count is None)
        namespace = self.options.namespace
        if "namespace" not in self.options.insisted:
            namespace = here.namespace or namespace or configuration.get("namespace")
        return Plan(engine, keyer, reader_name(namespace=namespace, run=here.run), remembers=False)

    def introduce(self, plan: Plan, instance: object) -> None:
        """Make the function and its reader known to the store, the first time that this process draws so."""
        from memollm._introduce import introduce

        options, keyer, identity = self.options, plan.keyer, plan.keyer.identity(instance)
        kept = configuration.get("keep_arguments") if options.keep_arguments is None else options.keep_arguments
        keyer.keep_arguments(kept is not False)
        version = introduce(plan.engine, identity, plan.reader, options.on_change, readable=keyer.keeps_arguments)
        plan.retry = 0.0 if version is not None else time.monotonic() + RETRY
        if version is not None and version != identity.version:
            keyer.use_version(instance, version)

    # Calls, as wrapt hands them over.

    def call(self, wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        """Call a plain function."""
        return _drive.call(self.invocation(self, wrapped, instance, args, kwargs))

    def call_async(self, wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        """Call a coroutine function."""
        return _drive.call_async(self.invocation(self, wrapped, instance, args, kwargs))

    def stream(self, wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        """Call a generator function."""
        return _drive_streams.stream(Invocation(self, wrapped, instance, args, kwargs))

    def stream_async(self, wrapped: Callable[..., Any], instance: object, args: Any, kwargs: Any) -> Any:
        """Call an async generator function."""
        return _drive_streams.stream_async(Invocation(self, wrapped, instance, args, kwargs))

    def caller(self) -> Callable[..., Any]:
        """Return which of these it is."""
        return {
            Kind.PLAIN: self.call,
            Kind.COROUTINE: self.call_async,
            Kind.STREAM: self.stream,
            Kind.STREAM_ASYNC: self.stream_async,
        }[self.kind]

    def invoke(
        self,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        n: int | None = None,
        one: bool = False,
    ) -> Invocation:
        """Return a call as an invocation, without serving it; with `one` it is for a single item."""
        kind = self.batching.one if one and self.batching else self.invocation
        if one and self.batching is None:
            raise OptionError(f"one: {self.name} takes no list of items; say by batch= which parameter holds it.")
        return kind(self, wrapped, instance, args, kwargs, n=n)

    def draw(self, invocation: Invocation) -> Any:
        """Draw as an invocation says."""
        if self.kind.streams:
            raise OptionError(
                f"draw: {self.name} is a generator function, and a stream is read one at a time. Call it once for each."
            )
        return (_drive.call_async if self.kind is Kind.COROUTINE else _drive.call)(invocation)

    def require_mapped(self) -> None:
        """Refuse to map a function whose calls are no answers yet."""
        if self.kind.streams:
            raise OptionError(
                f"map: {self.name} is a generator function, whose chunks come as somebody reads them; many at a time "
                "would have nobody to read them. Call it for each item, or map a function that returns the whole "
                "answer."
            )

    def shown(self, sample: Any) -> Any:
        """Return what a user sees of a stored sample."""
        return heard(sample).chunks if self.kind.streams else sample


class Invocation:
    """A call as it was made: `wrapped` is bound already if there is an instance."""

    __slots__ = ("_args", "_call", "_instance", "_kwargs", "_n", "_plan", "_recipe", "_wrapped")

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
        self._plan = recipe.plan()

    def introduction(self) -> Introduction | None:
        """See `Request.introduction`."""
        plan, owner = self._plan, owner_of(self._instance)
        if owner in plan.introduced or (plan.retry and plan.retry > time.monotonic()):
            return None

        def conclude(succeeded: bool) -> None:  # noqa: FBT001 - the shape of a callback
            if succeeded and not plan.retry:
                plan.introduced.add(owner)
            plan.introductions.pop(owner, None)

        introduce = functools.partial(self._recipe.introduce, plan, self._instance)
        return plan.introductions.setdefault(owner, Introduction(introduce, conclude))

    def recalled(self) -> Any:
        """See `Request.recalled`."""
        self._call = self._plan.keyer.call(self._instance, self._args, self._kwargs)
        if self._plan.remembers and self._n is None:
            return self._plan.engine.recall(self._call, EVER)
        return NOTHING

    def begin(self) -> Draw:
        """See `Request.begin`."""
        plan, recipe = self._plan, self._recipe
        n = self._number()
        return Draw(plan.engine, (Want(self._call, plan.reader, n, recipe.options.pool),), EVER, recipe.rules)

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
        options = self._recipe.options
        return drawn[0] if self._n is None and options.n is None and options.count is None else drawn

    def keyed(self) -> tuple[Call, Engine]:
        """Return the call and where its samples are, without drawing."""
        _drive.introduce(self)
        return self._plan.keyer.call(self._instance, *self._one()), self._plan.engine

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


_living: weakref.WeakSet[Recipe] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recipe in list(_living):
        recipe.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
