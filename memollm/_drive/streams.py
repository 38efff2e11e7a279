"""The drivers of streams: flows of generator functions and async generator functions, chunks passed on as they come.

Like `_drive`, it performs what a flow yields and may await. The context of whoever reads a stream is marked with its
draw, in `under`: waiting there for the sample that the stream is about to become would be waiting for oneself.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._draws.effects import Paid, Run, under
from memollm._draws.engine import NOTHING
from memollm._draws.states import Fleeting
from memollm._drive.calls import drive, drive_async, introduce, introduce_async, perform, perform_async
from memollm._values.streams import Recording, heard, require_untold

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from memollm._draws.effects import Effect, Flow
    from memollm._drive.calls import Request, Work

OVER: Final = object()


class _Reading(int):
    """The ticket of a draw whose stream is being read, until it is `over`.

    Its end is noted here instead of in the context: a collected stream ends in the middle of anything, and setting a
    context variable while one is being set corrupts the context of CPython 3.11.
    """

    over = False

    def here(self) -> None:
        """Say that this context reads the stream; each chunk may be asked for from another."""
        inside = under.get()
        if self not in inside:
            under.set((*(each for each in inside if not (isinstance(each, _Reading) and each.over)), self))


def _landing(run: Run, recording: Recording, returned: Any) -> Flow:
    """Store a stream that has ended, unless it was told anything on the way, which no key knows."""
    sample = recording.ended(returned)
    result = Fleeting(sample) if recording.steered else sample
    return run.land(run.batches[0], [result], Paid(recording.seconds, sample))


# Generator functions.


def stream(request: Request) -> Generator[Any, Any, Any]:
    """Serve a call of a generator function; nothing happens before its first chunk is asked for."""
    introduce(request)
    sample = request.recalled()
    if sample is NOTHING:
        recording = Recording()
        drawn = yield from _through(request.begin().flow(), request.work(), recording)
        sample = request.value(drawn)
        if sample is recording.sample:
            return heard(sample).returned
    chunks, returned = heard(sample)
    for chunk in chunks:
        require_untold((yield chunk))
    return returned


def _through(flow: Flow, work: Work, recording: Recording) -> Generator[Any, Any, Any]:
    """Run a flow to its end; where the function is to run, its chunks pass through."""
    step: Callable[[Any], Effect] = flow.send
    given: Any = None
    while True:
        try:
            effect = step(given)
        except StopIteration as end:
            return end.value
        try:
            if isinstance(effect, Run):
                yield from _run(effect, work, recording)
            else:
                perform(effect, work)
        except BaseException as error:  # noqa: BLE001 - the flow decides
            step, given = flow.throw, error
        else:
            step, given = flow.send, None


def _run(run: Run, work: Work, recording: Recording) -> Generator[Any, Any, None]:
    (batch,), reading = run.batches, _Reading(run.ticket)
    try:
        reading.here()
        returned = yield from _live(work.call(batch), recording, reading)
    except BaseException as error:
        run.failed(error)
        raise
    finally:
        reading.over = True
    drive(_landing(run, recording, returned), work)


def _live(source: Generator[Any, Any, Any], recording: Recording, reading: _Reading) -> Generator[Any, Any, Any]:
    """Pass chunks on, and what the reader says back to the function."""
    chunk: Any
    step: Callable[[Any], Any] = source.send
    given: Any = None
    while True:
        begin = perf_counter()
        try:
            chunk = step(given)
        except StopIteration as end:
            return end.value
        finally:
            recording.seconds += perf_counter() - begin
        recording.hear(chunk)
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
    await introduce_async(request)
    sample = request.recalled()
    if sample is NOTHING:
        course, recording = _Course(request.begin().flow(), request.work()), Recording()
        while (run := await course.until_run()) is not None:
            live = _Live(run, course.work, recording)
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
        sample = request.value(course.drawn)
        if sample is recording.sample:
            return
    for chunk in heard(sample).chunks:
        require_untold((yield chunk))


class _Course:
    """A flow on its way from one run to the next."""

    def __init__(self, flow: Flow, work: Work) -> None:
        self.work = work
        self.drawn: list[Any] = []
        self._flow = flow
        self._failure: BaseException | None = None

    async def until_run(self) -> Run | None:
        """Perform what the flow yields until the function is to run; return None at the end."""
        while True:
            failure, self._failure = self._failure, None
            try:
                effect = self._flow.send(None) if failure is None else self._flow.throw(failure)
            except StopIteration as end:
                self.drawn = end.value
                return None
            if isinstance(effect, Run):
                return effect
            try:
                await perform_async(effect, self.work)
            except GeneratorExit:
                # The task is being destroyed and cannot wait any more.
                raise
            except BaseException as error:  # noqa: BLE001 - the flow decides
                self._failure = error

    def failed(self, failure: BaseException) -> None:
        """Have the flow told, as it goes on, that its run has failed."""
        self._failure = failure


class _Live:
    """The function's own generator while it runs for a draw."""

    def __init__(self, run: Run, work: Work, recording: Recording) -> None:
        self._run, self._work, self._recording = run, work, recording
        self._is_over = False
        self._reading = _Reading(run.ticket)
        self._source: Any = None
        self._step: Callable[[Any], Awaitable[Any]] = self._begin
        self._given: Any = None

    async def _begin(self, _: None) -> Any:
        self._source = self._work.call(self._run.batches[0])
        return await self._source.asend(None)

    async def chunk(self) -> Any:
        """Return the next chunk, or `OVER`."""
        self._reading.here()
        begin = perf_counter()
        try:
            chunk = await self._step(self._given)
        except StopAsyncIteration:
            return OVER
        finally:
            self._recording.seconds += perf_counter() - begin
        self._recording.hear(chunk)
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
        self._reading.over = self._is_over = True
        await drive_async(_landing(self._run, self._recording, None), self._work)

    async def closed(self, failure: BaseException) -> BaseException:
        """Close the generator, which may still be open where its reader left; return what went wrong."""
        self._reading.over = True
        if not self._is_over:
            self._run.failed(failure)
        try:
            if self._source is not None:
                await self._source.aclose()
        except BaseException as error:  # noqa: BLE001 - the flow decides
            return error
        return failure
