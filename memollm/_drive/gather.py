"""The driver of gathering: what many tasks ask for, items of a batch or samples of a call, is served by few calls.

It stands between draws and the function; what is drawn and stored is each draw's own.
"""

from __future__ import annotations

import asyncio
import contextvars
import weakref
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._draws.amiss import not_aligned, wrong_number
from memollm._draws.waits import under
from memollm._drive.calls import Portion, listed
from memollm._drive.flying import airborne
from memollm._drive.turns import A_PASS, outlast, turns
from memollm._spending.accounts import NO_PART, Told, Toll, joined
from memollm._spending.meter import Meter, metering
from memollm._types.locks import ForkedLock
from memollm._types.public import public
from memollm.errors import OptionError, WrongNumber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

    from memollm._draws.waits import Making
    from memollm._drive.flying import Airborne
    from memollm.stores.flights import Signal

ITEMS: Final = (64, 0.01)
SAMPLES: Final = (8, 0.0)
"""How many items or samples a call serves at most, and how long the first waits, where nobody says."""
BURST: Final = 0.1
"""Seconds at most for which a call waits besides, while a burst of draws is being taken in."""


MISSING: Final = object()
"""In place of a sample that a call was asked for and did not return."""


class Server(NamedTuple):
    """The function that serves items."""

    function: Callable[[list[Any]], Awaitable[Any]]
    name: str
    aligned: bool
    """The results belong to different items, each by its place; else they are samples, of which any will do."""
    told: Callable[..., Told]
    """Finds out what a call took, given its seconds, what it returned, and its results."""
    ready: Signal
    """That what this needs is loaded."""


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Gather:
    """How draws of several tasks are put together: so many items or samples a call, after waiting for so long.

    max_size  items a call of a `batch` function (64), or samples a request of a `count` function (8)
    max_wait  seconds that the first waits for others: 0.01 for a batch, and 0 for samples of one call
    joins     samples that are wanted while a request for the same call is in flight share the next one
    waves     whatever is wanted while any request of the function is in flight goes out when the last has landed, so
              that more of it can be put together: the fewest requests, for latency
    """

    max_size: int | None = None
    max_wait: float | None = None
    joins: bool = False
    waves: bool = False

    def __post_init__(self) -> None:
        if self.max_size is not None and (type(self.max_size) is not int or self.max_size < 1):
            raise OptionError(f"max_size={self.max_size!r}: it must be a whole number from 1 up.")
        if self.max_wait is not None and not (
            type(self.max_wait) in {int, float} and 0 <= self.max_wait < float("inf")
        ):
            raise OptionError(f"max_wait={self.max_wait!r}: it must be a number of seconds from 0 up.")
        for name in ("joins", "waves"):
            if type(getattr(self, name)) is not bool:
                raise OptionError(f"{name}={getattr(self, name)!r}: it must be True or False.")


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
    meters: dict[asyncio.Future[Helping], Meter | None] = field(
        default_factory=dict["asyncio.Future[Helping]", "Meter | None"]
    )
    """Of the draws that wait."""
    makings: dict[Making, None] = field(default_factory=dict["Making", None])
    """What the call runs inside: of each draw its own, and what that was asked inside."""
    own: set[Making] = field(default_factory=set["Making"])
    is_due: bool = False
    """Nothing but a call in flight keeps it waiting."""
    is_inside: bool = False
    """A call that is under way asks for some of it, and must not wait for itself to land."""


class _Hall:
    """The groups that wait in one event loop, and how many calls for those that are like them are in flight."""

    def __init__(self) -> None:
        self.groups: dict[Hashable, _Group] = {}
        self.in_flight: Counter[Hashable] = Counter()
        self.served: Counter[Making] = Counter()
        """By draw: how many calls in flight serve it."""


class Gatherer:
    """What waits for the calls of one function, in each event loop by itself."""

    def __init__(self, gather: Gather | None, *, of_samples: bool) -> None:
        """Of samples, a draw is not divided where nobody has said how many may be in a request."""
        gather, most, wait = gather or Gather(), *(SAMPLES if of_samples else ITEMS)
        wait = ITEMS[1] if gather.waves else wait
        self._max_size = gather.max_size or most
        self._max_wait = wait if gather.max_wait is None else gather.max_wait
        self._joins, self._waves = gather.joins, gather.waves
        self._divides = not of_samples or gather.max_size is not None
        self._lock = ForkedLock()
        self._of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Hall] = weakref.WeakKeyDictionary()
        self._under_way: set[asyncio.Task[None]] = set()

    async def results(self, like: Hashable, server: Server, items: list[Any]) -> Portion:
        """Have items served, together with those of other tasks that are `like` them in all else."""
        one, meter = airborne.get(), metering.get()
        if one is not None:
            one.has_begun = False
        if meter is not None:
            # From here on it is the common call that takes time.
            meter.stop()
        hall = self._hall()
        if not self._divides and like in hall.groups:
            self._launch_if(hall, like, len(hall.groups[like].items) + len(items) > self._max_size)
        waiting: list[asyncio.Future[Helping]] = []
        for item in items:
            waiting.append(self._put(hall, like, server, item, one, meter))
            group = hall.groups[like]
            is_due = group.is_due and group.is_inside
            self._launch_if(hall, like, is_due or (self._divides and len(group.items) >= self._max_size))
        self._launch_if(hall, like, like in hall.groups and len(hall.groups[like].items) >= self._max_size)
        served = await _answers(waiting, keeps=not server.aligned or all(item is items[0] for item in items))
        return Portion([each.result for each in served if each.result is not MISSING], _told(served, waiting, meter))

    def _hall(self) -> _Hall:
        loop = asyncio.get_running_loop()
        with self._lock:
            hall = self._of_loops.get(loop)
            if hall is None:
                self._forget_closed()
                hall = self._of_loops.setdefault(loop, _Hall())
            return hall

    def _put(  # noqa: PLR0917 - what it keeps of a draw
        self, hall: _Hall, like: Hashable, server: Server, item: Any, one: Airborne | None, meter: Meter | None
    ) -> asyncio.Future[Helping]:
        loop = asyncio.get_running_loop()
        group = hall.groups.get(like)
        if group is None:
            timer = loop.call_later(self._max_wait, self._due, hall, like, loop.time() + BURST)
            group = hall.groups[like] = _Group(server, contextvars.copy_context(), timer)
        future: asyncio.Future[Helping] = loop.create_future()
        group.items.append(item)
        group.waiting.append(future)
        group.airborne.append(one)
        group.meters[future] = meter
        *outer, own = under.get()
        group.makings.update(dict.fromkeys([*outer, own]))
        group.own.add(own)
        group.is_inside |= any(making in hall.served for making in outer)
        return future

    def _due(self, hall: _Hall, like: Hashable, at_last: float) -> None:
        """Launch, unless others that were asked for already have still to come."""
        loop, group, here = asyncio.get_running_loop(), hall.groups[like], turns()
        if (here.is_bursting or here.coming) and loop.time() < at_last:
            later = A_PASS if here.is_bursting else 0.0
            group.timer = loop.call_later(later, self._due, hall, like, at_last)
        elif not group.is_inside and self._awaits(hall, like):
            group.is_due = True
        else:
            for each in [*hall.groups] if self._waves else [like]:
                self._launch(hall, each)

    def _awaits(self, hall: _Hall, like: Hashable) -> bool:
        """Tell whether a request in flight is to land first."""
        return bool(hall.in_flight) if self._waves else self._joins and like in hall.in_flight

    def _forget_closed(self) -> None:
        """Let go of loops that ended while items waited: what waits there keeps its loop, and will never be served."""
        for loop in [loop for loop in self._of_loops if loop.is_closed()]:
            del self._of_loops[loop]
        self._under_way -= {task for task in list(self._under_way) if task.get_loop().is_closed()}

    def _launch_if(self, hall: _Hall, like: Hashable, is_full: bool) -> None:  # noqa: FBT001 - the name says what it is
        if is_full:
            self._launch(hall, like)

    def _launch(self, hall: _Hall, like: Hashable) -> None:
        group = hall.groups.pop(like)
        group.timer.cancel()
        served = [pair for pair in zip(group.items, group.waiting, strict=True) if not pair[1].done()]
        if not served:
            return
        for one in group.airborne:
            if one is not None:
                one.has_begun = True
        # Whose item it serves, the call runs inside: one of these draws asked for again would wait for itself.
        group.context.run(under.set, tuple(group.makings))
        group.context.run(airborne.set, None)
        hall.in_flight[like] += 1
        hall.served.update(group.own)
        task = asyncio.get_running_loop().create_task(_serve(group, served), context=group.context)
        self._under_way.add(task)
        task.add_done_callback(lambda task: self._landed(hall, like, group, task))
        _cancel_when_unwanted(task, [future for _, future in served])

    def _landed(self, hall: _Hall, like: Hashable, landed: _Group, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        hall.in_flight[like] -= 1
        hall.served -= Counter(landed.own)
        if hall.in_flight[like]:
            return
        del hall.in_flight[like]
        due = [each for each, group in hall.groups.items() if group.is_due and not self._awaits(hall, each)]
        if self._waves and due:
            # Whoever has just got an answer may want more at once, and that belongs to this wave.
            loop, group = asyncio.get_running_loop(), hall.groups[due[0]]
            group.timer = loop.call_later(self._max_wait, self._due, hall, due[0], loop.time() + BURST)
        elif like in due:
            self._launch(hall, like)


async def _answers(waiting: list[asyncio.Future[Helping]], *, keeps: bool) -> list[Helping]:
    """Wait for all; who is cancelled when the answers are there takes them, since they are paid for and to be kept.

    Samples of one call that a request has made are kept also where another fails, which is raised then.
    """
    try:
        if len(waiting) == 1:
            return [await waiting[0]]
        await asyncio.gather(*waiting, return_exceptions=keeps)
    except asyncio.CancelledError:
        if not all(each.done() and not each.cancelled() for each in waiting):
            raise
    if not keeps or all(each.cancelled() or each.exception() for each in waiting):
        return [each.result() for each in waiting]
    return [_helped(each) for each in waiting]


def _told(served: list[Helping], waiting: list[asyncio.Future[Helping]], meter: Meter | None) -> Told:
    """Return what a draw has to pay: its parts of the calls that served it, and the time of those that failed."""
    tolls = [each.toll for each in served if each.toll is not NO_PART]
    failed = any(each.exception() for each in waiting)
    if failed and meter is not None:
        tolls.append(Toll(0, round(meter.seconds, 6), cost=0.0))
    failure = next((each.failure for each in served if each.failure is not None), None)
    return Told(joined(tolls), failure, (meter.failed or 0) if failed and meter is not None else int(failed))


def _helped(answer: asyncio.Future[Helping]) -> Helping:
    """Return an answer, or in its place that there is none, and why."""
    failure = answer.exception()
    if failure is None:
        return answer.result()
    if not isinstance(failure, Exception):
        raise failure
    return Helping(MISSING, NO_PART, failure)


async def _serve(group: _Group, served: list[tuple[Any, asyncio.Future[Any]]]) -> None:
    server, meter = group.server, Meter()
    try:
        # Before the call: between its return and its answers nothing is waited for, where the loop could end.
        await outlast(server.ready)
        with meter:
            returned = await server.function([item for item, _ in served])
            results, wrong = _results(server, returned, len(served))
        told = server.told(meter, returned, results)
    except asyncio.CancelledError:
        for _, future in served:
            future.cancel()
    except BaseException as error:
        here = [future for _, future in served if not future.done()]
        for future in here:
            if (its := group.meters[future]) is not None:
                its.seconds += meter.seconds / len(here)
                # One request has failed, however many draws shared it.
                its.failed = (its.failed or 0) + int(future is here[0])
            future.set_exception(error)
        if not isinstance(error, Exception):
            raise
    else:
        _give([future for _, future in served], results, told.toll, wrong or told.failure)


def _results(server: Server, returned: Any, asked: int) -> tuple[list[Any], WrongNumber | None]:
    """Return the results of a call; of samples, those that there are, and what is wrong with their number."""
    try:
        results = listed(returned, server.name)
    except WrongNumber as error:
        if server.aligned:
            raise
        return [], error
    if len(results) == asked:
        return results, None
    if server.aligned:
        raise WrongNumber(not_aligned(server.name, asked, len(results)))
    return results, WrongNumber(wrong_number(server.name, asked, len(results), aligned=False))


def _give(waiting: list[asyncio.Future[Any]], results: list[Any], toll: Toll, failure: Exception | None) -> None:
    given = [*results[: len(waiting)], *[MISSING] * (len(waiting) - len(results))]
    here = [(future, result) for future, result in zip(waiting, given, strict=True) if not future.done()]
    # Who has gone takes no part of what the call took, and neither does who gets nothing, so the others take all of it.
    paying = {future for future, result in here if result is not MISSING} or {future for future, _ in here[:1]}
    shares = iter(toll.shares(len(paying)) if paying else ())
    for future, result in here:
        share = next(shares) if future in paying else NO_PART
        future.set_result(Helping(result, share, failure))


def _cancel_when_unwanted(task: asyncio.Task[None], waiting: list[asyncio.Future[Any]]) -> None:
    """Cancel the call when all who waited for it have gone."""

    def gone(_: asyncio.Future[Any]) -> None:
        if all(future.cancelled() for future in waiting):
            task.cancel()

    for future in waiting:
        future.add_done_callback(gone)
