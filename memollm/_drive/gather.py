"""The driver of gathering: single items, asked for by many tasks, are served by few calls of a batch function.

Like `_drive`, it may await. It stands between draws and the function; what is drawn and stored is each item's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple

from memollm._draws.effects import under
from memollm._draws.states import require_aligned
from memollm._drive.calls import Part, listed
from memollm._spending.accounts import Told, Toll, joined
from memollm._types.locks import ForkedLock
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence


class Task(NamedTuple):
    """The function that serves items."""

    function: Callable[[list[Any]], Awaitable[Any]]
    name: str
    toll: Callable[[float, Any, Sequence[Any]], Told]
    """Finds out what a call took, given its seconds, what it returned, and its results."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """How single items of a batch function are put together: so many a call, after waiting for others for so long."""

    max_size: int = 64
    max_wait: float = 0.01
    """Seconds."""

    def __post_init__(self) -> None:
        if type(self.max_size) is not int or self.max_size < 1:
            raise OptionError(f"max_size={self.max_size!r}: it must be a whole number from 1 up.")
        if type(self.max_wait) not in {int, float} or not 0 <= self.max_wait < float("inf"):
            raise OptionError(f"max_wait={self.max_wait!r}: it must be a number of seconds from 0 up.")


class Served(NamedTuple):
    """The result for an item, and its part of what the call took."""

    result: Any
    toll: Toll
    failure: Exception | None
    """See `Told.failure`."""


@dataclass(slots=True)
class _Group:
    """Items that wait to be served by one call, and who waits for each."""

    task: Task
    context: contextvars.Context
    timer: asyncio.TimerHandle
    items: list[Any] = field(default_factory=list[Any])
    waiting: list[asyncio.Future[Served]] = field(default_factory=list["asyncio.Future[Served]"])
    tickets: dict[int, None] = field(default_factory=dict[int, None])


class Gatherer:
    """The items of one function that wait, in each event loop by itself."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._lock = ForkedLock()
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Group]] = (
            weakref.WeakKeyDictionary()
        )
        self._under_way: set[asyncio.Task[None]] = set()

    async def results(self, like: Hashable, task: Task, items: list[Any]) -> Part:
        """Have items served, together with those of other tasks that are `like` them in all else."""
        waiting = [self._put(like, task, item) for item in items]
        served = [await waiting[0]] if len(waiting) == 1 else await asyncio.gather(*waiting)
        told = Told(joined([each.toll for each in served]), served[0].failure)
        return Part([each.result for each in served], told)

    def _put(self, like: Hashable, task: Task, item: Any) -> asyncio.Future[Served]:
        loop = asyncio.get_running_loop()
        with self._lock:
            groups = self._of_loops.setdefault(loop, {})
        group = groups.get(like)
        if group is None:
            timer = loop.call_later(self._gather.max_wait, self._launch, groups, like)
            group = groups[like] = _Group(task, contextvars.copy_context(), timer)
        future: asyncio.Future[Served] = loop.create_future()
        group.items.append(item)
        group.waiting.append(future)
        group.tickets.update(dict.fromkeys(under.get()))
        if len(group.items) >= self._gather.max_size:
            self._launch(groups, like)
        return future

    def _launch(self, groups: dict[Hashable, _Group], like: Hashable) -> None:
        group = groups.pop(like)
        group.timer.cancel()
        served = [pair for pair in zip(group.items, group.waiting, strict=True) if not pair[1].done()]
        if not served:
            return
        # Whose item it serves, the call runs inside: one of these draws asked for again would wait for itself.
        group.context.run(under.set, tuple(group.tickets))
        task = asyncio.get_running_loop().create_task(_serve(group, served), context=group.context)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        _cancel_when_unwanted(task, [future for _, future in served])


async def _serve(group: _Group, served: list[tuple[Any, asyncio.Future[Any]]]) -> None:
    task, begin = group.task, perf_counter()
    try:
        returned = await task.function([item for item, _ in served])
        seconds = perf_counter() - begin
        results = listed(returned, task.name)
        require_aligned(task.name, len(served), len(results))
        toll, failure = task.toll(seconds, returned, results)
    except asyncio.CancelledError:
        for _, future in served:
            future.cancel()
    except BaseException as error:
        for _, future in served:
            if not future.done():
                future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        given = [(future, result) for (_, future), result in zip(served, results, strict=True) if not future.done()]
        # Who has gone takes no part of what the call took, so the others take all of it.
        for (future, result), share in zip(given, toll.shares(len(given)) if given else (), strict=True):
            future.set_result(Served(result, share, failure))


def _cancel_when_unwanted(task: asyncio.Task[None], waiting: list[asyncio.Future[Any]]) -> None:
    """Cancel the call when all who waited for it have gone."""

    def gone(_: asyncio.Future[Any]) -> None:
        if all(future.cancelled() for future in waiting):
            task.cancel()

    for future in waiting:
        future.add_done_callback(gone)
