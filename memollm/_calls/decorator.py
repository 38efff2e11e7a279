"""`cached_llm` and the functions that it decorates."""

from __future__ import annotations

import functools
from types import MethodType
from typing import TYPE_CHECKING, Any, Final, cast

import wrapt

from memollm._calls.batch_invocation import BatchInvocation, OneInvocation
from memollm._calls.function import Function
from memollm._calls.helping import ADDED, doc_of, set_doc
from memollm._calls.invocation import Invocation
from memollm._calls.kind import Kind
from memollm._calls.options import Options, options_from
from memollm._calls.pickling import caller, goes_by_value, is_taken_apart, restore, state_of
from memollm._calls.typing import Cached
from memollm._drive import calls, streams
from memollm._types.hiding import hides
from memollm._types.secret import veiled
from memollm.errors import OptionError
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._calls.engines import Holder
    from memollm._calls.typing import Decorate
    from memollm._drive.progress import Progress
    from memollm._spending.stats import Stats
    from memollm._upkeep.answers import AnswerCounts
    from memollm._upkeep.explain import Explanation

    Wrapper = wrapt.FunctionWrapper[..., Any]
    BoundWrapper = wrapt.BoundFunctionWrapper[..., Any]
else:
    # They take no parameters before wrapt 2.2.
    Wrapper, BoundWrapper = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

__tracebackhide__ = hides

SERVE: Final[dict[Kind, Callable[[Any], Any]]] = {
    Kind.PLAIN: calls.call,
    Kind.COROUTINE: calls.call_async,
    Kind.STREAM: streams.stream,
    Kind.STREAM_ASYNC: streams.stream_async,
}
"""What serves a call of each kind of function."""


def _invocation_type(function: Function, *, one: bool = False) -> type[Invocation]:
    if function.batching is None:
        return Invocation if function.options.similar is None else _similar_type()
    return OneInvocation if one else BatchInvocation


def _similar_type() -> type[Invocation]:
    from memollm._calls.similarity import SimilarInvocation  # Few programs ask for it.

    return SimilarInvocation


class _Methods:
    """What a decorated function can do besides being called, bound to an object or not."""

    if TYPE_CHECKING:
        _self_function: Function
        __wrapped__: Callable[..., Any]

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride] - nobody sets it
        return type(self) if is_taken_apart(caller()) else self.__wrapped__.__class__

    @property
    def __annotations__(self) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The function's own, not those of a class of ours."""
        return self.__wrapped__.__annotations__

    @__annotations__.setter
    def __annotations__(self, annotations: dict[str, Any]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        getattr(self.__wrapped__, "__func__", self.__wrapped__).__annotations__ = annotations

    def _self_invocation(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], n: int | None = None, *, one: bool = False
    ) -> Invocation:
        raise NotImplementedError

    def draw(self, n: int, /, *args: Any, **kwargs: Any) -> Any:
        """Draw n samples as a list, whatever the decorator's `n`."""
        if type(n) is not int or n < 1:
            raise OptionError(f"draw({n!r}): it must be a whole number from 1 up.")
        self._self_function.require_whole("draw")
        return self._self_serve(self._self_invocation(args, kwargs, n))

    def one(self, *args: Any, **kwargs: Any) -> Any:
        """Serve a single item of a batch function, which is in the place of the list.

        On coroutine functions, items that are missing gather with those of other tasks, as `gather` says.
        """
        if self._self_function.batching is None:
            raise OptionError(
                f"one: {self._self_function.name} takes no list of items; say by batch= which parameter holds it."
            )
        return self._self_serve(self._self_invocation(args, kwargs, one=True))

    def _self_serve(self, invocation: Invocation) -> Any:
        return SERVE[self._self_function.kind](invocation)

    def map(
        self,
        items: Any,
        *,
        concurrency: int | None = None,
        progress: bool | Callable[[Progress], object] | None = None,
        on_error: str = "raise",
        as_completed: bool = False,
    ) -> Any:
        """Call the function for each item, many at a time, and return the results in the order of the items.

        A tuple is positional arguments, a dict keyword arguments, anything else the first argument; items are taken one
        by one as there is room for them. Of a coroutine function, the list is to be awaited, and items may come from
        an async iterator.

        concurrency   how many items are under way at most: 16 threads, or 64 tasks of a coroutine function
        progress      a bar where standard error is a terminal and rich is installed; True insists on rich, False shows
                      nothing, and a function is given a `Progress` now and then
        on_error      "raise" the first error when what is under way is done, "return" errors in place of results, or
                      "skip" what failed
        as_completed  an iterator of (index, result) as they come, instead of a list
        """
        # Few programs map, and an import pays for all that it loads.
        from memollm._drive import maps
        from memollm._drive.jobs import TASKS, THREADS, Job, length_of, require_items, require_options
        from memollm._drive.progress import Tally, listener_for

        function = self._self_function
        name = getattr(self.__wrapped__, "__name__", None) or type(self.__wrapped__).__name__
        require_options(concurrency=concurrency, on_error=on_error, progress=progress)
        function.require_whole("map")
        is_async = function.kind is Kind.COROUTINE
        require_items(items, is_async=is_async)
        job = Job(
            self.__wrapped__,
            self._self_invocation,
            items,
            concurrency=concurrency or (TASKS if is_async else THREADS),
            on_error=on_error,
            tally=Tally(length_of(items), listener_for(progress, name)),
        )
        if is_async:
            return maps.stream_async(job) if as_completed else maps.run_async(job)
        return maps.stream(job) if as_completed else maps.run(job)

    def peek(self, *args: Any, **kwargs: Any) -> list[Any]:
        """Return the stored samples of a call, in order, without calling anything or moving a cursor."""
        invocation = self._self_invocation(args, kwargs)
        call, store = invocation.looked_for()
        decode = invocation.plan.engine.codec.decode
        return [
            self._self_function.shown(decode(sample.record, context=each.key))
            for each in (*invocation.older(), call)
            for sample in store.peek(each).values()
        ]

    def tally(self, *args: Any, **kwargs: Any) -> AnswerCounts:
        """Count equal answers among the stored samples of a call, the most frequent first, as `text=` tells them."""
        return self._self_function.tally_of(self.peek(*args, **kwargs))

    def key(self, *args: Any, **kwargs: Any) -> str:
        """Return the key of a call, in hexadecimal."""
        return str(self._self_invocation(args, kwargs).looked_for()[0].key.hex())

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """Print and return why a call hits or misses, and for a miss how the nearest stored calls differ."""
        from memollm._upkeep.explain import explain

        invocation = self._self_invocation(args, kwargs)
        call, store = invocation.looked_for()
        said = invocation.older(), invocation.differs()
        explanation = explain(store, call, invocation.form(), *said, lent=invocation.lends())
        print(explanation)  # noqa: T201 - printing is what it is for
        return explanation

    def stats(self) -> Stats:
        """Tell what was drawn of the function, paid and saved, by namespace, over all processes."""
        from memollm._spending.stats import stats_of

        function, engine = self._self_invocation((), {}).placed()
        counted = engine.counted().items()
        return stats_of({account: counts for account, counts in counted if account.function == function}, "namespace")

    def forget_all(self) -> int:
        """Remove all stored samples of the function, of whatever version of its code; return how many there were.

        `forget()` without arguments is the one call that has none, or only defaults.
        """
        function, engine = self._self_invocation((), {}).placed()
        store = engine.existing
        return sum(keeping(store).forget(each.call) for each in looking(store).calls(function))

    def index_similar(self, **options: Any) -> Any:
        """Embed the stored calls that similar ones cannot find yet, and return how many; with the options of `map`."""
        from memollm._calls.similar_index import index_similar  # Few programs ask for it.

        return index_similar(self._self_function, self._self_invocation((), {}), **options)

    def __dir__(self) -> list[str]:
        """Name what the function has and what is added to it, for tab completion."""
        return sorted({*dir(self.__wrapped__), *ADDED})

    def forget(self, *args: Any, **kwargs: Any) -> int:
        """Remove the stored samples of a call, for all namespaces; return how many there were."""
        invocation = self._self_invocation(args, kwargs)
        call, store = invocation.looked_for()
        return sum(keeping(store).forget(each) for each in (*invocation.older(), call))


class BoundCached(_Methods, BoundWrapper):
    """A decorated method of an object or a class."""

    __memollm_tag__ = "cached"

    def __memollm_key__(self) -> object:
        """Say who the method is and whose, where it is an argument of another function."""
        identity = self._self_function.keyer.identity(self._self_instance)
        return (identity.name, identity.version, self._self_instance)

    @property
    def _self_function(self) -> Function:  # type: ignore[override]
        return cast("Function", self._self_parent._self_function)  # noqa: SLF001 - the two classes are one object

    def _self_invocation(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], n: int | None = None, *, one: bool = False
    ) -> Invocation:
        function, wrapped, instance = self._self_function, self.__wrapped__, self._self_instance
        if self._self_binding == "staticmethod":
            instance = None
        elif self._self_binding == "classmethod":
            instance = getattr(wrapped, "__self__", None)
        elif instance is None and args:
            # Asked of the class: the object comes first, as in `Agent.ask.draw(5, agent, "x")`.
            instance, *rest = args
            wrapped, args = functools.partial(wrapped, instance), tuple(rest)
        return _invocation_type(function, one=one)(function, wrapped, instance, args, kwargs, n)

    def with_options(self, **options: Any) -> Any:
        """Return the same method, with the same samples and other options."""
        return self._self_parent.with_options(**options).__get__(self._self_instance, self._self_owner)

    def __reduce__(self) -> Any:
        owner = self._self_owner if self._self_instance is None else self._self_instance
        insisted = self._self_function.options.insisted
        options = {name: getattr(self._self_function.options, name) for name in insisted}
        return (_bound, (owner, self.__wrapped__.__name__, options))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.__reduce__()


class CachedFunction(_Methods, Wrapper):
    """A decorated function; what it is called with, its name and its signature are those of the function."""

    __bound_function_wrapper__ = BoundCached
    __memollm_tag__ = "cached"

    def __init__(self, function: Callable[..., Any], options: Options, original: CachedFunction | None = None) -> None:
        its = Function(function, options) if original is None else original._self_function.with_options(options)  # noqa: SLF001
        if options.similar is not None:
            from memollm._calls.similarity import require_similar  # Few programs ask for it.

            require_similar(its)
        serve, invocation = SERVE[its.kind], _invocation_type(its)
        super().__init__(
            function, lambda wrapped, instance, args, kwargs: serve(invocation(its, wrapped, instance, args, kwargs))
        )
        self._self_function = its
        # A method that was bound already is keyed by its object.
        self._self_object = function.__self__ if isinstance(function, MethodType) else None
        self._self_type, self._self_go = invocation, serve
        self._self_original = original

    def _self_invocation(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], n: int | None = None, *, one: bool = False
    ) -> Invocation:
        its = self._self_function
        return _invocation_type(its, one=one)(its, self.__wrapped__, self._self_object, args, kwargs, n)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        # As wrapt would, without its looking at every call for an object that the function is bound to.
        return self._self_go(self._self_type(self._self_function, self.__wrapped__, self._self_object, args, kwargs))

    def with_options(self, **options: Any) -> Any:
        """Return the same function, with the same samples and other options."""
        merged = options_from(options, self._self_function.options)
        return CachedFunction(self.__wrapped__, merged, self._self_original or self)

    def __repr__(self) -> str:
        return f"<cached_llm {veiled(repr(self.__wrapped__))}>"

    def __memollm_key__(self) -> object:
        """Say who the function is, where it is an argument of another."""
        identity = self._self_function.keyer.identity(None)
        return (identity.name, identity.version)

    def __copy__(self) -> CachedFunction:
        return self

    def __deepcopy__(self, memo: Any) -> CachedFunction:
        return self

    def __reduce__(self) -> Any:
        if self._self_original is not None:
            options = self._self_function.options
            return (_with_options, (self._self_original, {name: getattr(options, name) for name in options.insisted}))
        return self.__wrapped__.__qualname__

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._self_original is None and goes_by_value(self, caller()):
            return (_blank, (), state_of(self), None, None, restore)
        return self.__reduce__()


for _kind in (CachedFunction, BoundCached):
    # A class's own docstring would stand before any property of its bases.
    type.__setattr__(_kind, "__doc__", property(doc_of, set_doc))


# What checkers see as `Cached` is `Cached` to `isinstance` too.
Cached.register(CachedFunction)
Cached.register(BoundCached)


def _bound(owner: object, name: str, options: dict[str, Any]) -> Any:
    method = getattr(owner, name)
    return method.with_options(**options) if options else method


def _blank() -> CachedFunction:
    return CachedFunction.__new__(CachedFunction)


def _with_options(original: CachedFunction, options: dict[str, Any]) -> Any:
    return original.with_options(**options)


class CachedLlm:
    """Keep every sample of a function that calls a language model, and give none twice.

    Bare (`@cached_llm`) or with options, all of them keywords:

    n            samples a call, as a list; without it a call gives one sample as it is
    namespace    the reader's name; without one, each run of the program reads from the start
    pool         how many slots the function uses at most; `pool=1` is plain memoization
    ignore       parameters that are no part of the key
    key          a function of the same parameters that returns what to key on instead
    name         the function's name in keys, so that it may be renamed or moved
    version      the function's version, instead of looking at its code
    count        the parameter by which the function itself takes how many samples to make
    batch        the parameter that holds a list of items, each of which is a call of its own
    gather       how draws of several tasks are put together, of a function with `batch` or `count`
    concurrency  how many calls one draw may have in flight
    on_stale     what to do with a stored sample whose class has changed: "error", or "miss" to make it anew
    on_change    what to do when its code has changed: "new", "warn", "error" or "ignore"
    on_store_error  "raise": where the store fails, so does the draw; "warn" (as usual) returns what cannot be kept
    ttl          how long a sample counts, as "7d"; after that its slot is vacant again
    mode         "auto", "offline", "refresh", "readonly", "off" or "resume"
    usage        a function from a result to its tokens and cost, where they are not found by themselves
    text         a function from a result to the text by which `tally` compares answers
    keep_arguments  whether the arguments are stored with the samples; False keeps a digest
    accept       a predicate; what it refuses is returned and not stored
    on_cancel    what becomes of the calls of a cancelled draw: "finish", so that their answers are kept, or "stop"
    grace        how long such a call goes on at most: two minutes where nobody says
    similar      a `Similar`: a call may be given the sample of a similar one
    cache        a `Cache`, a path or a URL; without it, the project's
    """

    def __init__(self, cache: Holder | None = None) -> None:
        self._cache = cache

    def __call__(self, function: Callable[..., Any] | None = None, /, **options: Any) -> Any:
        if self._cache is not None:
            options.setdefault("cache", self._cache)
        given = options_from(options)
        if function is None:
            return functools.partial(decorate, options=given)
        return decorate(function, given)


def decorate(function: Any, options: Options) -> CachedFunction:
    """Decorate a function with checked options."""
    if isinstance(function, (CachedFunction, BoundCached)):
        raise OptionError(f"{veiled(repr(function))} is decorated already; use its .with_options(...).")
    if not callable(function) and not isinstance(function, classmethod):
        raise OptionError(f"cached_llm decorates functions; {veiled(repr(function))} cannot be called.")
    return CachedFunction(cast("Callable[..., Any]", function), options)


cached_llm = cast("Decorate", CachedLlm())
