"""The user's function with its options: what its calls have in common, and how each is planned where it stands."""

from __future__ import annotations

import time
import weakref
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._calls.batch_items import Batching
from memollm._calls.configuration import CONFIGURED, configuration
from memollm._calls.context import current_program, current_run, reader_name
from memollm._calls.engines import engine_of, limits_of_program
from memollm._calls.kind import Kind, kind_of
from memollm._calls.loading import load
from memollm._calls.stopped import remember
from memollm._draws.plan import Plan
from memollm._draws.scope import Role
from memollm._drive.gather import Gatherer
from memollm._keys.keyer import Keyer, owner_of
from memollm._spending.accounts import Books
from memollm._spending.track import Hook
from memollm._types.calls import resuming
from memollm._types.locks import renewed_in_children
from memollm._types.secret import veiled
from memollm._values.streams import heard
from memollm.errors import OptionError, StoreReadOnly

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memollm._calls.options import Options
    from memollm._draws.engine import Engine
    from memollm._types.calls import Call
    from memollm._upkeep.answers import AnswerCounts
    from memollm.stores.drawing import Drawing

PLANS: Final = 1000
"""How many combinations of namespace, run and mode a function remembers its plan for."""
RETRY: Final = 1.0
"""Seconds after which the store is told again of a function that it could not be told of."""
NOBODY: Final = Role()
WHY_NOT: Final = {
    "draw": "and a stream is read one at a time. Call it once for each.",
    "map": "whose chunks come as somebody reads them; many at a time would have nobody to read them. Call it for each "
    "item, or map a function that returns the whole answer.",
}


class Function:
    """A function with its options: what its calls have in common."""

    def __init__(self, function: Callable[..., Any], options: Options, gatherer: Gatherer | None = None) -> None:
        """With a gatherer what it asks for is put together with what others ask that have the same."""
        self.function = function
        self.options = options
        self.kind = kind_of(function)
        if self.kind.streams:
            self._require_one_stream()
        if self.kind is not Kind.COROUTINE:
            self._require_uncancelled()
        self.keyer = Keyer(
            function,
            name=options.name,
            version=None if options.version is None else str(options.version),
            ignore=options.ignored,
            key=options.key,
            count=options.count,
            batch=options.batch,
        )
        self.batching = None if options.batch is None else Batching(self.name, options, self.keyer)
        self.gatherer = self._made_gatherer() if gatherer is None else gatherer
        self.gives_one = options.n is None and options.count is None
        """A call returns its sample, not a list."""
        self.plans: dict[Role | None, Plan] = {}
        self.generation = -1
        """That of the configuration for which they were made."""
        self.memos: tuple[Any, Any] | None = None
        """What embeds and verifies texts, of a function with `similar`, once it has looked."""
        self._keyers: weakref.WeakKeyDictionary[Engine, Keyer] = weakref.WeakKeyDictionary()
        _living.add(self)

    def after_fork_in_child(self) -> None:
        """Begin anew: introductions that are under way are the parent's."""
        self.plans = {}

    @property
    def name(self) -> str:
        """The function's name, for messages."""
        inner = getattr(self.function, "__func__", self.function)
        return getattr(inner, "__qualname__", None) or veiled(repr(inner))

    def _require_one_stream(self) -> None:
        for option in ("n", "count", "batch"):
            given = getattr(self.options, option)
            if given is not None:
                raise OptionError(
                    f"{option}={given!r}: {self.name} is a generator function, and a stream is read one at a time. "
                    "Call it again for another, or decorate a function that returns the whole answer."
                )

    def _made_gatherer(self) -> Gatherer | None:
        gather, gathers = self.options.gather, self.options.batch is not None or self.options.count is not None
        if self.kind is Kind.COROUTINE:
            return Gatherer(gather, of_samples=self.options.batch is None) if gathers else None
        if gather is not None:
            raise OptionError(f"gather={gather}: only coroutine functions gather; make {self.name} one.")
        return None

    def with_options(self, options: Options) -> Function:
        """Return the same function with other options; what may be put together is, where these say nothing new."""
        same = all(getattr(options, name) == getattr(self.options, name) for name in ("gather", "batch", "count"))
        return Function(self.function, options, self.gatherer if same else None)

    def _require_uncancelled(self) -> None:
        for option in ("on_cancel", "grace"):
            given = getattr(self.options, option)
            if given is not None:
                raise OptionError(
                    f"{option}={given!r}: only draws of coroutine functions are cancelled; make {self.name} one, or "
                    "leave it out."
                )

    def _accept(self) -> Callable[[Any], bool] | None:
        accept = self.options.accept
        if accept is None or not self.kind.streams:
            return accept
        return lambda sample: accept(heard(sample).chunks)

    # Where a call stands.

    def plan(self, role: Role | None) -> Plan:
        """Return the plan for who draws."""
        if self.generation != configuration.generation:
            self.plans.clear()
            self.generation = configuration.generation
        plan = self.plans.get(role)
        if plan is None or plan.engine.closed:
            if len(self.plans) >= PLANS:
                self.plans.clear()
            plan = self.plans[role] = self._make_plan(role or NOBODY)
        return plan

    def _make_plan(self, role: Role, *, reads_only: bool = False) -> Plan:
        load()
        options, said = self.options, self._said("mode", role.mode) or "auto"
        mode = "auto" if said == "resume" else said
        engine = engine_of(options.cache)
        if reads_only or mode == "readonly":
            engine = engine.reading
        namespace = self._namespace(role)
        cell = role.cell if namespace is None else None
        run = role.run or (current_run() if cell is None else cell.run)
        reader = None if options.pool == 1 else reader_name(namespace=namespace, run=run)
        resumes = said == "resume" or (bool(role.resumes) and namespace == role.namespace)
        hook, allowed = configuration.get("on_draw"), configuration.get("budget")
        return Plan(
            engine=engine,
            keyer=self._keyers.setdefault(engine, self.keyer.apart()),
            books=Books(engine.keeper, reader, None if reader is None else namespace, run),
            role=role,
            lane=None if cell is None or reader is None else cell.lane,
            reader=reader,
            run=reader_name(namespace=None, run=run),
            remembers=options.pool == 1 and self.gives_one and mode in {"auto", "offline"},
            bare=mode == "off",
            resumes=resuming(run, namespace) if reader and namespace and resumes else None,
            could_resume=namespace if reader and engine.path and self._could_resume(role, said) else None,
            ages=mode == "refresh" or options.ttl is not None,
            ttl=options.seconds_to_live,
            refreshes=mode == "refresh",
            explain_miss=_explain_miss if mode == "offline" else None,
            name=self.name,
            pool=options.pool,
            number=None if options.count is not None else options.n or 1,
            gives_one=self.gives_one,
            streams=self.kind.streams,
            together=options.batch is not None or options.count is not None,
            aligned=options.batch is not None,
            concurrency=options.concurrency,
            finishes=self.kind is Kind.COROUTINE and options.on_cancel != "stop",
            grace=options.seconds_of_grace,
            accept=self._accept(),
            redraws_stale=options.on_stale == "miss",
            raises_store_errors=self._said("on_store_error", None) == "raise",
            usage=options.usage,
            prices=configuration.get("prices"),
            watchers=() if hook is None else (Hook(hook),),
            program=None if allowed is None else limits_of_program().limited(current_program()),
            allowed=allowed,
        )

    def _namespace(self, role: Role) -> str | None:
        """Return which namespace reads; inside a run of its own, only one that was named there, or is insisted on."""
        insists = "namespace" in self.options.insisted and self.options.namespace is not None
        if role.run is not None and role.namespace is None and not insists:
            return None
        name: str | None = self._said("namespace", role.namespace)
        return name

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
            if plan.raises_store_errors:
                raise
            # The cache takes nothing of anybody: once is enough, however many functions and readers there are.
            plan.engine.tell_once(str(error))
            reading = self._make_plan(plan.role, reads_only=True)
            plan.engine, plan.keyer, plan.books = reading.engine, reading.keyer, reading.books
            self._introduce(plan, instance)

    def _introduce(self, plan: Plan, instance: object) -> None:
        from memollm._calls.introduce import introduce  # Done once a function, and not by every program.

        options, keyer, identity = self.options, plan.keyer, plan.keyer.identity(instance)
        kept = configuration.get("keep_arguments") if options.keep_arguments is None else options.keep_arguments
        keyer.keep_arguments(kept is not False)
        # The run is known also where it reads as a namespace, or memoizes: what it used can be exported.
        readers = {plan.reader or plan.run, plan.run}
        on_change = self._said("on_change", None) or "new"
        resumed = None if plan.resumes is None else plan.reader
        older = introduce(plan.engine, identity, readers, on_change, readable=keyer.keeps_arguments, resumed=resumed)
        if plan.could_resume is not None:
            remember(plan.could_resume)
        plan.retry = 0.0 if older is not None else time.monotonic() + RETRY
        if older and not plan.refreshes:
            plan.older[owner_of(instance)] = identity.version, tuple(map(keyer.of_version, older))

    def _could_resume(self, role: Role, mode: str) -> bool:
        """Tell whether MEMOLLM_MODE=resume would resume a namespace: nothing in the code says another mode."""
        in_code = self.options.mode or role.mode or configuration.said("mode").origin == CONFIGURED
        return mode == "auto" and not in_code and role.resumes is not None

    def require_whole(self, method: str) -> None:
        """Refuse to gather answers of a function whose calls are no answers yet."""
        if self.kind.streams:
            raise OptionError(f"{method}: {self.name} is a generator function, {WHY_NOT[method]}")

    def shown(self, sample: Any) -> Any:
        """Return what a user sees of a stored sample."""
        return heard(sample).chunks if self.kind.streams else sample

    def tally_of(self, samples: Iterable[Any]) -> AnswerCounts:
        """Count equal answers of samples, as users see them."""
        from memollm._upkeep.answers import counted_answers

        return counted_answers(map(self._text_of, samples))

    def _text_of(self, sample: Any) -> str:
        """Return the text of a sample that people compare."""
        from memollm._upkeep.answers import answer_text  # Few programs look at answers so.

        if self.options.text is None:
            return answer_text(sample, is_stream=self.kind.streams)
        text = cast("object", self.options.text(sample))
        if not isinstance(text, str):
            raise OptionError(
                f"text= of {self.name} returned a {type(text).__name__}: it must return the text of a sample that is "
                'compared, and "" where there is none.'
            )
        return text


def _explain_miss(store: Drawing, call: Call, slot: int) -> str:
    # A miss is rare, and what explains it is not for the import.
    from memollm._upkeep.explain import missing

    return missing(store, call, slot)


_living = renewed_in_children(Function.after_fork_in_child)
