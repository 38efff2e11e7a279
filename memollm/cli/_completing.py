"""What a shell completes: names out of the cache. Whatever goes wrong, it completes nothing and says nothing."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from memollm.stores.documents import notes_of
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable

    import click

    from memollm._cache import Cache


def _complete(context: click.Context, begun: str, names: Callable[[Cache], list[str]]) -> list[str]:
    from memollm.cli._opening import existing_cache

    # A shell shows an error in the middle of the line that is being typed.
    with suppress(Exception), context.scope(cleanup=False), existing_cache() as cache:
        return [name for name in names(cache) if name.startswith(begun)]
    return []


def function_names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a function."""
    return _complete(context, begun, _functions)


def _functions(cache: Cache) -> list[str]:
    return sorted({str(entry["name"]) for entry in notes_of(cache.store, "function").values()})


def namespace_names(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the name of a namespace."""
    return _complete(context, begun, lambda cache: [namespace.name for namespace in cache.namespaces()])


def keys(context: click.Context, _parameter: click.Parameter, begun: str) -> list[str]:
    """Complete the key of a call, once it is begun: a large cache has more than anybody would look through."""
    if not begun:
        return []
    return _complete(context, begun, lambda cache: [each.call.key.hex() for each in looking(cache.store).survey()])
