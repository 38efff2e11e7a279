"""What `with door.hold(...)` gives: samples that are there, or the draw of them, parked for whoever makes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from memollm._calls.door_call import Holding, nothing
from memollm._draws.lookups import LetGo
from memollm._drive.calls import call, drive
from memollm._drive.holding import Parked, bring_async, entered_async, over_async, park
from memollm._types.public import public
from memollm.errors import HoldError

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from types import TracebackType

    from memollm._calls.function import Function
    from memollm._draws.effects import Flow


class _Drawn:
    """The samples of a hold, as far as they are there."""

    __slots__ = ("_is_over", "_n", "_parked", "_request", "_values", "hit")

    def __init__(self, request: Holding, n: int, found: Parked | list[Any]) -> None:
        self._request = request
        self._n = n
        self._parked: Parked | None = None
        self._values: list[Any] | None = None
        if isinstance(found, Parked):
            self._parked = found
        else:
            self._values = found
        self._is_over = False
        self.hit = self._parked is None
        """Whether nothing had to be made."""

    @property
    def missing(self) -> int:
        """How many samples are to be filled in at this moment."""
        return 0 if self._parked is None or self._is_over else self._parked.missing

    @property
    def values(self) -> list[Any]:
        """The samples, when none is missing."""
        values = self._values if self._parked is None else self._parked.values
        if values is None:
            left = "was left" if self._is_over else "is not filled yet"
            raise HoldError(f"{self._name} {left}: {self.missing or 'some'} samples are missing. Ask `missing` first.")
        return values

    @property
    def value(self) -> Any:
        """The sample of a hold of one."""
        if self._n != 1:
            raise HoldError(f"{self._name} holds {self._n} samples, not one: read them as `values`.")
        return (self._values or self.values)[0]

    @property
    def _name(self) -> str:
        return f"A hold of {self._request.plan.name!r}"

    def _standing(self) -> Parked:
        if self._parked is None or not self.missing:
            over = "was left" if self._is_over else "has no sample missing"
            raise HoldError(f"{self._name} {over}, so there is nothing to fill. Ask `missing` first.")
        return self._parked

    def _leaving(self, failure: BaseException | None) -> Flow:
        """Be over, and release what is not filled."""
        missing, self._is_over = self.missing, True
        if self._parked is not None and missing:
            yield from self._parked.leave(failure or LetGo())


@public
class HeldDraw(_Drawn):
    """A draw that is held in a `with` block."""

    __slots__ = ()

    def fill(self, value: Any) -> None:
        """Fill in one missing sample; it is on disk when this returns. It may wait where others make what is next."""
        drive(self._standing().fill(value), self._request)

    def release(self) -> None:
        """Give the draw up; what was filled in stays stored, and the next draw takes its position."""
        self._release(None)

    def _release(self, failure: BaseException | None) -> None:
        drive(self._leaving(failure), self._request)


@public
class AsyncHeldDraw(_Drawn):
    """A draw that is held in an `async with` block."""

    __slots__ = ()

    def fill(self, value: Any) -> Coroutine[Any, Any, None]:
        """Fill in one missing sample, to be awaited; it is on disk then."""
        return bring_async(self._request, lambda: self._standing().fill(value), _untold)

    def release(self) -> Coroutine[Any, Any, None]:
        """Give the draw up, to be awaited; what was filled in stays stored."""
        return self._release(None)

    def _release(self, failure: BaseException | None) -> Coroutine[Any, Any, None]:
        return bring_async(self._request, lambda: self._leaving(failure), _untold)


@public
class Hold:
    """A draw to be entered by `with` or `async with`; once."""

    __slots__ = ("_function", "_held", "_material", "_n")

    def __init__(self, function: Function, material: Any, n: int) -> None:
        self._function = function
        self._material = material
        self._n = n
        self._held: HeldDraw | AsyncHeldDraw | None = None

    def __enter__(self) -> HeldDraw:
        request = self._begin()
        self._held = held = HeldDraw(request, self._n, call(request, park))
        return held

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        held = self._held
        if held is not None and not held.hit:
            cast("HeldDraw", held)._release(failure)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - they are one

    def __aenter__(self) -> Coroutine[Any, Any, AsyncHeldDraw]:
        return entered_async(self._begin, self._enter_async)

    def __aexit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> Coroutine[Any, Any, None]:
        held = cast("AsyncHeldDraw", self._held)
        if held.hit:
            return over_async()
        return held._release(failure)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - they are one

    def _enter_async(self, request: Holding, found: Any) -> AsyncHeldDraw:
        self._held = held = AsyncHeldDraw(request, self._n, found)
        return held

    def _begin(self) -> Holding:
        if self._held is not None:
            raise HoldError("A hold is entered once. Ask the door for another: with door.hold(...) as held.")
        return Holding(self._function, nothing, None, (self._material,), {}, None if self._n == 1 else self._n)


def _untold(_: Any) -> None:
    """Take no notice of what became of it."""
