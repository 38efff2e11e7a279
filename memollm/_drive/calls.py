"""The drivers: they perform what a flow yields, for plain functions and for coroutine functions.

Only here and in the drivers beside it, `_drive_streams`, `_drive_map` and `_gather`, stands `await`.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from _thread import start_new_thread
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from memollm._draws.effects import Ask, Batch, Effect, Flow, Paid, Run, Save, under
from memollm._draws.engine import NOTHING
from memollm._spending.accounts import Told, Toll
from memollm._types.locks import WouldBlock
from memollm.errors import WrongNumber
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.flow import Draw


class Work(NamedTuple):
    """The user's function as a draw calls it."""

    engine: Engine
    call: Callable[[Batch], Any]
    """Calls it for a batch of gaps; what it returns may be an awaitable."""
    several: bool
    """It returns a list of them; otherwise k is 1 and it returns the one."""
    concurrency: int | None
    name: str = "The function"

    def results(self, returned: Any) -> Sequence[Any]:
        """Return what the function returned as a list of results."""
        return listed(returned, self.name) if self.several else (returned,)

    def landing(self, run: Run, batch: Batch, returned: Any, begin: float) -> Flow:
        """Return the flow that stores what the function returned, having been called at `begin`."""
        seconds = perf_counter() - begin
        if type(returned) is Part:
            return run.land(batch, returned.results, Paid(seconds, None, returned.told))
        try:
            results = self.results(returned)
        except WrongNumber as error:
            # It has returned, so it counts as paid.
            return run.land(batch, (), Paid(seconds, None, Told(Toll(1, seconds), error)))
        return run.land(batch, results, Paid(seconds, returned))


class Part(NamedTuple):
    """A part of what a call returned that served several draws, with the part of its toll."""

    results: Sequence[Any]
    told: Told


def listed(returned: Any, name: str) -> list[Any]:
    """Return the results of a function that makes several, as a list; a text or a dict is one result."""
    if issubclass(type(returned), str | bytes | Mapping) or not issubclass(type(returned), Iterable):
        raise WrongNumber(f"{name} returned one {type(returned).__qualname__} where it is to return a list of results.")
    return list(returned)


class Introduction:
    """What is done once before a function's first draw: one caller has it done, and the others wait in their order."""

    def __init__(self, introduce: Callable[[], None], conclude: Callable[[bool], None]) -> None:
        self._introduce = introduce
        self._conclude = conclude
        self._begun = threading.Lock()
        self._error: BaseException | None = None
        self.over = Signal()

    def is_mine(self) -> bool:
        """Tell the first who asks that it is to have it done."""
        return self._begun.acquire(blocking=False)

    def run(self) -> None:
        """Do it."""
        try:
            self._introduce()
        except BaseException as error:  # noqa: BLE001 - raised to whose it is
            self._error = error
        finally:
            self.over.set()

    def conclude(self, *, mine: bool) -> None:
        """Say, by whoever waited for it, that it is over: who comes only now need not queue behind those who waited."""
        self._conclude(self._error is None)
        if mine and self._error is not None:
            raise self._error


class Request(Protocol):
    """A call of a decorated function, as it was made; none of its methods runs the function."""

    def recalled(self) -> Any:
        """Return what this process has read already, or `NOTHING`."""
        ...

    def introduction(self) -> Introduction | None:
        """Return what must be done, and may block, before the first draw of a function; usually nothing."""
        ...

    def begin(self) -> Draw:
        """Begin a draw."""
        ...

    def may_overtake(self) -> bool:
        """Tell that no earlier draw is waiting its turn."""
        ...

    def work(self) -> Work:
        """Return the function to call, for what is not stored."""
        ...

    def value(self, drawn: list[Any]) -> Any:
        """Return what the call gives for what was drawn."""
        ...

    def unread(self) -> Callable[[], None] | None:
        """Return what lets a replay give again what it gave for this, if it gave anything."""
        ...


class _Stop(Exception):
    """Carries a `StopIteration` of the user's function past the generators, which would take it for their own."""


# Plain functions.


def introduce(request: Request) -> None:
    """Do, or wait for, what comes before a function's first draw."""
    while (introduction := request.introduction()) is not None:
        mine = introduction.is_mine()
        if mine:
            introduction.run()
        introduction.over.wait()
        introduction.conclude(mine=mine)


def call(request: Request) -> Any:
    """Serve a call of a plain function."""
    if request.introduction() is not None:
        introduce(request)
    if (recalled := request.recalled()) is not NOTHING:
        return recalled
    draw = request.begin()
    try:
        values = draw.at_once(wait=True)
    except BaseException as error:  # noqa: BLE001 - the flow decides
        return request.value(drive(draw.flow(error), request.work()))
    return request.value(drive(draw.flow(), request.work()) if values is None else values)


def drive(flow: Flow, work: Work) -> Any:
    """Run a flow to its end in this thread."""
    step: Callable[[Any], Effect] = flow.send
    given: Any = None
    while True:
        try:
            effect = step(given)
        except StopIteration as end:
            return end.value
        except _Stop as stop:
            raise stop.args[0] from None
        try:
            perform(effect, work)
        except BaseException as error:  # noqa: BLE001 - the flow decides
            step, given = flow.throw, error
        else:
            step, given = flow.send, None


def perform(effect: Effect, work: Work) -> None:
    """Do, in this thread, what a flow has yielded."""
    if isinstance(effect, Ask):
        effect.operation(True)
    elif isinstance(effect, Run):
        _run(effect, work)
    elif isinstance(effect, Save):
        work.engine.save(effect.changes)
    else:
        for signal in effect.signals:
            signal.wait()


def _run(run: Run, work: Work) -> None:
    if len(run.batches) == 1 or work.concurrency in {None, 1}:
        for batch in run.batches:
            _run_batch(run, batch, work)
        return
    with ThreadPoolExecutor(min(len(run.batches), work.concurrency or 1)) as pool:
        futures = [pool.submit(contextvars.copy_context().run, _run_batch, run, batch, work) for batch in run.batches]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # What is under way when one fails is paid for, so it is waited for and kept; the rest is not begun.
            for future in futures:
                future.cancel()
    failed = [error for future in futures if not future.cancelled() and (error := future.exception())]
    if failed:
        raise failed[0]


def _run_batch(run: Run, batch: Batch, work: Work) -> None:
    inside, begin = under.set((*under.get(), run.ticket)), perf_counter()
    try:
        landing = work.landing(run, batch, work.call(batch), begin)
    except BaseException as error:
        run.failed(error)
        if isinstance(error, StopIteration):
            raise _Stop(error) from None
        raise
    finally:
        under.reset(inside)
    drive(landing, work)


# Coroutine functions.


async def introduce_async(request: Request) -> None:
    """Have done, or wait for, what comes before a function's first draw."""
    while (introduction := request.introduction()) is not None:
        mine = introduction.is_mine()
        if mine:
            # A thread of its own: the loop's default executor may be full of threads that wait for this very task.
            start_new_thread(introduction.run, ())
        await _future_of(introduction.over)
        introduction.conclude(mine=mine)


async def call_async(request: Request) -> Any:
    """Serve a call of a coroutine function; what is stored comes back without a pause."""
    if request.introduction() is not None:
        await introduce_async(request)
    if (recalled := request.recalled()) is not NOTHING:
        return recalled
    draw = request.begin()
    failure: BaseException | None = None
    try:
        values = draw.at_once(wait=False) if request.may_overtake() else None
    except WouldBlock:
        values = None
    except BaseException as error:  # noqa: BLE001 - the flow decides
        values, failure = None, error
    return request.value(await drive_async(draw.flow(failure), request.work()) if values is None else values)


async def drive_async(flow: Flow, work: Work) -> Any:
    """Run a flow to its end in this task; nothing in it blocks the event loop."""
    step: Callable[[Any], Effect] = flow.send
    given: Any = None
    while True:
        try:
            effect = step(given)
        except StopIteration as end:
            return end.value
        try:
            await perform_async(effect, work)
        except GeneratorExit:
            # The task is being destroyed and cannot wait any more; the flow, which ends with it, knows what to do.
            raise
        except BaseException as error:  # noqa: BLE001 - the flow decides
            step, given = flow.throw, error
        else:
            step, given = flow.send, None


async def perform_async(effect: Effect, work: Work) -> None:
    """Do what a flow has yielded; nothing of it blocks the event loop."""
    if isinstance(effect, Ask):
        await _ask(effect, work)
    elif isinstance(effect, Run):
        await _run_async(effect, work)
    elif isinstance(effect, Save):
        pending = work.engine.save_soon(effect.changes)
        await _undisturbed(_future_of(pending.done))
        pending.outcome()
    else:
        for signal in effect.signals:
            await _future_of(signal)


async def _ask(ask: Ask, work: Work) -> None:
    if not work.engine.asking:
        with suppress(WouldBlock):
            ask.operation(False)
            return
    await _undisturbed(asyncio.wrap_future(work.engine.ask_later(ask.operation)))


async def _undisturbed(future: asyncio.Future[Any]) -> None:
    """Wait for what cannot be called back; a cancellation that comes meanwhile is raised when it is done."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait((future,))
        except asyncio.CancelledError as error:
            cancelled = error
    failure = future.exception()
    if cancelled is not None:
        raise cancelled
    if failure is not None:
        raise failure


def _future_of(signal: Signal) -> asyncio.Future[None]:
    """Return a future of the running loop that is done when the signal is set, from whichever thread."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()

    def finish() -> None:
        if not future.done():
            future.set_result(None)

    def wake() -> None:
        # Where the loop is closed, whoever waited in it is gone, and the others are not to notice.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(finish)

    signal.then(wake)
    if not future.done():
        future.add_done_callback(lambda _: signal.unless(wake))
    return future


async def _run_async(run: Run, work: Work) -> None:
    if len(run.batches) == 1:
        await _run_batch_async(run, run.batches[0], work)
        return
    waiting = list(reversed(run.batches))

    async def lane() -> None:
        while waiting:
            try:
                await _run_batch_async(run, waiting.pop(), work)
            except BaseException:
                # What is under way when one fails is paid for, so it is waited for and kept; the rest is not begun.
                waiting.clear()
                raise

    lanes = [asyncio.ensure_future(lane()) for _ in range(min(len(waiting), work.concurrency or len(waiting)))]
    try:
        await asyncio.wait(lanes)
    except asyncio.CancelledError:
        for task in lanes:
            task.cancel()
        await _undisturbed(asyncio.gather(*lanes, return_exceptions=True))
        raise
    for error in [task.exception() for task in lanes]:
        if error is not None:
            raise error


async def _run_batch_async(run: Run, batch: Batch, work: Work) -> None:
    inside, begin = under.set((*under.get(), run.ticket)), perf_counter()
    try:
        landing = work.landing(run, batch, await work.call(batch), begin)
    except BaseException as error:
        run.failed(error)
        raise
    finally:
        # A coroutine that is destroyed instead of ended is closed in the context of whoever does it.
        with suppress(ValueError):
            under.reset(inside)
    await drive_async(landing, work)
