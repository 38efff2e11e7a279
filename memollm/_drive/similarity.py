"""The drivers of looking for similar calls: before the function runs, in its own colour, in its flight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._drive.calls import in_own_thread
from memollm._similar.matcher import AskUser
from memollm._spending.meter import metering
from memollm._types.hiding import hides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memollm._similar.matcher import Search, SearchWork

__tracebackhide__ = hides


def lent_or_made(search: Search, make: Callable[[], Any]) -> Any:
    """Return what a similar call lends, or what the function makes."""
    lent = _found(search)
    if lent is not None:
        return lent
    _begin_anew()
    return make()


def _found(search: Search) -> Any:
    failure: Exception | None = None
    answer: Any = None
    while True:
        try:
            step = search.send(answer) if failure is None else search.throw(failure)
        except StopIteration as end:
            return end.value
        answer = failure = None
        try:
            answer = _done(step)
        except Exception as error:  # noqa: BLE001 - the search decides
            failure = error


def _done(step: AskUser | SearchWork) -> Any:
    return step.memo.call(*step.arguments) if isinstance(step, AskUser) else step.work()


async def lent_or_made_async(search: Search, make: Callable[[], Awaitable[Any]]) -> Any:
    """Return what a similar call lends, or what the function makes; nothing of it blocks the event loop."""
    lent = await _found_async(search)
    if lent is not None:
        return lent
    _begin_anew()
    return await make()


async def _found_async(search: Search) -> Any:
    failure: Exception | None = None
    answer: Any = None
    while True:
        try:
            step = search.send(answer) if failure is None else search.throw(failure)
        except StopIteration as end:
            return end.value
        answer = failure = None
        try:
            answer = await _done_async(step)
        except Exception as error:  # noqa: BLE001 - the search decides
            failure = error


async def _done_async(step: AskUser | SearchWork) -> Any:
    if isinstance(step, AskUser) and step.memo.is_async:
        return await step.memo.call_async(*step.arguments)
    return await in_own_thread(lambda: _done(step))


async def read_from(awaited: Awaitable[Any], read: Callable[[Any], Any]) -> Any:
    """Wait for what a user's function returns, and read it."""
    return read(await awaited)


def _begin_anew() -> None:
    """Let the time of the call begin now: what the search took is no time of the function's."""
    meter = metering.get()
    if meter is not None:
        meter.begin_anew()
