"""The lower door: draws for whoever has no function to decorate: a client, a framework, or a cache to stand in for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypedDict, TypeVar, Unpack, overload

from memollm._calls.door_call import DoorCall, Lookup, functions_of
from memollm._calls.held import Hold
from memollm._calls.options import OPTIONS, options_from
from memollm._draws.lookups import Missed
from memollm._drive.calls import call, call_async
from memollm._drive.holding import Parked, bring, bring_async, caller_in, looked, looked_async
from memollm._types.durations import seconds_of
from memollm._types.public import public
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Hashable
    from datetime import timedelta

    from memollm._calls.engines import Holder, Place
    from memollm._draws.effects import Flow
    from memollm._spending.stats import Stats
    from memollm._upkeep.answers import AnswerCounts
    from memollm._upkeep.explain import Explanation

R = TypeVar("R")
D = TypeVar("D")

LEASE: Final = 600.0
"""Seconds for which a lookup holds its slot, where nobody says."""
WHY_NOT: Final = {
    "n": "say how many where you draw: door.draw(material, produce, n=5), or door.hold(material, n=5).",
    "ignore": "the material is all that there is; leave out of it what is not to count, or say key=.",
    "count": "what a draw is given makes one sample. For several at once, fill a hold: door.hold(material, n=5).",
    "batch": "each material is a call of its own. For a list of items, draw or hold each.",
    "gather": "what a draw is given makes one sample, and there is no list to gather.",
    "on_change": "no code is looked at; the version says when samples are outdated.",
    "cache": "a door is one of the cache that it was asked of. Without one: memollm.door(name, cache=...).",
    "similar": "a door compares nothing but the material.",
}
"""Why an option of `cached_llm` is none of a door."""


@public
class DoorOptions(TypedDict, total=False):
    """The options of a door besides its name, its version and the lease of lookups."""

    namespace: str | None
    pool: int | None
    key: Callable[[Any], Any] | None
    concurrency: int | None
    on_cancel: Literal["finish", "stop"] | None
    grace: float | timedelta | str | None
    accept: Callable[[Any], bool] | None
    on_stale: Literal["error", "miss"]
    on_store_error: Literal["warn", "raise"] | None
    ttl: float | timedelta | str | None
    mode: Literal["auto", "offline", "refresh", "readonly", "off"] | None
    usage: Callable[[Any], object] | None
    text: Callable[[Any], str] | None
    keep_arguments: bool | None


@public
class Door:
    """Draws of samples that are known by a name, a version and a material, whoever makes them.

    The material is keyed like the argument of a function. Everything else is the same as for a decorated function:
    readers, modes, lanes, budgets, and the promises.
    """

    def __init__(
        self,
        cache: Holder | Place | None,
        name: str,
        version: str | int,
        lease: float | timedelta | str,
        given: DoorOptions,
    ) -> None:
        for option in given:
            if option in WHY_NOT:
                raise OptionError(f"{option}: a door has no such option: {WHY_NOT[option]}")
            if option not in OPTIONS or option in {"name", "version"}:
                known = [*(each for each in OPTIONS if each not in WHY_NOT), "lease"]
                raise OptionError(f"A door has no option {option!r}{did_you_mean(option, known)}")
        self._lease = seconds_of("lease", lease)
        if self._lease <= 0:
            raise OptionError(f"lease={lease!r}: it must be longer than nothing.")
        self._made_of = (cache, name, version, lease, given)
        self._options = options_from({**given, "name": name, "version": version, "cache": cache})
        self._function, self._function_async = functions_of(self._options)

    def __repr__(self) -> str:
        cache, name, version, *_ = self._made_of
        place = f"{cache!r}." if hasattr(type(cache), "__memollm_engine__") else "memollm."
        return f"{place}door({name!r}, version={version!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Door, self._made_of)

    # A function that makes samples.

    @overload
    def draw(self, material: object, produce: Callable[[], R], n: None = None) -> R: ...
    @overload
    def draw(self, material: object, produce: Callable[[], R], n: int) -> list[R]: ...
    def draw(self, material: object, produce: Callable[[], Any], n: int | None = None) -> Any:
        """Draw a sample, or n of them as a list; `produce` is called for each that is missing, and makes one."""
        return call(DoorCall(self._function, _maker(produce), None, (material,), {}, _number(n)))

    @overload
    def adraw(
        self, material: object, produce: Callable[[], Awaitable[R]], n: None = None
    ) -> Coroutine[Any, Any, R]: ...
    @overload
    def adraw(self, material: object, produce: Callable[[], Awaitable[R]], n: int) -> Coroutine[Any, Any, list[R]]: ...
    def adraw(
        self, material: object, produce: Callable[[], Awaitable[Any]], n: int | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Draw so in a task, to be awaited; what `produce` returns is awaited, too."""
        return call_async(DoorCall(self._function_async, _maker(produce), None, (material,), {}, _number(n)))

    # A block that makes samples.

    def hold(self, material: object, n: int = 1) -> Hold:
        """Hold a draw of n samples in a block, `with door.hold(...) as held`, or `async with`.

        Where samples are missing, the block makes them: `held.missing` says how many, `held.fill(value)` takes one.
        What is not filled at the end of the block is released.
        """
        if n != 1:
            _number(n)
        return Hold(self._function, material, n)

    # Lookups and updates, which come in separate calls.

    @overload
    def lookup(self, material: object, default: None = None, *, caller: Hashable = None, wait: bool = True) -> Any: ...
    @overload
    def lookup(self, material: object, default: D, *, caller: Hashable = None, wait: bool = True) -> Any | D: ...
    def lookup(self, material: object, default: Any = None, *, caller: Hashable = None, wait: bool = True) -> Any:
        """Return a sample that is there; else hold its slot for an update, and return the default.

        The slot belongs to the running task, or else to this thread, or to a `caller` of any name. It waits for
        others that make the sample, unless its caller holds anything; with `wait=False` it never does.
        """
        request = Lookup(self._function, material, caller, wait)
        return self._found(request, looked(request), default)

    def alookup(
        self, material: object, default: Any = None, *, caller: Hashable = None, wait: bool = True
    ) -> Coroutine[Any, Any, Any]:
        """Look up so in a task, to be awaited."""
        return looked_async(
            lambda: Lookup(self._function, material, caller, wait),
            lambda request, found: self._found(request, found, default),
        )

    def _found(self, request: Lookup, found: Parked | list[Any] | None, default: Any) -> Any:
        if found is not None and not isinstance(found, Parked):
            return found[0]
        # What is held must not keep alive whose end releases it.
        caller, request.caller = request.caller, None
        if caller is not None and not request.plan.bare:
            caller.misses(request.call(), Missed(request, found), self._lease)
        return default

    def update(self, material: object, value: object, *, caller: Hashable = None) -> None:
        """Store the answer of a lookup that was a miss. Without one it takes the first vacant slot, as `put` does."""
        request = self._storing(material)
        bring(request, lambda: self._updating(request, value, caller))

    def aupdate(self, material: object, value: object, *, caller: Hashable = None) -> Coroutine[Any, Any, None]:
        """Do so in a task, to be awaited."""
        request = self._storing(material)
        return bring_async(request, lambda: self._updating(request, value, caller), _nothing)

    def abandon(self, material: object = ..., *, caller: Hashable = None) -> int:
        """Release what this caller holds, of a material or all, without waiting; return how much that was."""
        request = self._storing(None if material is ... else material)
        who = caller_in(request.plan.engine.lookups, caller)
        return who.leave(None if material is ... else request.call())

    def _storing(self, material: object) -> DoorCall:
        return DoorCall(self._function, bool, None, (material,), {})

    def _updating(self, request: DoorCall, value: Any, name: Hashable) -> Flow:
        caller = caller_in(request.plan.engine.lookups, name)
        if request.plan.bare and caller.is_idle():
            return
        missed = caller.updates(request.call(), request.plan.reader)
        parked: Parked | None = None if missed is None else missed.take()
        if missed is None:
            yield from request.placing(value).flow()
        elif parked is None:
            yield from missed.request.placing(value, missed).flow()
        else:
            yield from parked.answer(value)

    # What is stored.

    def peek(self, material: object) -> list[Any]:
        """Return the stored samples of a material, in order, without moving a cursor."""
        request = self._storing(material)
        found, store = request.looked_for()
        decode = request.plan.engine.codec.decode
        return [decode(sample.record, context=found.key) for sample in store.peek(found).values()]

    def tally(self, material: object) -> AnswerCounts:
        """Count equal answers among the stored samples of a material, the most frequent first."""
        return self._function.tally_of(self.peek(material))

    def put(self, material: object, value: object) -> bool:
        """Store a sample that was made elsewhere, in the first vacant slot; return whether there was one."""
        request = self._storing(material)
        return bool(bring(request, lambda: self._putting(request, value)))

    def aput(self, material: object, value: object) -> Coroutine[Any, Any, bool]:
        """Do so in a task, to be awaited."""
        request = self._storing(material)
        return bring_async(request, lambda: self._putting(request, value), bool)

    def _putting(self, request: DoorCall, value: Any) -> Flow:
        if not request.plan.bare:
            request.call()
        return request.placing(value, brought=True).flow()

    def key(self, material: object) -> str:
        """Return the key of a material, in hexadecimal."""
        return self._storing(material).looked_for()[0].key.hex()

    def explain(self, material: object) -> Explanation:
        """Print and return why a material hits or misses, and for a miss how the nearest stored ones differ."""
        from memollm._upkeep.explain import explain

        request = self._storing(material)
        found, store = request.looked_for()
        explanation = explain(store, found, request.form(), request.older(), request.differs())
        print(explanation)  # noqa: T201 - printing is what it is for
        return explanation

    def forget(self, material: object) -> int:
        """Remove the stored samples of a material, for all namespaces; return how many there were."""
        found, store = self._storing(material).looked_for()
        return keeping(store).forget(found)

    def clear(self) -> int:
        """Remove every stored sample of the door's name, of all versions; return how many there were."""
        function, engine = self._storing(None).placed()
        store = engine.existing
        return sum(keeping(store).forget(stored.call) for stored in looking(store).calls(function))

    def stats(self) -> Stats:
        """Tell what was drawn through the door, paid and saved, by namespace, over all processes."""
        from memollm._spending.stats import stats_of

        function, engine = self._storing(None).placed()
        counted = engine.counted().items()
        return stats_of({account: counts for account, counts in counted if account.function == function}, "namespace")


def door(
    name: str,
    *,
    version: str | int = "1",
    lease: float | timedelta | str = LEASE,
    cache: Holder | Place | None = None,
    **options: Unpack[DoorOptions],
) -> Door:
    """Draw without decorating, from the project's cache or the one that is named: as `Cache.door`."""
    return Door(cache, name, version, lease, options)


def _nothing(_: object) -> None:
    """Take no notice of what became of it."""


def _maker(produce: Any) -> Callable[[], Any]:
    if not callable(produce):
        raise OptionError(
            f"produce={type(produce).__name__}: a draw takes a function that makes a sample, as lambda: ask(...). "
            "To bring a sample that is made already: door.put(material, value)."
        )
    made: Callable[[], Any] = produce
    return made


def _number(n: int | None) -> int | None:
    if n is not None and (type(n) is not int or n < 1):
        raise OptionError(f"n={n!r}: it must be a whole number from 1 up.")
    return n
