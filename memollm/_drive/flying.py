"""Calls of coroutine functions, each in a task of its own: it is finished also when its draw was cancelled."""

from __future__ import annotations

import asyncio
import contextvars
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from memollm._draws.effects import Outdated
from memollm._draws.left import Left
from memollm._drive.course import dropped
from memollm._drive.interrupts import interrupts
from memollm._drive.turns import turns, undisturbed
from memollm._spending.track import LOG
from memollm._types.hiding import hides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memollm._draws.effects import Flight, Flow, Run
    from memollm._draws.plan import Plan

__tracebackhide__ = hides


class Airborne:
    """One call on its way."""

    __slots__ = ("flight", "has_begun", "is_landing", "is_over", "task")

    def __init__(self, flight: Flight) -> None:
        self.flight = flight
        self.task: asyncio.Task[None] | None = None
        self.has_begun = False
        """Whether the function has been called; not yet while others are waited for, to be served together."""
        self.is_landing = False
        """Whether its answer is being stored."""
        self.is_over = False

    def cancel(self) -> None:
        """Have it stopped."""
        if self.task is not None:
            self.task.cancel()


airborne: Final[ContextVar[Airborne | None]] = ContextVar("memollm_airborne", default=None)
"""The call that this code runs in."""


class Flying:
    """The calls of one run."""

    def __init__(
        self, run: Run, plan: Plan, call: Callable[[Flight], Awaitable[Flow]], land: Callable[[Flow], Awaitable[Any]]
    ) -> None:
        """`call` calls the function and returns the flow that stores its answer, which `land` drives."""
        self._run, self._plan, self._call, self._land = run, plan, call, land
        self._loop, self._turns = asyncio.get_running_loop(), turns()
        # What the function changes is its own, as in any task.
        self._context = contextvars.copy_context()
        self._waiting = list(reversed(run.flights))
        self._under_way: set[Airborne] = set()
        self._finishes = run.finishes
        self._interrupts = interrupts()
        self._failure: BaseException | None = None
        self._changed: asyncio.Future[None] | None = None
        self._is_leaving = False
        self._left: Left | None = None
        self._timer: asyncio.TimerHandle | None = None

    # The draw that waits.

    async def all(self) -> None:
        """Wait for all. What is under way when one fails is paid for, so it is waited for; the rest is not begun."""
        limit = self._plan.concurrency or len(self._waiting)
        try:
            while self._waiting or self._under_way:
                while self._waiting and len(self._under_way) < limit:
                    self._begin(Airborne(self._waiting.pop()))
                if self._under_way:
                    await self._change()
        except asyncio.CancelledError:
            self._stop_some()
            await undisturbed(self._until_it_may_be_left)
            self._leave()
            raise
        except GeneratorExit:
            # Nothing can be waited for. In a loop that is closed nothing can go on either.
            if not self._loop.is_closed():
                self._stop_some()
                self._leave()
            raise
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _change(self) -> asyncio.Future[None]:
        self._changed = self._loop.create_future()
        return self._changed

    def _stop_some(self) -> None:
        """Begin nothing any more, and stop all but calls that have begun and are to be finished."""
        self._is_leaving = True
        self._waiting.clear()
        self._finishes = self._finishes and self._interrupts == interrupts()
        for each in list(self._under_way):
            if not (self._finishes and each.has_begun):
                each.cancel()

    async def _until_it_may_be_left(self) -> None:
        """Wait for what is stopped, and for what is being stored."""
        while any(each.is_landing or not (self._finishes and each.has_begun) for each in self._under_way):
            await self._change()

    def _leave(self) -> None:
        """Let what is under way go on for a while."""
        if not self._under_way:
            return
        plan = self._plan
        self._run.leave([each.flight for each in self._under_way])
        self._left = Left(
            self._run.ticket, plan.name, plan.grace, lambda: len(self._under_way), self._stop, self._loop.is_running
        )
        self._timer = self._loop.call_later(plan.grace, self._stop_here)
        plan.engine.left.add(self._left)
        with suppress(RuntimeError):
            # At the end of the interpreter no thread begins any more.
            plan.engine.tender.begin()

    def _stop(self) -> None:
        with suppress(RuntimeError):
            # Where the loop is closed, they have ended.
            self._loop.call_soon_threadsafe(self._stop_here)

    def _stop_here(self) -> None:
        for each in list(self._under_way):
            if not each.is_landing:
                each.cancel()

    # The tasks.

    def _begin(self, one: Airborne) -> None:
        self._under_way.add(one)
        self._turns.coming += 1
        one.task = task = self._loop.create_task(self._fly(one), context=self._context.copy())
        task.add_done_callback(lambda task: self._done(one, task))

    async def _fly(self, one: Airborne) -> None:
        airborne.set(one)
        one.has_begun = True
        self._turns.coming -= 1
        failure: BaseException | None = None
        try:
            landing = await self._call(one.flight)
            one.is_landing = True
            await self._land(landing)
        except GeneratorExit:
            self._drop(one)
            raise
        except BaseException as error:  # noqa: BLE001 - told to whoever waits
            failure = error
        await self._end(one, failure)
        if failure is not None and not isinstance(failure, Exception):
            raise failure

    async def _end(self, one: Airborne, failure: BaseException | None) -> None:
        try:
            if failure is not None:
                self._fails(failure)
            if self._left is not None:
                await self._land(self._run.end(one.flight))
        finally:
            self._over(one)
            self._wake()

    def _drop(self, one: Airborne) -> None:
        """Know that a task has ended in which nothing could be waited for any more."""
        if self._left is not None:
            dropped(self._run.end(one.flight))
        self._over(one)
        # This may be a garbage collection, in whichever thread, and after the end of the loop.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._wake)

    def _done(self, one: Airborne, task: asyncio.Task[None]) -> None:
        failure = asyncio.CancelledError() if task.cancelled() else task.exception()
        if not one.is_over:
            # It was cancelled before it began.
            self._turns.coming -= 1
            failure = failure or asyncio.CancelledError()
            self._run.failed(failure, None)
            self._fails(failure)
            self._drop(one)

    def _fails(self, error: BaseException) -> None:
        self._waiting.clear()
        if self._left is None:
            self._failure = self._failure or error
        elif isinstance(error, asyncio.CancelledError):
            LOG.debug("stopped: a call of %s that nobody waited for any more", self._plan.name)
        elif not isinstance(error, Outdated):
            LOG.debug("failed: a call of %s that nobody waited for any more: %r", self._plan.name, error)

    def _over(self, one: Airborne) -> None:
        one.is_over = True
        self._under_way.discard(one)
        if self._left is not None and not self._under_way:
            if self._timer is not None:
                self._timer.cancel()
            self._plan.engine.left.ended(self._left)

    def _wake(self) -> None:
        is_news = self._waiting or self._is_leaving or not self._under_way
        if is_news and self._changed is not None and not self._changed.done():
            self._changed.set_result(None)
