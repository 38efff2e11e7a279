"""Calls of functions with `similar`: before the function runs, a similar call is looked for."""

from __future__ import annotations

import json
from types import FunctionType
from typing import TYPE_CHECKING, Any, cast

from memollm._calls.engines import engine_of
from memollm._calls.invocation import Invocation
from memollm._calls.kind import Kind
from memollm._calls.memos import NewBatchMemo, NewMemo, OwnMemo
from memollm._calls.options import Options
from memollm._calls.typing import Cached
from memollm._drive.similarity import SetAside, lent_or_made, lent_or_made_async
from memollm._keys.keyer import Keyer
from memollm._similar.gates import is_async
from memollm._similar.matcher import Matcher, Search, rule_of
from memollm._spending.track import similar_call
from memollm._types.secret import veiled
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._calls.function import Function
    from memollm._draws.engine import Engine
    from memollm._drive.calls import Called
    from memollm._similar.options import Embedder, Similar
    from memollm._types.warn import CodeLine


def _identity_of(option: str, function: Callable[..., Any]) -> Callable[[], tuple[str, str]]:
    """Return what tells the name and the version of a function that says neither; what it reads may change."""
    if not isinstance(function, FunctionType):
        raise OptionError(
            f"{option}={veiled(repr(function))}: it is no plain function, so nobody can tell which one it is when the "
            "program runs again. "
            + (
                'Name it: embed=memollm.Embedder(..., name="my-model").'
                if option != "verify"
                else "Wrap it in a function of yours."
            )
        )
    keyer = Keyer(function)

    def who() -> tuple[str, str]:
        identity = keyer.identity(None)
        return identity.name, identity.version

    return who


def _identity_of_embedder(embedder: Embedder) -> Callable[[], tuple[str, str]]:
    """Return what tells the name and the version of an embedder: without a name, how its vector is read counts."""
    if embedder.name is not None:
        named = embedder.name, "1" if embedder.version is None else str(embedder.version)
        return lambda: named
    embed = _identity_of("embed", embedder.embed)
    if embedder.read is None and not embedder.batch:
        return embed
    read = None if embedder.read is None else _identity_of("read", embedder.read)

    def who() -> tuple[str, str]:
        name, version = embed()
        return name, json.dumps([version, embedder.batch, None if read is None else read()])

    return who


def _vector_reader(name: str, embedder: Embedder) -> Callable[[Any], Any]:
    from memollm._similar.vectors import normalized

    def read(returned: Any) -> Any:
        given = returned if embedder.read is None else embedder.read(returned)
        return normalized(given[0] if embedder.batch else given, name)

    return read


def _vectors(returned: Any, embedder: Embedder, name: str) -> list[Any]:
    """Read the vectors of several texts."""
    from memollm._similar.vectors import normalized

    given = returned if embedder.read is None else embedder.read(returned)
    return [normalized(vector, name) for vector in given]


def _memoizing(options: Options) -> Options:
    """Return the options of what embeds and verifies for a function: it is memoized in the same cache, if at all."""
    reads_only = options.mode == "readonly"
    return Options(
        pool=1,
        cache=options.cache,
        mode=options.mode if reads_only else None,
        insisted=options.insisted & {"mode"} if reads_only else frozenset(),
    )


def _embedding(embedder: Embedder, name: str, options: Options) -> OwnMemo | NewMemo:
    embed, read = embedder.embed, _vector_reader(name, embedder)

    def several(returned: Any) -> list[Any]:
        return _vectors(returned, embedder, name)

    if isinstance(embed, Cached):
        return OwnMemo("embed", embed, read, several if embedder.batch else None)
    who = _identity_of_embedder(embedder)
    if embedder.batch:
        return NewBatchMemo(embed, who, several, is_async=embedder.is_async, options=options)
    return NewMemo(embed, who, read, is_async=embedder.is_async, options=options)


def _verifying(verify: Any, options: Options) -> OwnMemo | NewMemo:
    if isinstance(verify, Cached):
        return OwnMemo("verify", verify, bool)
    return NewMemo(verify, _identity_of("verify", verify), bool, is_async=is_async(verify), options=options)


def require_similar(function: Function) -> None:
    """Refuse what a function with `similar` cannot be, or lacks."""
    similar = cast("Similar", function.options.similar)
    said = f"similar= of {function.name}"
    parameters = function.keyer.signature.parameters
    if similar.text not in parameters:
        raise OptionError(f"{said}: it has no parameter {similar.text!r}{did_you_mean(similar.text, parameters)}")
    if function.kind.streams:
        raise OptionError(f"{said}: it is a generator function; decorate one that returns the whole answer.")
    asked = {"embed": similar.embedder.is_async, "verify": similar.verify is not None and is_async(similar.verify)}
    for option, awaited in asked.items():
        if awaited and function.kind is not Kind.COROUTINE:
            raise OptionError(f"{said}: {option}= is a coroutine function, and the function is none. Give a plain one.")


def matcher_of(function: Function, plan: Any) -> Matcher:
    """Make what looks for similar calls of a function, by its options."""
    return Matcher(plan, cast("Similar", function.options.similar), *memos_of(function))


def memos_of(function: Function) -> tuple[OwnMemo | NewMemo, OwnMemo | NewMemo | None]:
    """Return what embeds and what verifies texts for a function."""
    options = function.options
    similar = cast("Similar", options.similar)
    if function.memos is None:
        its = _memoizing(options)
        verify = None if similar.verify is None else _verifying(similar.verify, its)
        function.memos = _embedding(similar.embedder, function.name, its), verify
    return function.memos


def is_decorated(function: Any) -> bool:
    """Tell whether a function memoizes itself."""
    return isinstance(function, Cached)


def name_and_rule(function: Any) -> tuple[str | None, str | None]:
    """Return the name of a function that a user means, and by what it finds similar calls now, where it is given."""
    if function is None or isinstance(function, str):
        return function, None
    if not is_decorated(function):
        raise OptionError(f"function={veiled(repr(function))}: it must be a decorated function, or the name of one.")
    name, *_ = function.__memollm_key__()
    its: Function = function._self_function  # noqa: SLF001 - it is one of ours
    return str(name), None if its.options.similar is None else rule_of(*memos_of(its))


class SimilarInvocation(Invocation):
    """A call that may be given what a similar call was answered."""

    __slots__ = ()

    def _introduce(self, asked_at: CodeLine) -> None:
        """Load what searching needs, too: this may block, and is done where no event loop waits for it."""
        super()._introduce(asked_at)
        self._matcher()

    def begin(self) -> Any:
        """Begin a draw; from the first one on the plan knows who lends."""
        self._matcher()
        return super().begin()

    def _matcher(self) -> Matcher | None:
        plan = self.plan
        if plan.lender is None and not plan.bare:
            if not plan.keyer.keeps_arguments:
                raise OptionError(
                    f"similar= of {plan.name}: the arguments are not kept (keep_arguments=False), so there is no text "
                    "to be compared. Keep them, or leave similar= out."
                )
            plan.lender = matcher_of(self._function, plan)
        return cast("Matcher | None", plan.lender)

    def function(self) -> Called:
        """Return what looks for a similar call, and calls the function where there is none."""
        make, matcher = super().function(), self._matcher()
        if matcher is None:
            return make
        through: Any = lent_or_made_async if self._function.kind is Kind.COROUTINE else lent_or_made

        def found_or_made(wanted: Sequence[int]) -> Any:
            self._begins()
            here = self._here
            plan, budgets = self.plan, () if here is None else here.budgets
            program = None if plan.program is None or plan.allowed is None else (plan.program, plan.allowed)
            aside = SetAside(self._calls[0].function, budgets, program)
            return through(self._search(matcher), lambda: make(wanted), aside)

        return found_or_made

    @property
    def similar(self) -> Similar:
        """What the user says of similar calls."""
        return cast("Similar", self._function.options.similar)

    @property
    def is_async(self) -> bool:
        """Whether the function is a coroutine function."""
        return self._function.kind is Kind.COROUTINE

    def writes_to(self) -> Engine:
        """Return the engine of the function's cache, which is another one than the plan's where nothing is kept."""
        return engine_of(self._function.options.cache)

    def embedding(self) -> OwnMemo | NewMemo:
        """Return what embeds texts."""
        return memos_of(self._function)[0]

    def known_as(self) -> tuple[str, set[str]]:
        """Return the function's name, and the versions whose samples are used."""
        identity = self.plan.keyer.identity(self._instance)
        older = {keyer.answers for keyer in self._older_keyers(self.plan)}
        return identity.name, {identity.version, *(version for version in older if version is not None)}

    def _search(self, matcher: Matcher) -> Search:
        whole = self._args if self._instance is None else (self._instance, *self._args)
        arguments = self.plan.keyer.arguments(whole, self._kwargs)
        return matcher.search(self._calls[0], arguments.get(self.similar.text))

    def lends(self) -> str:
        """Say which call's sample this one was given, as long as that is given still."""
        found, store = self.looked_for()
        matcher = self._matcher() if store is self.plan.engine.store else None
        lent = None if matcher is None else matcher.known(found, self.plan.newer_than())
        return "" if lent is None else str(similar_call(lent))
