"""The drivers of maps: many items of one function at a time, in threads or in tasks.

Draws begin in the order of the items, one after the other: those of a plain function in the thread that asks for
results, those of a coroutine function in one task. What is stored is given at once; only where the function must run,
or somebody waits, does a thread or a task go on with the draw.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import deque
from collections.abc import AsyncIterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final, Self

from memollm._draws.engine import NOTHING
from memollm._draws.rereading import Rereading
from memollm._drive.calls import drive, drive_async
from memollm._drive.introduction import introduce, introduce_async
from memollm._drive.jobs import Job, Mapped, Outcome
from memollm._drive.turns import in_thread, turns, undisturbed
from memollm._types.hiding import hides
from memollm._types.requests import Write
from memollm.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable
    from types import TracebackType

    from memollm._draws.effects import Flow
    from memollm._draws.every import AnyDraw
    from memollm._draws.plan import Plan
    from memollm._drive.calls import Called, Request
    from memollm._types.requests import Change

__tracebackhide__ = hides

END: Final = object()
TOGETHER: Final = 1000
"""How many positions go back in one commit."""
PAUSE: Final = 32
"""After how many stored items the event loop has a turn."""


class Begun:
    """An item whose draw has begun, and takes more than a look into the store.

    A flow is driven for it, with the function of its request.
    """

    def __init__(self, job: Job, index: int, request: Request, draw: AnyDraw) -> None:
        self.failure: BaseException | None = None
        self.index = index
        self.started = False
        self._job = job
        self._request = request
        self._draw = draw
        self._mine = threading.Lock()

    def is_mine(self) -> bool:
        """Tell the first who asks that the draw is its own to drive."""
        return self._mine.acquire(blocking=False)

    def flow(self) -> Flow:
        """Return what is left of the draw."""
        self.started = True
        return self._draw.flow(self.failure)

    @property
    def plan(self) -> Plan:
        """That of the request."""
        return self._request.plan

    def function(self) -> Called:
        """Return what calls the function."""
        return self._request.function()

    def answered(self, values: list[Any]) -> tuple[Outcome, list[Change]]:
        """Return what the item gave, and what is to be undone because nobody is there any more to get it."""
        undoing = self._draw.undelivered()
        left = self._job.keep(self.index, undoing, self.plan.engine) if undoing else []
        if isinstance(self._draw, Rereading):
            self._job.keep_read(self.index, self._draw.unread)
        return Outcome(self.index, self._request.value(values)), left

    def failed(self, error: BaseException) -> Outcome:
        """Return what the item raised."""
        return Outcome(self.index, error=error)


def begin(job: Job, index: int, item: Any, request: Request, *, wait: bool) -> Outcome | Begun:
    """Begin the draw of an item; what is stored is its outcome already."""
    try:
        recalled = request.recalled()
        if recalled is not NOTHING:
            return Outcome(index, recalled)
        begun = Begun(job, index, request, draw := request.begin())
    except Exception as error:  # noqa: BLE001 - it is the item's
        job.explain(error, item)
        return Outcome(index, error=error)
    try:
        values = draw.at_once(wait=wait) if wait or not request.plan.engine.desk.is_busy else None
    except BaseException as error:  # noqa: BLE001 - the flow decides
        begun.failure = error
        return begun
    return begun if values is None else begun.answered(values)[0]


def undo(job: Job, changes: Iterable[Change]) -> None:
    """Give positions back; what the store refuses now, its writer owes it."""
    changes = iter(changes)
    while (some := list(itertools.islice(changes, TOGETHER))) and job.engine is not None:
        with suppress(StoreError):
            job.engine.desk.perform(Write(job.engine.flights.new_id(), some))


# Plain functions.


def run(job: Job) -> list[Any]:
    """Return the results of all items, in their order."""
    results: dict[int, Any] = {}
    with Crew(job) as crew:
        for outcome in crew.outcomes():
            results[outcome.index] = outcome.result
        job.ended_well()
    return [results[index] for index in sorted(results)]


def stream(job: Job) -> Generator[Mapped[Any], None, None]:
    """Give the results of items as they come."""
    with Crew(job) as crew:
        for outcome in crew.outcomes():
            job.deliver(outcome.index)
            yield Mapped(outcome.index, outcome.result)


class Crew:
    """The threads of one map."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._items = iter(job.items)
        self._finished: SimpleQueue[Outcome] = SimpleQueue()
        self._under_way = 0
        self._pool = ThreadPoolExecutor(job.concurrency, thread_name_prefix="memollm-map")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        job = self._job
        if kind is GeneratorExit:
            # This may be a garbage collection in the middle of anything, so nothing here may wait. What is under way
            # ends by itself, and then finds the map over.
            job.leave()
            return
        try:
            # What is under way is paid for, so it is waited for and kept.
            self._pool.shutdown()
        finally:
            undo(job, job.end())
            job.tally.end()

    def outcomes(self) -> Generator[Outcome, None, None]:
        """Do all items, and give the outcomes that stand among the results, as they come."""
        job = self._job
        for index in itertools.count():
            yield from self._come_in(at_most=job.concurrency - 1)
            if job.failure is not None or not self._begin_next(index):
                break
        yield from self._come_in(at_most=0)
        if job.failure is not None:
            raise job.failure

    def _come_in(self, *, at_most: int) -> Generator[Outcome, None, None]:
        """Give what has finished, and wait until no more than so many are under way."""
        while self._under_way > at_most or not self._finished.empty():
            outcome = self._finished.get()
            self._under_way -= 1
            if self._job.stands(outcome):
                yield outcome

    def _begin_next(self, index: int) -> bool:
        """Begin the next item; tell whether there was one."""
        job = self._job
        try:
            item = next(self._items, END)
        except Exception as error:  # noqa: BLE001 - raised when what is under way has ended
            job.failure = error
            return False
        if item is END:
            return False
        begun = job.context.run(self._begin, index, item)
        self._under_way += 1
        if isinstance(begun, Outcome):
            self._finished.put(begun)
        elif job.concurrency == 1 or not isinstance(begun.failure, Exception | None):
            self._finish(begun)
        else:
            self._hand_over(begun)
        return True

    def _begin(self, index: int, item: Any) -> Outcome | Begun:
        request = self._job.request(item)
        if request.is_new:
            introduce(request)
        return begin(self._job, index, item, request, wait=True)

    def _hand_over(self, begun: Begun) -> None:
        try:
            self._pool.submit(self._finish, begun)
        except BaseException as error:
            if begun.is_mine():
                begun.failure = error
                drive(begun.flow(), begun)
            raise

    def _finish(self, begun: Begun) -> None:
        if begun.is_mine():
            self._finished.put(self._job.context.copy().run(self._finished_one, begun))

    def _finished_one(self, begun: Begun) -> Outcome:
        try:
            outcome, left = begun.answered(drive(begun.flow(), begun))
        except BaseException as error:  # noqa: BLE001 - told to whoever asked for the map
            return begun.failed(error)
        undo(self._job, left)
        return outcome


# Coroutine functions.


async def run_async(job: Job) -> list[Any]:
    """Return the results of all items, in their order."""
    results: dict[int, Any] = {}
    async with AsyncCrew(job) as crew, aclosing(crew.outcomes()) as outcomes:
        async for outcome in outcomes:
            results[outcome.index] = outcome.result
        job.ended_well()
    return [results[index] for index in sorted(results)]


async def stream_async(job: Job) -> AsyncGenerator[Mapped[Any], None]:
    """Give the results of items as they come."""
    async with AsyncCrew(job) as crew, aclosing(crew.outcomes()) as outcomes:
        async for outcome in outcomes:
            job.deliver(outcome.index)
            yield Mapped(outcome.index, outcome.result)


class AsyncCrew:
    """The tasks of one map: one begins the items, and there is one for each that is under way."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._is_async = isinstance(job.items, AsyncIterable)
        self._items: Any = aiter(job.items) if self._is_async else iter(job.items)
        self._finished: deque[Outcome] = deque()
        self._tasks: dict[asyncio.Task[None], Begun] = {}
        self._under_way = 0
        self._room, self._news = asyncio.Event(), asyncio.Event()

    async def __aenter__(self) -> Self:
        turns()
        self._beginner = asyncio.create_task(self._begin_all(), context=self._job.context.copy())
        self._beginner.add_done_callback(lambda _: self._news.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            # An iterator that outlived its loop is being destroyed, and nothing can be awaited.
            self._job.leave()
            return
        self._beginner.cancel()
        for task, begun in self._tasks.items():
            if begun.started:
                task.cancel()
            else:
                # A task that is cancelled before it starts never does, and its draw would not be ended.
                begun.failure = asyncio.CancelledError()
        try:
            await ended(self._beginner, *self._tasks)
        finally:
            # A program that ends cancels this too, and the positions go back all the same.
            if self._job.owing():
                over = in_thread(lambda: undo(self._job, self._job.end()))
                await undisturbed(lambda: turns().until(over))
            self._job.tally.end()

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Do all items, and give the outcomes that stand among the results, as they come."""
        job = self._job
        while self._finished or self._under_way or not self._beginner.done():
            self._news.clear()
            while self._finished:
                outcome = self._finished.popleft()
                self._room.set()
                if job.stands(outcome):
                    yield outcome
            if job.failure is not None:
                self._beginner.cancel()
            if self._under_way or not self._beginner.done():
                await self._news.wait()
        if job.failure is not None:
            raise job.failure
        self._beginner.result()

    async def _begin_all(self) -> None:
        job = self._job
        for index in itertools.count():
            while self._under_way + len(self._finished) >= job.concurrency:
                self._room.clear()
                await self._room.wait()
            item = await self._next_item()
            if item is END or job.failure is not None:
                return
            await self._begin(index, item)
            if not index % PAUSE:
                await asyncio.sleep(0)

    async def _next_item(self) -> Any:
        if self._is_async:
            return await anext(self._items, END)
        return next(self._items, END)

    async def _begin(self, index: int, item: Any) -> None:
        job = self._job
        request = job.context.run(job.request, item)
        if request.is_new:
            await introduce_async(request)
        elif (here := turns()).is_full():
            await here.mine()
        begun = job.context.run(begin, job, index, item, request, wait=False)
        if isinstance(begun, Outcome):
            self._finished.append(begun)
            self._news.set()
            return
        self._under_way += 1
        task = asyncio.create_task(self._finish(begun), context=job.context.copy())
        self._tasks[task] = begun
        task.add_done_callback(self._tasks.pop)
        # The draw takes its turn at the store in the task's first step, so before the next item's.
        await asyncio.sleep(0)

    async def _finish(self, begun: Begun) -> None:
        try:
            outcome, _ = begun.answered(await drive_async(begun.flow(), begun))
        except BaseException as error:
            outcome = begun.failed(error)
            if not isinstance(error, Exception | asyncio.CancelledError):
                raise
        finally:
            self._under_way -= 1
            self._news.set()
        self._finished.append(outcome)


async def ended(*futures: asyncio.Future[Any]) -> None:
    """Wait for the end of futures; a cancellation that comes meanwhile is raised after it."""
    try:
        await undisturbed(lambda: asyncio.wait(futures))
    finally:
        for future in futures:
            if not future.cancelled():
                # It was told by other ways; asked here, nobody is warned of it.
                future.exception()
