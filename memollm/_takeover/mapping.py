"""From an old key to a call: by a function of the user's, or by the position of the arguments in the key."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, TypeGuard

from memollm._calls.typing import Cached
from memollm._takeover.sources import is_list
from memollm._types.secret import said_by, veiled
from memollm.errors import MemollmError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._takeover.sources import Old

THREE, FOUR = 3, 4


class Target(NamedTuple):
    """The call that an old entry becomes, and its answers."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    answers: list[Any]


class Unmapped(MemollmError):
    """An old key that cannot be turned into a call."""


def is_tuple(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Tell whether a value is a tuple, of whatever."""
    return isinstance(value, tuple)


def by_function(mapping: Callable[[Any, Any], Any], old: Old) -> Target | None:
    """Ask the user's function; None leaves an entry out, and a fourth element takes the value's place."""
    try:
        said: Any = mapping(old.key, old.value)
    except Exception as error:
        raise OptionError(
            f"map raised {type(error).__name__}: {said_by(error)} (for the key {_shown(old.key)})."
        ) from error
    if said is None:
        return None
    if not is_tuple(said) or len(said) not in {THREE, FOUR}:
        raise OptionError(
            f"map returned {_shown(said)}: it must return (function, args, kwargs), with the value as a fourth, "
            "or None."
        )
    function, args, kwargs, *value = said
    answers = old.answers
    if value:
        answers = _several(value[0]) if old.value is old.answers else value
    return Target(require_decorated(function), tuple(args), dict(kwargs), list(answers))


def _several(value: object) -> list[Any]:
    """Return what takes the place of a list of answers; a text would be taken for its letters."""
    if not is_list(value):
        raise OptionError(
            f"map returned {_shown(value)} as the fourth element: this cache keeps a list of answers for each key, so "
            "it must be a list."
        )
    return value


def by_position(function: Any, old: Old, name: str | None = None) -> Target | None:
    """Take the arguments from the key: as `diskcache.memoize` lays them out, a tuple, or the one argument.

    With a name, what `memoize(name=...)` has kept of it is taken, and all else left out.
    """
    key = old.key
    if name is not None:
        is_its = is_tuple(key) and key[:1] == (name,)
        return Target(function, *unmemoized(function, key[1:]), old.answers) if is_its else None
    if not is_tuple(key):
        return Target(function, (key,), {}, old.answers)
    if is_memoized(function, key):
        return Target(function, *unmemoized(function, key[1:]), old.answers)
    if key and isinstance(key[0], str) and _readings(function, key[1:]):
        raise Unmapped(
            f"the key {_shown(key)} may be positional arguments of {function.__name__}, and may be what "
            f"diskcache.memoize has kept of a function named {key[0]!r}: if so, say --name (name=)"
        )
    return Target(function, key, {}, old.answers)


def is_memoized(function: Any, key: tuple[Any, ...]) -> bool:
    """Tell whether a key begins with the function's full name, as `diskcache.memoize` writes it."""
    name = key[0] if key else None
    return isinstance(name, str) and None in key and name.endswith("." + function.__wrapped__.__name__)


def unmemoized(function: Any, key: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Find where the positional arguments end: at a None, behind which names and values stand in turns.

    Where a None among the arguments lets a key be read in two ways, it is refused.
    """
    found = _readings(function, key)
    if len(found) != 1:
        how = "in several ways" if found else "in no way"
        raise Unmapped(f"the key {_shown(key)} can be read as arguments of {function.__name__} {how}")
    return found[0]


def _readings(function: Any, key: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Return every way in which a key without its name can be read; the types of `typed=True` tell nothing more."""
    plain = key
    while plain and isinstance(plain[-1], type):
        plain = plain[:-1]
    signature = inspect.signature(function.__wrapped__)
    return [
        (args, kwargs)
        for at, item in enumerate(plain)
        if item is None and (kwargs := _paired(plain[at + 1 :])) is not None
        for args in [plain[:at]]
        if _binds(signature, args, kwargs)
    ]


def _paired(items: tuple[Any, ...]) -> dict[str, Any] | None:
    names = items[::2]
    if len(items) % 2 or not all(isinstance(name, str) for name in names):
        return None
    return dict(zip(names, items[1::2], strict=True))


def _binds(signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    try:
        signature.bind(*args, **kwargs)
    except TypeError:
        return False
    return True


def require_decorated(function: Any) -> Any:
    """Refuse what is no decorated function whose samples are whole answers of one call."""
    decorated: Any = function
    if not isinstance(function, Cached):
        raise OptionError(
            f"{veiled(repr(function))} is not decorated with cached_llm, so it has no samples. Decorate it first."
        )
    its = decorated._self_function  # noqa: SLF001 - it is ours
    if its.kind.streams or its.options.batch is not None:
        raise OptionError(
            f"{its.name} is a generator function or takes a batch; answers of other caches become samples of plain "
            "and coroutine functions."
        )
    return decorated


def _shown(value: Any) -> str:
    text = veiled(repr(value))
    return text if len(text) <= 80 else f"{text[:79]}…"  # noqa: PLR2004 - a line's width
