"""What calling a function gives: a result, a coroutine, a generator or an async generator."""

from __future__ import annotations

import functools
import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable


RUNNERS: Final = frozenset({"run", "run_until_complete", "run_coroutine_threadsafe", "run_sync", "result", "start"})
"""What a function calls that runs a coroutine to its end."""


class Kind(Enum):
    """The colours of functions."""

    PLAIN = "plain"
    COROUTINE = "coroutine"
    STREAM = "stream"
    STREAM_ASYNC = "async stream"

    @property
    def streams(self) -> bool:
        """Whether a call gives chunks."""
        return self in {Kind.STREAM, Kind.STREAM_ASYNC}


def kind_of(function: Callable[..., Any]) -> Kind:
    """Tell what a call gives; also for class and static methods, partials and objects that are called."""
    function = getattr(function, "__func__", function)
    while isinstance(function, functools.partial):
        function = function.func
    for each in (function, getattr(function, "__call__", None)):  # noqa: B004 - the method is what is asked about
        if inspect.iscoroutinefunction(each):
            return Kind.COROUTINE
        if inspect.isgeneratorfunction(each):
            return Kind.STREAM
        if inspect.isasyncgenfunction(each):
            return Kind.STREAM_ASYNC
    return Kind.COROUTINE if _passes_on_a_coroutine(function) else Kind.PLAIN


def _passes_on_a_coroutine(wrapper: Callable[..., Any]) -> bool:
    """Tell whether a plain function wraps a coroutine function and returns its coroutine, instead of running it."""
    inner = inspect.unwrap(wrapper)
    code = getattr(wrapper, "__code__", None)
    return (
        inner is not wrapper
        and inspect.iscoroutinefunction(inner)
        and code is not None
        and RUNNERS.isdisjoint(code.co_names)
    )
