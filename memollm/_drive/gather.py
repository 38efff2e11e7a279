"""The driver of gathering: single items, asked for by many tasks, are served by few calls of a batch function.

It stands between draws and the function; what is drawn and stored is each item's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._draws.amiss import not_aligned
from memollm._draws.waits import under
from memollm._drive.calls import Portion, listed
from memollm._drive.flying import airborne
from memollm._drive.turns import A_PASS, outlast, turns
from memollm._spending.accounts import Told, Toll, joined
from memollm._spending.meter import Meter, metering
from memollm._types.locks import ForkedLock
from memollm._types.public import public
from memollm.errors import OptionError, WrongNumber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from memollm._draws.waits import Making
    from memollm._drive.flying import Airborne
    from memollm.stores.flights import Signal

BURST: Final = 0.1
"""Seconds at most for which a call waits besides, while a burst of draws is being taken in."""


class Server(NamedTuple):
    """The function that serves items."""

    function: Callable[[list[Any]], Awaitable[Any]]
    name: str
    told: Callable[..., Told]
    """Finds out what a call took, given its seconds, what it returned, and its results."""
    ready: Signal
    """That what this needs is loaded."""


@public
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


class Helping(NamedTuple):
    """The result for an item, and its part of what the call took."""

    result: Any
    toll: Toll
    failure: Exception | None
    """Where warnings are errors, the one to raise when the answers are kept."""


@dataclass(slots=True)
class _Group:
    """Items that wait to be served by one call, and who waits for each."""

    server: Server
    context: contextvars.Context
    timer: asyncio.TimerHandle
    items: list[Any] = field(default_factory=list[Any])
    waiting: list[asyncio.Future[Helping]] = field(default_factory=list["asyncio.Future[Helping]"])
    airborne: list[Airborne | None] = field(default_factory=list["Airborne | None"])
    makings: dict[Making, None] = field(default_factory=dict["Making", None])


class Gatherer:
    """The items of one function that wait, in each event loop by itself."""

    def __init__(self, gather: Gather) -> None:
        self._gather = gather
        self._lock = ForkedLock()
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Hashable, _Group]] = (
            weakref.WeakKeyDictionary()
        )
        self._under_way: set[asyncio.Task[None]] = set()

    async def results(self, like: Hashable, server: Server, items: list[Any]) -> Portion:
        """Have items served, together with those of other tasks that are `like` them in all else."""
        one = airborne.get()
        if one is not None:
            one.has_begun = False
        waiting = [self._put(like, server, item, one) for item in items]
        served = [await waiting[0]] if len(waiting) == 1 else await asyncio.gather(*waiting)
        told = Told(joined([each.toll for each in served]), served[0].failure)
        return Portion([each.result for each in served], told)

    def _put(self, like: Hashable, server: Server, item: Any, one: Airborne | None) -> asyncio.Future[Helping]:
        loop = asyncio.get_running_loop()
        with self._lock:
            groups = self._of_loops.get(loop)
            if groups is None:
                self._forget_closed()
                groups = self._of_loops.setdefault(loop, {})
        group = groups.get(like)
        if group is None:
            timer = loop.call_later(self._gather.max_wait, self._due, groups, like, loop.time() + BURST)
            group = groups[like] = _Group(server, contextvars.copy_context(), timer)
        future: asyncio.Future[Helping] = loop.create_future()
        group.items.append(item)
        group.waiting.append(future)
        group.airborne.append(one)
        group.makings.update(dict.fromkeys(under.get()))
        if len(group.items) >= self._gather.max_size:
            self._launch(groups, like)
        return future

    def _due(self, groups: dict[Hashable, _Group], like: Hashable, at_last: float) -> None:
        """Launch, unless others that were asked for already have still to come."""
        loop = asyncio.get_running_loop()
        if turns().is_bursting and loop.time() < at_last:
            groups[like].timer = loop.call_later(A_PASS, self._due, groups, like, at_last)
        else:
            self._launch(groups, like)

    def _forget_closed(self) -> None:
        """Let go of loops that ended while items waited: what waits there keeps its loop, and will never be served."""
        for loop in [loop for loop in self._of_loops if loop.is_closed()]:
            del self._of_loops[loop]
        self._under_way -= {task for task in list(self._under_way) if task.get_loop().is_closed()}

    def _launch(self, groups: dict[Hashable, _Group], like: Hashable) -> None:
        group = groups.pop(like)
        group.timer.cancel()
        served = [pair for pair in zip(group.items, group.waiting, strict=True) if not pair[1].done()]
        if not served:
            return
        for one in group.airborne:
            if one is not None:
                one.has_begun = True
        # Whose item it serves, the call runs inside: one of these draws asked for again would wait for itself.
        group.context.run(under.set, tuple(group.makings))
        task = asyncio.get_running_loop().create_task(_serve(group, served), context=group.context)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        _cancel_when_unwanted(task, [future for _, future in served])


async def _serve(group: _Group, served: list[tuple[Any, asyncio.Future[Any]]]) -> None:
    server, meter, begin = group.server, Meter(), perf_counter()
    metering.set(meter)
    try:
        returned = await server.function([item for item, _ in served])
        seconds = perf_counter() - begin
        results = listed(returned, server.name)
        if len(results) != len(served):
            raise WrongNumber(not_aligned(server.name, len(served), len(results)))  # noqa: TRY301 - told to all who wait
        await outlast(server.ready)
        toll, failure = server.told(seconds, returned, results, noted=meter.notes)
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
            future.set_result(Helping(result, share, failure))


def _cancel_when_unwanted(task: asyncio.Task[None], waiting: list[asyncio.Future[Any]]) -> None:
    """Cancel the call when all who waited for it have gone."""

    def gone(_: asyncio.Future[Any]) -> None:
        if all(future.cancelled() for future in waiting):
            task.cancel()

    for future in waiting:
        future.add_done_callback(gone)
