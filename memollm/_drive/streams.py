"""The drivers of streams: generator functions, plain and async, whose chunks are passed on as they come, or replayed.

The context of whoever reads a stream is marked with its draw, in `under`: waiting there for the sample that the stream
is about to become would be waiting for oneself.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._draws.effects import Paid, Run
from memollm._draws.engine import NOTHING
from memollm._draws.slots import Fleeting
from memollm._drive.calls import drive, get_ready, land_async, perform, perform_async
from memollm._drive.course import Course
from memollm._drive.introduction import introduce, introduce_async
from memollm._drive.turns import turns
from memollm._spending.meter import Meter
from memollm._types.hiding import hides
from memollm._values.streams import Recording, heard, require_untold

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from memollm._draws.effects import Flow
    from memollm._draws.every import AnyDraw
    from memollm._draws.waits import Listening
    from memollm._drive.calls import Request

__tracebackhide__ = hides

OVER: Final = object()


def _landing(run: Run, recording: Recording, meter: Meter, returned: Any) -> Flow:
    """Store a stream that has ended, unless it was told anything on the way, which no key knows."""
    sample = recording.ended(returned)
    result = Fleeting(sample) if recording.steered else sample
    return run.land(run.flights[0], [result], Paid(recording.asked, meter, sample))


@contextmanager
def heard_to_its_end(draw: AnyDraw | None) -> Generator[None]:
    """Give the position of a replayed stream back where its reader leaves before the end, as a live one does."""
    try:
        yield
    except BaseException:
        if draw is not None:
            draw.give_back()
        raise


# Generator functions.


def stream(request: Request) -> Generator[Any, Any, Any]:
    """Serve a call of a generator function; nothing happens before its first chunk is asked for."""
    if request.is_new:
        introduce(request)
    sample = request.recalled()
    draw = None
    if sample is NOTHING:
        draw = request.begin()
        course, recording = Course(draw.flow()), Recording()
        while (effect := course.next()) is not None:
            with course:
                if isinstance(effect, Run):
                    yield from _run(effect, request, recording)
                else:
                    course.answer = perform(effect, request)
        sample = request.value(course.result)
        if sample is recording.sample:
            return heard(sample).returned
    with heard_to_its_end(draw):
        chunks, returned = heard(sample)
        for chunk in chunks:
            require_untold((yield chunk))
    return returned


def _run(run: Run, request: Request, recording: Recording) -> Generator[Any, Any, None]:
    (flight,), reading, meter = run.flights, run.reading(run.flights[0]), Meter()
    recording.asked = request.plan.engine.clock()
    reading.begin()
    try:
        reading.here()
        returned = yield from _live(request.function()(run.items(flight)), recording, meter, reading)
    except BaseException as error:
        run.failed(error, meter)
        raise
    finally:
        reading.end()
    drive(_landing(run, recording, meter, returned), request)


def _live(
    source: Generator[Any, Any, Any], recording: Recording, meter: Meter, reading: Listening
) -> Generator[Any, Any, Any]:
    """Pass chunks on, and what the reader says back to the function."""
    chunk: Any
    step: Callable[[Any], Any] = source.send
    given: Any = None
    while True:
        try:
            with meter:
                chunk = step(given)
        except StopIteration as end:
            return end.value
        recording.hear(chunk)
        reading.leave()
        step = source.send
        try:
            given = yield chunk
        except GeneratorExit:
            source.close()
            raise
        except BaseException as error:  # noqa: BLE001 - the function decides
            step, given = cast("Callable[[Any], Any]", source.throw), error
        if given is not None:
            recording.steered = True
        reading.here()


# Async generator functions.


async def stream_async(request: Request) -> AsyncGenerator[Any, Any]:
    """Serve a call of an async generator function; nothing happens before its first chunk is asked for."""
    turns()
    if request.is_new:
        await introduce_async(request)
    sample = request.recalled()
    draw = None
    if sample is NOTHING:
        draw = request.begin()
        course, recording = Course(draw.flow()), Recording()
        while (run := await _until_run(course, request)) is not None:
            live = _Live(run, request, recording)
            try:
                while (chunk := await live.chunk()) is not OVER:
                    try:
                        live.told((yield chunk))
                    except GeneratorExit:
                        raise
                    except BaseException as error:  # noqa: BLE001 - the function decides
                        live.thrown(error)
                await live.land()
            except BaseException as error:  # noqa: BLE001 - the flow decides
                course.failed(await live.closed(error))
        sample = request.value(course.result)
        if sample is recording.sample:
            return
    with heard_to_its_end(draw):
        for chunk in heard(sample).chunks:
            require_untold((yield chunk))


async def _until_run(course: Course, request: Request) -> Run | None:
    """Do what the flow yields until the function is to run; return None at the end."""
    while (effect := course.next()) is not None and not isinstance(effect, Run):
        with course:
            course.answer = await perform_async(effect, request)
    return effect


class _Live:
    """The function's own generator while it runs for a draw."""

    def __init__(self, run: Run, request: Request, recording: Recording) -> None:
        self._run, self._request, self._recording = run, request, recording
        self._meter = Meter()
        self._is_over = False
        # It can go on in this event loop alone.
        self._reading = run.reading(run.flights[0], get_ident())
        self._reading.begin()
        self._source: Any = None
        self._step: Callable[[Any], Awaitable[Any]] = self._begin
        self._given: Any = None

    async def _begin(self, _: None) -> Any:
        get_ready(engine := self._request.plan.engine)
        self._recording.asked = engine.clock()
        self._source = self._request.function()(self._run.items(self._run.flights[0]))
        return await self._source.asend(None)

    async def chunk(self) -> Any:
        """Return the next chunk, or `OVER`."""
        self._reading.here()
        try:
            with self._meter:
                chunk = await self._step(self._given)
        except StopAsyncIteration:
            return OVER
        self._recording.hear(chunk)
        self._reading.leave()
        return chunk

    def told(self, given: Any) -> None:
        """Take what its reader has sent."""
        self._step, self._given = self._source.asend, given
        self._recording.steered |= given is not None

    def thrown(self, error: BaseException) -> None:
        """Take what its reader has thrown."""
        self._step, self._given = self._source.athrow, error
        self._recording.steered = True

    async def land(self) -> None:
        """Store what was heard; it has ended normally."""
        self._is_over = True
        self._reading.end()
        await land_async(_landing(self._run, self._recording, self._meter, None), self._request)

    async def closed(self, failure: BaseException) -> BaseException:
        """Close the generator, which may still be open where its reader left; return what went wrong."""
        self._reading.end()
        if not self._is_over:
            self._run.failed(failure, self._meter)
        try:
            if self._source is not None:
                await self._source.aclose()
        except BaseException as error:  # noqa: BLE001 - the flow decides
            return error
        return failure
