"""Finding what a user names: calls by the beginning of their key, functions by name."""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.suggest import did_you_mean
from memollm._types.tables import counted
from memollm.errors import OptionError
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._cache import Cache
    from memollm._types.listings import Surveyed

SHORT: Final = 10
"""How many digits of a key are shown where there is little room."""
HEX: Final = frozenset(string.hexdigits)
FEW: Final = 3


class Described(NamedTuple):
    """A call as its canonical form describes it."""

    version: str | None
    arguments: dict[str, Any] | None
    """None where only a digest of them was kept."""

    def __str__(self) -> str:
        if self.arguments is None:
            return "(not kept: keep_arguments=False)"
        return ", ".join(f"{name}={compact(value)}" for name, value in self.arguments.items())


def compact(value: object) -> str:
    """Write an argument on one line."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply to be shown)"


def described(form: str) -> Described:
    """Read a canonical form."""
    try:
        document: dict[str, Any] = json.loads(form)
        version, arguments = str(document["function"]["version"]), document["arguments"]
    except (ValueError, TypeError, KeyError, RecursionError):
        # A digest, or what a program of its own put into the store.
        return Described(None, None)
    return Described(version, arguments if isinstance(arguments, dict) else None)


def find_calls(cache: Cache, beginning: str) -> list[Surveyed]:
    """Find the call whose key begins so; there are several only if their hashes are equal."""
    wanted = beginning.strip().lower()
    if not wanted or not set(wanted) <= HEX:
        raise OptionError(f"{beginning!r} is no key: a key is hexadecimal digits, as `memollm ls` shows them.")
    found = [each for each in looking(cache.store).survey() if each.call.key.hex().startswith(wanted)]
    keys = {each.call.key.hex() for each in found}
    if not found:
        raise OptionError(f"no stored call has a key that begins with {wanted!r}. `memollm ls` lists them.")
    if len(keys) > 1:
        some = ", ".join(key[: len(wanted) + FEW] for key in sorted(keys)[:FEW])
        raise OptionError(f"{wanted!r} begins the keys of {counted(len(keys), 'call')} ({some} …). Give more digits.")
    return found


def require_namespace(cache: Cache, name: str) -> None:
    """Refuse the name of a namespace that has not drawn."""
    known = [each.name for each in cache.namespaces()]
    if name not in known:
        raise OptionError(f"the cache has no namespace {name!r}{did_you_mean(name, known)}")


def require_function(cache: Cache, name: str | None) -> None:
    """Refuse the name of a function that nothing is known of."""
    if name is not None and name not in (known := function_names(cache)):
        raise OptionError(f"the cache knows no function {name!r}{did_you_mean(name, known)}")


def function_names(cache: Cache) -> Sequence[str]:
    """Name every function that the cache knows, in order."""
    noted = {str(entry["name"]) for entry in notes_of(cache.store, "function").values()}
    return sorted(noted | {item.function for item in looking(cache.store).inventory()})
