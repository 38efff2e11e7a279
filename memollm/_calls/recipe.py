"""A decorated function without its decoration: with which store, and as which reader, its calls draw."""

from __future__ import annotations

import os
import time
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memollm._calls.configuration import configuration
from memollm._calls.context import Scope, Standing, current_run, reader_name
from memollm._calls.invocation import Invocation
from memollm._calls.kind import Kind, kind_of
from memollm._calls.places import engine_of
from memollm._draws.states import Rules
from memollm._draws.terms import Terms
from memollm._draws.watcher import RETRY
from memollm._drive import calls as _drive, streams as _drive_streams
from memollm._drive.calls import Introduction
from memollm._keys.keyer import Keyer
from memollm._spending.accounts import Books
from memollm._spending.track import Hook
from memollm._types.warn import warn
from memollm._values.streams import heard
from memollm.errors import NotStoredWarning, OptionError, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._calls.batch import Batching
    from memollm._calls.options import Options
    from memollm._draws.engine import Engine
    from memollm._types.calls import Call
    from memollm.stores.base import Store

PLANS: Final = 1000
"""How many combinations of namespace and run a function remembers its plan for."""


@dataclass(slots=True)
class Plan:
    """What a draw of a function does where it stands: with which store, and as which reader."""

    standing: Standing
    engine: Engine
    keyer: Keyer
    """Makes keys for that store, with the version of the function that it is to use there."""
    reader: str | None
    run: str
    """The reader that a program is where no namespace is named."""
    remembers: bool
    """One sample for ever: what was read once need not be read again."""
    bare: bool
    """The store is left alone."""
    terms: Terms
    """What holds for its draws, but for what the context managers around each say."""
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
        self.number = None if options.count is not None else options.n or 1
        """How many samples a call draws, where neither its arguments nor its caller say."""
        self.gives_one = options.n is None and options.count is None
        """A call returns its sample, not a list."""
        self.invocation = Invocation
        self.batching: Batching | None = None
        if batch:
            from memollm._calls.batch import Batching, BatchInvocation

            self.invocation, self.batching = BatchInvocation, Batching(self)
        self._plans: dict[Standing | None, Plan] = {}
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

    def plan(self, here: Scope | None) -> Plan:
        """Return the plan for where a call stands."""
        if self._generation != configuration.generation:
            self._plans.clear()
            self._generation = configuration.generation
        standing = None if here is None else here.standing
        plan = self._plans.get(standing)
        if plan is None or plan.engine.closed:
            if len(self._plans) >= PLANS:
                self._plans.clear()
            plan = self._plans[standing] = self._make_plan(standing or Standing())
        return plan

    def _make_plan(self, standing: Standing, *, reads_only: bool = False) -> Plan:
        options = self.options
        engine = engine_of(options.cache)
        mode = self._said("mode", standing.mode) or "auto"
        if reads_only or mode == "readonly":
            engine = engine.reading
        keyer = self._keyers.setdefault(engine, self.keyer.apart())
        namespace, run = self._said("namespace", standing.namespace), standing.run or current_run()
        reader = None if options.pool == 1 else reader_name(namespace=namespace, run=run)
        books = Books(engine.keeper, reader, None if reader is None else namespace, run)
        hook = configuration.get("on_draw")
        terms = Terms(
            self.rules,
            books,
            ttl=options.seconds_to_live,
            ages=mode == "refresh" or options.ttl is not None,
            refreshes=mode == "refresh",
            explain_miss=_explain_miss if mode == "offline" else None,
            usage=options.usage,
            prices=configuration.get("prices"),
            watchers=() if hook is None else (Hook(hook),),
        )
        remembers = options.pool == 1 and self.gives_one and mode in {"auto", "offline"}
        as_run = reader_name(namespace=None, run=run)
        return Plan(standing, engine, keyer, reader, as_run, remembers, mode == "off", terms)

    def _said(self, option: str, around: Any) -> Any:
        """Return an option: insisted on, else from around the call, else the decorator's, else configured."""
        own = getattr(self.options, option)
        if option in self.options.insisted and own is not None:
            return own
        return around or own or configuration.get(option)

    def introduce(self, plan: Plan, instance: object) -> None:
        """Make the function and its reader known to the store, the first time that this process draws so."""
        try:
            self._introduce(plan, instance)
        except StoreReadOnly as error:
            warn(str(error), NotStoredWarning)
            reading = self._make_plan(plan.standing, reads_only=True)
            plan.engine, plan.keyer, plan.terms = reading.engine, reading.keyer, reading.terms
            self._introduce(plan, instance)

    def _introduce(self, plan: Plan, instance: object) -> None:
        from memollm._calls.introduce import introduce

        options, keyer, identity = self.options, plan.keyer, plan.keyer.identity(instance)
        kept = configuration.get("keep_arguments") if options.keep_arguments is None else options.keep_arguments
        keyer.keep_arguments(kept is not False)
        # The run is known also where it reads as a namespace, or memoizes: what it used can be exported.
        readers = {plan.reader or plan.run, plan.run}
        version = introduce(plan.engine, identity, readers, options.on_change, readable=keyer.keeps_arguments)
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


def _explain_miss(store: Store, call: Call, slot: int) -> str:
    # A miss is rare, and what explains it is not for the import.
    from memollm._upkeep.explain import missing

    return missing(store, call, slot)


_living: weakref.WeakSet[Recipe] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for recipe in list(_living):
        recipe.after_fork_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
