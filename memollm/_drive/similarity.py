"""The drivers of looking for similar calls: before the function runs, in its own colour, in its flight."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from memollm._drive.calls import in_own_thread
from memollm._drive.maps import stream, stream_async
from memollm._similar.matcher import AskUser
from memollm._spending.meter import metering
from memollm._types.hiding import hides

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from memollm._drive.jobs import Job, Mapped
    from memollm._similar.matcher import Search, SearchWork
    from memollm._spending.budget import Budget
    from memollm._spending.program import ProgramBudget
    from memollm._types.allowance import Allowance

__tracebackhide__ = hides


class SetAside(NamedTuple):
    """A call of the function that budgets have set aside: what looks for a similar one may use its room first."""

    function: str
    budgets: Sequence[Budget]
    program: tuple[ProgramBudget, Allowance] | None = None
    """The budget of the whole program, and what it allows."""

    @contextmanager
    def lifted(self) -> Generator[None]:
        """Give its room back for a while."""
        with ExitStack() as stack:
            for budget in self.budgets:
                stack.enter_context(budget.lifted(self.function))
            if self.program is not None:
                stack.enter_context(self.program[0].lifted(self.function))
            yield

    def require_room(self) -> None:
        """Refuse the call if there is no room for it any more."""
        for budget in self.budgets:
            budget.require_room(self.function)

    def require_room_of_program(self) -> None:
        """Do so in the budget of the whole program; this may wait for a disk."""
        if self.program is not None:
            budget, allowed = self.program
            budget.require_room(self.function, allowed)


def lent_or_made(search: Search, make: Callable[[], Any], aside: SetAside) -> Any:
    """Return what a similar call lends, or what the function makes."""
    with aside.lifted():
        lent = _found(search)
    if lent is not None:
        return lent
    aside.require_room()
    aside.require_room_of_program()
    _begin_anew()
    return make()


def _found(search: Search) -> Any:
    failure: Exception | None = None
    answer: Any = None
    while True:
        try:
            step = search.send(answer) if failure is None else search.throw(failure)
        except StopIteration as end:
            return end.value
        answer = failure = None
        try:
            answer = _done(step)
        except Exception as error:  # noqa: BLE001 - the search decides
            failure = error


def _done(step: AskUser | SearchWork) -> Any:
    return step.memo.call(*step.arguments) if isinstance(step, AskUser) else step.work()


async def lent_or_made_async(search: Search, make: Callable[[], Awaitable[Any]], aside: SetAside) -> Any:
    """Return what a similar call lends, or what the function makes; nothing of it blocks the event loop."""
    with aside.lifted():
        lent = await _found_async(search)
    if lent is not None:
        return lent
    aside.require_room()
    if aside.program is not None:
        await in_own_thread(aside.require_room_of_program)
    _begin_anew()
    return await make()


async def _found_async(search: Search) -> Any:
    failure: Exception | None = None
    answer: Any = None
    while True:
        try:
            step = search.send(answer) if failure is None else search.throw(failure)
        except StopIteration as end:
            return end.value
        answer = failure = None
        try:
            answer = await _done_async(step)
        except Exception as error:  # noqa: BLE001 - the search decides
            failure = error


async def _done_async(step: AskUser | SearchWork) -> Any:
    if isinstance(step, AskUser) and step.memo.is_async:
        return await step.memo.call_async(*step.arguments)
    return await in_own_thread(lambda: _done(step))


def take_up(job: Callable[[], Job], take: Callable[[Mapped[Any]], int]) -> int:
    """Do a job's requests, and take up what comes of each at once; return how many were."""
    return sum(map(take, stream(job())))


async def take_up_async(job: Callable[[], Job], take: Callable[[Mapped[Any]], int], *, is_async: bool) -> int:
    """Do so in a task: nothing of it blocks the event loop."""
    if not is_async:
        return cast("int", await in_own_thread(lambda: take_up(job, take)))
    taken, made = 0, await in_own_thread(job)
    async for mapped in stream_async(made):
        taken += await in_own_thread(lambda mapped=mapped: take(mapped))  # type: ignore[misc]
    return taken


async def read_from(awaited: Awaitable[Any], read: Callable[[Any], Any]) -> Any:
    """Wait for what a user's function returns, and read it."""
    return read(await awaited)


def _begin_anew() -> None:
    """Let the time of the call begin now: what the search took is no time of the function's."""
    meter = metering.get()
    if meter is not None:
        meter.begin_anew()
