"""The trampoline: a flow on its way, stepped by whoever does what it yields, and told when its task is cancelled."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from memollm._types.hiding import hides

if TYPE_CHECKING:
    from types import TracebackType

    from memollm._draws.effects import Effect, Flow

__tracebackhide__ = hides


class Course:
    """A flow on its way.

    A driver does each effect inside `with`, which tells the flow what went wrong::

    course = Course(flow)
    while (effect := course.next()) is not None:
        with course:
            course.answer = perform(effect)
    return course.result
    """

    __slots__ = ("_failure", "_flow", "answer", "result")

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._failure: BaseException | None = None
        self.answer: Any = None
        """What the flow is sent as it goes on."""
        self.result: Any = None
        """What it returned."""

    def next(self) -> Effect | None:
        """Go on to the next effect; None at the end."""
        answer, failure, self.answer, self._failure = self.answer, self._failure, None, None
        try:
            return self._flow.send(answer) if failure is None else self._flow.throw(failure)
        except StopIteration as end:
            self.result = end.value
            return None

    def failed(self, failure: BaseException) -> None:
        """Have the flow told, as it goes on, that its effect has failed."""
        self._failure = failure

    def drop(self) -> None:
        """End the flow where nothing can be waited for; it knows what to do."""
        self._flow.close()

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if kind is GeneratorExit:
            # Whoever drives it is being destroyed and cannot wait any more; the flow knows what to do.
            self._flow.close()
            return False
        if failure is not None:
            self._failure = failure
        return failure is not None


def dropped(flow: Flow) -> None:
    """Have a flow end that nobody can drive: it knows what to do without waiting."""
    with suppress(StopIteration):
        next(flow)
    flow.close()
