"""The drivers of plain and coroutine functions: they do what a flow yields, and tell it of failures and cancellations.

`await` stands in this folder alone. What the rules are is none of its business.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from threading import get_ident
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from memollm._draws.desk import Pending
from memollm._draws.effects import Await, Calling, Do, Effect, Flight, Flow, Paid, Run
from memollm._draws.engine import NOTHING
from memollm._draws.flow import AT_ONCE
from memollm._drive.course import Course
from memollm._drive.flying import Flying, airborne
from memollm._drive.introduction import Introduced, introduce, introduce_async
from memollm._drive.turns import UNASKED, in_thread, outlast, turns, unasked, undisturbed
from memollm._spending.accounts import Told, Toll
from memollm._types.hiding import hides
from memollm._types.requests import Take, Write
from memollm.errors import WrongNumber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.every import AnyDraw
    from memollm._draws.plan import Plan
    from memollm._types.requests import Look
    from memollm.stores.flights import Signal

    Called = Callable[[Sequence[int]], Any]
    Driver = Callable[[Flow, "Served"], Awaitable[Any]]

__tracebackhide__ = hides


class Served(Protocol):
    """What a flow is driven for: whose function it calls, by which plan."""

    @property
    def plan(self) -> Plan:
        """What holds for its draws."""
        ...

    def function(self) -> Called:
        """Return what calls the function, given which of the wants it is to serve, one for each sample."""
        ...


class Request(Served, Introduced, Protocol):
    """A call of a decorated function, as it was made; none of its methods runs the function."""

    is_new: bool
    """Whether the function has still to be introduced to the store."""

    def recalled(self) -> Any:
        """Return what this process has read already, or `NOTHING`."""
        ...

    def begin(self) -> AnyDraw:
        """Begin a draw."""
        ...

    def value(self, drawn: list[Any]) -> Any:
        """Return what the call gives for what was drawn."""
        ...


class Portion(NamedTuple):
    """A part of what a call returned that served several draws, with the part of its toll."""

    results: Sequence[Any]
    told: Told


class _Stop(Exception):
    """Carries a `StopIteration` of the user's function past the generators, which would take it for their own."""


def listed(returned: Any, name: str) -> list[Any]:
    """Return the results of a function that makes several, as a list; a text or a dict is one result."""
    if issubclass(type(returned), str | bytes | Mapping) or not issubclass(type(returned), Iterable):
        raise WrongNumber(f"{name} returned one {type(returned).__qualname__} where it is to return a list of results.")
    return list(returned)


def _landing(run: Run, flight: Flight, returned: Any, calling: Calling, plan: Plan) -> Flow:
    """Return the flow that stores what the function returned."""
    paid = Paid(calling.asked, calling.meter, returned)
    if type(returned) is Portion:
        return run.land(flight, returned.results, paid._replace(told=returned.told))
    if not plan.together:
        calling.meter.stop()
        return run.land(flight, (returned,), paid)
    try:
        results = listed(returned, plan.name)
    except WrongNumber as error:
        # It has returned, so it counts as paid.
        calling.meter.stop()
        return run.land(flight, (), paid._replace(told=Told(Toll(1, calling.meter.seconds, unpriced=1), error)))
    calling.meter.stop()
    return run.land(flight, results, paid)


# Plain functions.


def call(request: Request, through: Callable[[Flow, Request], Any] | None = None) -> Any:
    """Serve a call of a plain function; what is missing is driven, or taken `through` another hand."""
    if request.is_new:
        introduce(request)
    if (recalled := request.recalled()) is not NOTHING:
        return recalled
    draw = request.begin()
    try:
        values = draw.at_once(wait=True)
        if values is not None:
            return request.value(values)
    except BaseException as error:  # noqa: BLE001 - the flow decides
        return request.value((through or drive)(draw.flow(error), request))
    return request.value((through or drive)(draw.flow(), request))


def drive(flow: Flow, request: Served) -> Any:
    """Run a flow to its end in this thread."""
    course = Course(flow)
    try:
        while (effect := course.next()) is not None:
            with course:
                course.answer = perform(effect, request)
    except _Stop as stop:
        raise stop.args[0] from None
    return course.result


def perform(effect: Effect, request: Served) -> Any:
    """Do, in this thread, what a flow has yielded."""
    if isinstance(effect, Run):
        _run(effect, request)
    elif isinstance(effect, Await):
        _wait(effect)
    elif isinstance(effect, Do):
        return effect.work()
    else:
        return request.plan.engine.desk.perform(effect)
    return None


def _wait(effect: Await) -> None:
    with effect.waiting.here(get_ident()):
        for signal in effect.signals:
            while not signal.wait(effect.waiting.pause()):
                effect.waiting.look()


def _run(run: Run, request: Served) -> None:
    function, concurrency = request.function(), request.plan.concurrency
    if len(run.flights) == 1 or concurrency in {None, 1}:
        for flight in run.flights:
            _fly(run, flight, function, request)
        return
    with ThreadPoolExecutor(min(len(run.flights), concurrency or 1)) as pool:
        fly = contextvars.copy_context
        futures = [pool.submit(fly().run, _fly, run, flight, function, request) for flight in run.flights]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # What is under way when one fails is paid for, so it is waited for and kept; the rest is not begun.
            for future in futures:
                future.cancel()
    failed = [error for future in futures if not future.cancelled() and (error := future.exception())]
    if failed:
        raise failed[0]


def _fly(run: Run, flight: Flight, function: Called, request: Served) -> None:
    plan = request.plan
    calling = Calling(run.inside(flight), plan.engine.clock())
    try:
        with calling:
            landing = _landing(run, flight, function(run.items(flight)), calling, plan)
    except BaseException as error:
        run.failed(error, calling.meter)
        if isinstance(error, StopIteration):
            raise _Stop(error) from None
        raise
    drive(landing, request)


# Coroutine functions.


async def call_async(request: Request, through: Callable[[Flow, Request], Awaitable[Any]] | None = None) -> Any:
    """Serve a call of a coroutine function; what is stored comes back without a pause."""
    if unasked.left and not request.is_new:
        unasked.left -= 1
        recalled = request.recalled()
        if type(recalled) is str:
            return recalled
        unasked.left = 0
        if recalled is not NOTHING:
            return recalled
        if (here := turns()).is_full():
            await here.mine()
    else:
        here = turns()
        if request.is_new:
            # It waits for its turn there.
            await introduce_async(request)
        elif here.is_full():
            await here.mine()
        if (recalled := request.recalled()) is not NOTHING:
            unasked.left = UNASKED if type(recalled) is str else 0
            return recalled
    draw = request.begin()
    try:
        values = None if here.is_bursting or request.plan.engine.desk.is_busy else draw.at_once(wait=False)
        if values is not None:
            return request.value(values)
    except BaseException as error:  # noqa: BLE001 - the flow decides
        return request.value(await (through or drive_async)(draw.flow(error), request))
    return request.value(await (through or drive_async)(draw.flow(), request))


async def drive_async(flow: Flow, request: Served) -> Any:
    """Run a flow to its end in this task; nothing in it blocks the event loop."""
    course = Course(flow)
    while (effect := course.next()) is not None:
        with course:
            course.answer = await perform_async(effect, request)
    return course.result


async def persist_async(flow: Flow, request: Served) -> Any:
    """Run a flow to its end also where its task is cancelled, which is raised after it.

    What was cancelled is asked for again: whoever does it gives the answer that it gave, and does nothing twice.
    """
    course = Course(flow)
    cancelled: asyncio.CancelledError | None = None
    while (effect := course.next()) is not None:
        with course:
            while True:
                try:
                    course.answer = await perform_async(effect, request)
                    break
                except asyncio.CancelledError as error:
                    cancelled = error
    if cancelled is not None:
        raise cancelled
    return course.result


async def perform_async(effect: Effect, request: Served) -> Any:
    """Do what a flow has yielded; nothing of it blocks the event loop."""
    desk = request.plan.engine.desk
    if isinstance(effect, Run):
        await _run_async(effect, request)
    elif isinstance(effect, Await):
        await _wait_async(effect)
    elif isinstance(effect, Do):
        return await (in_own_thread(effect.work) if effect.computes else _outcome(desk.do(effect.work)))
    elif isinstance(effect, Write):
        return await _outcome(desk.submit(effect))
    else:
        return await _ask(effect, request)
    return None


async def _wait_async(effect: Await) -> None:
    with effect.waiting.here(None):
        for signal in effect.signals:
            happened = turns().until(signal)
            while (pause := effect.waiting.pause()) is not None and not happened.done():
                try:
                    await asyncio.wait([happened], timeout=pause)
                except asyncio.CancelledError:
                    # Who is called back no more takes itself off the list.
                    happened.cancel()
                    raise
                if not happened.done():
                    effect.waiting.look()
            await happened


async def _ask(asked: Take | Look, request: Served) -> Any:
    engine, here = request.plan.engine, turns()
    is_long = isinstance(asked, Take) and sum(want.n for want in asked.wants) > AT_ONCE
    # In a burst draws are taken together, in one transaction for many.
    if not (is_long or here.is_bursting or engine.desk.is_busy or engine.desk.debts or here.is_full()):
        answer = engine.in_line(asked)
        if answer is not None:
            return answer
    here.asking += 1
    try:
        return await _outcome(engine.desk.submit(asked))
    finally:
        here.asking -= 1


def _computed(work: Callable[[], Any]) -> Pending:
    """Have a thread of its own do what takes its time and asks the store nothing."""
    pending, context = Pending(None), contextvars.copy_context()
    in_thread(lambda: context.run(pending.do, work))
    return pending


async def in_own_thread(work: Callable[[], Any]) -> Any:
    """Have a thread of its own do what takes its time, and return what it returned; this waits until it has ended."""
    return await _outcome(_computed(work))


async def _outcome(pending: Pending) -> Any:
    await undisturbed(lambda: turns().until(pending.done))
    return pending.outcome()


async def _run_async(run: Run, request: Served) -> None:
    function = request.function()

    def call(flight: Flight) -> Awaitable[Flow]:
        return _call_async(run, flight, function, request)

    def land(landing: Flow) -> Awaitable[None]:
        return land_async(landing, request)

    if len(run.flights) == 1 and not run.finishes:
        # What stops with its draw needs no task of its own.
        airborne.set(None)
        await land(await call(run.flights[0]))
    else:
        await Flying(run, request.plan, call, land).all()


async def _call_async(run: Run, flight: Flight, function: Called, request: Served) -> Flow:
    engine = request.plan.engine
    get_ready(engine)
    calling = Calling(run.inside(flight), engine.clock())
    try:
        with calling:
            return _landing(run, flight, await function(run.items(flight)), calling, request.plan)
    except BaseException as error:
        run.failed(error, calling.meter)
        raise


def get_ready(engine: Engine) -> Signal:
    """Have loaded, beside the first call, what its answer will need; return what says that it is."""
    if engine.ready is None:
        engine.ready = in_thread(engine.get_ready)
    return engine.ready


async def land_async(landing: Flow, request: Served, drive_it: Driver = drive_async) -> None:
    """Store what the function returned."""
    try:
        await outlast(get_ready(request.plan.engine))
        if (here := turns()).is_full():
            await undisturbed(here.mine)
    finally:
        # Whoever is cancelled now has an answer in hand, which is kept.
        await drive_it(landing, request)
