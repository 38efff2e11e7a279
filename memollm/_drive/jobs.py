"""What a map consists of, without driving it: its options, what an item stands for, and how far it has come."""

from __future__ import annotations

import contextvars
import inspect
from collections.abc import AsyncIterable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from memollm._draws.scope import NOWHERE, scope
from memollm._types.public import public
from memollm._types.suggest import did_you_mean
from memollm._types.warn import remember_line
from memollm.errors import MemollmError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memollm._draws.engine import Engine
    from memollm._drive.progress import Tally
    from memollm._types.requests import Change

R = TypeVar("R")

THREADS: Final = 16
TASKS: Final = 64
"""How many items are under way where nobody says: of a plain function, and of a coroutine function."""
ON_ERROR: Final = ("raise", "return", "skip")


@public
class Mapped(NamedTuple, Generic[R]):
    """What came of an item: its number among the items, from 0, and what the call gave."""

    at: int
    result: R


@dataclass(slots=True)
class Outcome:
    """What came of one item."""

    index: int
    result: Any = None
    error: BaseException | None = None


# Items.


def only_parameter(function: Callable[..., Any]) -> inspect.Parameter | None:
    """Return the one parameter of a function that takes one argument and no more."""
    # Of a bound method it lacks the object, which is none of the item's business.
    parameters = list(inspect.signature(function).parameters.values())
    if len(parameters) != 1 or parameters[0].kind not in {
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
    }:
        return None
    return parameters[0]


def arguments_of(item: Any, only: inspect.Parameter | None) -> Any:
    """Return the arguments that an item stands for.

    A plain tuple is positional arguments, a plain dict keyword arguments, all else the first argument. Where a function
    takes one argument only, a tuple or dict that cannot be its arguments is that argument.
    """
    kind = kind_of(item)
    if kind == "tuple" and (only is None or len(item) == 1):
        return item, {}
    if kind == "dict" and (only is None or (only.kind is not only.POSITIONAL_ONLY and item.keys() == {only.name})):
        return (), item
    return (item,), {}


def kind_of(item: object) -> str:
    """Tell a plain tuple or dict from all else; a named tuple is a value."""
    name = type(item).__name__
    return name if type(item) in (tuple, dict) else ""


def require_items(items: object, *, is_async: bool) -> None:
    """Refuse what is no collection of items."""
    if isinstance(items, (str, bytes, bytearray, Mapping)):
        raise OptionError("map(...) takes many items, and one text or mapping looks like an item: give it as [item].")
    if hasattr(type(items), "itertuples"):
        raise OptionError(
            "map(...) of a data frame would take the names of its columns. Give its rows, as df.to_dict('records') for "
            "keyword arguments, or a column."
        )
    if isinstance(items, Iterable) or (is_async and isinstance(items, AsyncIterable)):
        return
    if isinstance(items, AsyncIterable):
        raise OptionError(
            "map(...) of a plain function takes no async iterator, which only a coroutine function can wait for. "
            "Collect the items first, or decorate an async def."
        )
    raise OptionError(f"map({items!r}): it takes a list, a generator or any other iterable of items.")


def require_options(*, concurrency: object, on_error: object, progress: object) -> None:
    """Refuse values that a map's options cannot have."""
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise OptionError(f"concurrency={concurrency!r}: it must be a whole number from 1 up.")
    if on_error not in ON_ERROR:
        raise OptionError(f"on_error={on_error!r}{did_you_mean(str(on_error), ON_ERROR)}")
    if progress is not None and type(progress) is not bool and not callable(progress):
        raise OptionError(f"progress={progress!r}: it must be True, False, or a function that is given a Progress.")


def length_of(items: Any) -> int | None:
    """Return how many items there are, where that is known."""
    try:
        return len(items)
    except TypeError:
        return None


# One map.


class Job:
    """One map, as it was asked for, and what has become of it so far."""

    def __init__(
        self,
        function: Callable[..., Any],
        request: Callable[[tuple[Any, ...], dict[str, Any]], Any],
        items: Any,
        *,
        concurrency: int,
        on_error: str,
        tally: Tally,
    ) -> None:
        self.items = items
        self.concurrency = concurrency
        self.context = contextvars.copy_context()
        """As it was where the map was asked for: draws begin in it, and calls run in copies of it."""
        self.context.run(remember_line)
        if tally.listens:
            here = scope.get() or NOWHERE
            self.context.run(scope.set, here._replace(watchers=(*here.watchers, tally)))
        self.failure: BaseException | None = None
        """What ends the map: nothing is begun any more."""
        self.tally = tally
        self.engine: Engine | None = None
        self._name = getattr(function, "__qualname__", None) or repr(function)
        self._only = only_parameter(function)
        self._request = request
        self._on_error = on_error
        self._undelivered: dict[int, list[Change]] = {}
        self._unread: dict[int, Callable[[], None]] = {}
        """What gives back to a replay what it gave for an item."""
        self._over = False

    def request(self, item: Any) -> Any:
        """Return the call that an item asks for."""
        args, kwargs = arguments_of(item, self._only)
        return self._request(args, kwargs)

    def explain(self, error: Exception, item: Any) -> None:
        """Say about an item that could not be bound how items are taken."""
        kind = {"tuple": "positional", "dict": "keyword"}.get(kind_of(item))
        if kind and isinstance(error, TypeError) and not isinstance(error, MemollmError):
            error.add_note(
                f"In {self._name}.map(...) a {kind_of(item)} stands for {kind} arguments; (item,) is the item itself."
            )

    def stands(self, outcome: Outcome) -> bool:
        """Count an outcome, and tell whether it stands among the results."""
        failed = outcome.error is not None
        self.tally.count(failed=failed)
        if outcome.error is None:
            return True
        if self._on_error == "raise" or not isinstance(outcome.error, Exception):
            if self.failure is None:
                self.failure = outcome.error
                self.failure.add_note(f"It was item {outcome.index} of {self._name}.map(...).")
            return False
        if self._on_error == "return":
            outcome.result = outcome.error
            return True
        return False

    # What was answered and has not reached the user goes back when the map ends badly (P3). Answers come from many
    # threads and the end may come from a garbage collection, so nothing here takes a lock: popping decides whose it is.

    def keep(self, index: int, changes: list[Change], engine: Engine) -> list[Change]:
        """Keep what undoes an answer; return it, for the caller to do, if the map is over and nobody will get it."""
        self.engine = engine
        self._undelivered[index] = changes
        return self._undelivered.pop(index, []) if self._over else []

    def keep_read(self, index: int, give_back: Callable[[], None]) -> None:
        """Keep what lets a replay give again what it gave for an item; done at once if nobody will get that."""
        self._unread[index] = give_back
        if self._over and self._unread.pop(index, None) is not None:
            give_back()

    def deliver(self, index: int) -> None:
        """Let the user have an answer."""
        self._undelivered.pop(index, None)
        self._unread.pop(index, None)

    def owing(self) -> bool:
        """Tell whether there is an answer that the user has not got."""
        return bool(self._undelivered or self._unread)

    def end(self) -> Iterator[Change]:
        """End the map, and give, one by one, what undoes the answers that the user did not get."""
        self._over = True
        return self._undoing()

    def _undoing(self) -> Iterator[Change]:
        while self._unread:
            with suppress(KeyError):
                self._unread.popitem()[1]()
        while self._undelivered:
            try:
                _, changes = self._undelivered.popitem()
            except KeyError:
                return
            yield from changes

    def leave(self) -> None:
        """End the map without waiting for anything."""
        changes = list(self.end())
        if self.engine is not None and changes:
            self.engine.owe(changes)
        self.tally.leave()

    def ended_well(self) -> None:
        """Let the user have everything."""
        self._undelivered.clear()
        self._unread.clear()
