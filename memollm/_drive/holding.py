"""The drivers of draws that are parked where the function would run: whoever holds one brings the answers.

What happens to a parked draw is a flow of its own around the draw's, so that threads and tasks drive the same.
"""

from __future__ import annotations

import asyncio
from collections import deque
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast

from memollm._draws.effects import Await, Calling, Paid, Run
from memollm._draws.lookups import LetGo
from memollm._drive.calls import Request, call, call_async, drive, drive_async, land_async, persist_async
from memollm._drive.course import Course
from memollm._drive.introduction import introduce, introduce_async
from memollm._spending.meter import Meter
from memollm.errors import ReentrantCall

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from memollm._draws.effects import Flight, Flow
    from memollm._draws.lookups import Caller, Lookups
    from memollm._draws.waits import Listening

Asked = TypeVar("Asked", bound="Parking")
Got = TypeVar("Got")


class _Apart:
    """Marks a call between a lookup and its update, whose code is not inside any block."""

    def __init__(self, reading: Listening, asked: float) -> None:
        self._reading = reading
        self.asked = asked
        self.meter = Meter()
        self.meter.start()
        reading.begin()
        reading.here()

    def __exit__(self, *_: object) -> None:
        self.meter.stop()
        self._reading.end()


class Parking(Request, Protocol):
    """A call that says how its draw is to be parked."""

    waits: bool
    """Whether it may wait for what others are making; else it is let go."""
    is_lookup: bool
    """Whether its answer comes in a separate call."""
    of_thread: bool
    """Whether only this thread can go on with it."""


class Parked:
    """A draw on its way, which stands wherever the function would run."""

    def __init__(self, flow: Flow, request: Parking) -> None:
        self._course = Course(flow)
        self._request = request
        self._run: Run
        """Only of one that has stood anywhere."""
        self._missing: deque[Flight] = deque()
        self._making: Calling | _Apart | None = None
        self.values: list[Any] | None = None
        """What it gives, when it has come to its end."""

    @property
    def missing(self) -> int:
        """How many answers it waits for at this moment."""
        return len(self._missing)

    # Flows, to be driven by whoever holds it.

    def go_on(self) -> Flow:
        """Go on until an answer is needed, which returns itself, or to the end, which returns what is given."""
        course = self._course
        while (effect := course.next()) is not None:
            if isinstance(effect, Run):
                self._run, self._missing = effect, deque(effect.flights)
                self._stand()
                return self
            if isinstance(effect, Await) and not self._request.waits:
                course.failed(LetGo())
                continue
            with course:
                course.answer = yield effect
        self.values = course.result
        return course.result

    def fill(self, value: Any) -> Flow:
        """Store an answer and go on."""
        run, flight, paid = self._landing(value)
        landed = False
        with self._course:
            yield from run.land(flight, [value], paid)
            landed = True
        if landed and self._missing:
            self._stand()
            return self
        self._missing.clear()
        return (yield from self.go_on())

    def answer(self, value: Any) -> Flow:
        """Store the answer of a lookup, and be over: whoever has it waits for no other one."""
        try:
            yield from self.fill(value)
        except LetGo:
            # The answer is kept; what others are making would have to be waited for.
            pass
        finally:
            if self._missing:
                self.drop()

    def leave(self, reason: BaseException) -> Flow:
        """Be over without the answers that are missing."""
        self._fail(reason)
        self._course.failed(reason)
        try:
            while (effect := self._course.next()) is not None:
                with self._course:
                    self._course.answer = yield effect
        except BaseException as error:
            if error is not reason:
                raise

    # For whoever cannot wait.

    def drop(self) -> None:
        """Be over; this waits for nothing, and may happen in any thread."""
        self._fail(LetGo())
        self._course.drop()

    # Where it stands.

    def _stand(self) -> None:
        run, engine = self._run, self._request.plan.engine
        flight = self._missing[0]
        if self._request.is_lookup:
            thread = get_ident() if self._request.of_thread else None
            self._making = _Apart(run.reading(flight, thread), engine.clock())
        else:
            self._making = Calling(run.inside(flight), engine.clock()).__enter__()

    def _landing(self, value: Any) -> tuple[Run, Flight, Paid]:
        making = cast("Calling | _Apart", self._rise())
        return self._run, self._missing.popleft(), Paid(making.asked, making.meter, value)

    def _fail(self, reason: BaseException) -> None:
        making = self._rise()
        if self._missing:
            self._missing.clear()
            self._run.failed(reason, None if making is None else making.meter)

    def _rise(self) -> Calling | _Apart | None:
        making, self._making = self._making, None
        if making is not None:
            making.__exit__(None, None, None)
        return making


def park(flow: Flow, request: Any) -> Any:
    """Drive a flow until an answer is needed, which returns it parked, or to its end, which returns what it gives."""
    return drive(Parked(flow, request).go_on(), request)


async def park_async(flow: Flow, request: Any) -> Any:
    """Do so in a task."""
    return await drive_async(Parked(flow, request).go_on(), request)


async def entered_async(ask: Callable[[], Asked], enter: Callable[[Asked, Any], Got]) -> Got:
    """Ask for a draw in this task, and hand over what it gives, or the draw where it is parked."""
    request = ask()
    return enter(request, await call_async(request, park_async))


def looked(request: Request) -> Any:
    """Ask so for a lookup, which gives nothing where it would have to wait and must not."""
    try:
        return call(request, park)
    except (LetGo, ReentrantCall):
        return None


async def looked_async(ask: Callable[[], Asked], tell: Callable[[Asked, Any], Got]) -> Got:
    """Do so in a task, and hand over what it gives."""
    request = ask()
    try:
        found = await call_async(request, park_async)
    except (LetGo, ReentrantCall):
        found = None
    return tell(request, found)


def bring(request: Request, bringing: Callable[[], Flow]) -> Any:
    """Have an answer stored that is there already."""
    if request.is_new:
        introduce(request)
    return drive(bringing(), request)


async def bring_async(request: Request, bringing: Callable[[], Flow], tell: Callable[[Any], Got]) -> Got:
    """Do so in a task: the answer is kept also if it is cancelled. Return what is told of it."""
    if request.is_new:
        await introduce_async(request)
    brought: list[Any] = []

    def flow() -> Flow:
        brought.append((yield from bringing()))

    # Whoever brings an answer has given it already: its position is not to be free again.
    await land_async(flow(), request, persist_async)
    return tell(brought[0])


async def over_async() -> None:
    """Have nothing left to do."""


def caller_in(lookups: Lookups, name: Hashable) -> Caller:
    """Return who is calling: whom a host names, else the running task, else this thread."""
    if name is not None:
        return lookups.named(name)
    # Asked so, it costs little where no loop runs, as in most threads.
    loop = asyncio._get_running_loop()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    task = None if loop is None else asyncio.current_task(loop)
    return lookups.thread() if task is None else lookups.task(task)
