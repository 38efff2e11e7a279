"""What a call takes while it runs: the meter that times it, and `used`, by which it says what else it took."""

from __future__ import annotations

from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar, cast, overload

from memollm._spending.shared_clock import shared_clock
from memollm._spending.usage import Reading, Usage, checked, readings_of
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from contextvars import Token
    from types import TracebackType

Response = TypeVar("Response")
PAIR: Final = ("input_tokens", "output_tokens")


class Meter:
    """What one call of a function takes: it runs inside `with`, a stream once for each of its chunks.

    Threads that the call starts with its context note on the same meter.
    """

    __slots__ = ("__weakref__", "_began", "_shown", "_token", "failed", "latency", "notes", "seconds")

    def __init__(self) -> None:
        self.notes: list[Reading] = []
        """What was noted by `used`."""
        self.seconds = 0.0
        """Its share of the time in which calls were in flight."""
        self.latency = 0.0
        """How long it ran itself."""
        self.failed: int | None = None
        """How many failed requests are counted here, of those that it shared with others; None if it shared none."""
        self._shown: float | None = None

    def __enter__(self) -> Self:
        self._token: Token[Meter | None] = metering.set(self)
        self.start()
        return self

    def start(self) -> None:
        """Let the time run, of a call whose code is not all inside one block."""
        self._began, self._shown = shared_clock.now(), shared_clock.begin(self)

    def stop(self) -> None:
        """Stop the time, as the call has returned, or waits to be served together with others."""
        began, self._shown = self._shown, None
        if began is not None and (shown := shared_clock.end(self)) is not None:
            self.seconds += shown - began
            self.latency += shared_clock.now() - self._began

    def begin_anew(self) -> None:
        """Forget the time that has passed: it was spent on finding out whether the function is to be called."""
        self.stop()
        self.seconds = self.latency = 0.0
        self.start()

    def __exit__(
        self, kind: type[BaseException] | None, failure: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
        # A coroutine that is destroyed instead of ended is closed in the context of whoever does it.
        with suppress(ValueError):
            metering.reset(self._token)


metering: Final[ContextVar[Meter | None]] = ContextVar("memollm_meter", default=None)
"""The meter of the call inside which this code runs."""


@overload
def used(
    response: Response, *, tokens: tuple[int, int] | None = ..., cost: float | None = ..., model: str | None = ...
) -> Response: ...
@overload
def used(*, tokens: tuple[int, int] | None = ..., cost: float | None = ..., model: str | None = ...) -> None: ...
def used(response: Any = None, *, tokens: Any = None, cost: float | None = None, model: str | None = None) -> Any:
    """Note, inside a memoized function, what a provider's response took, and return the response.

    ::

        @cached_llm
        def ask(prompt: str) -> str:
            return memollm.used(client.responses.create(model="gpt-5-mini", input=prompt)).output_text

    What is noted several times in one call adds up; the chunks of one streamed answer count once. With `count` and
    `batch` it is divided among the samples of the call. Outside a memoized call nothing is noted. A function whose
    result shows usage itself needs no `used`, and whatever is noted counts instead of what the result shows.

    response  a provider's response or chunk, its usage, a `Usage`, or a mapping that holds one
    tokens    by hand: how many went in and came out
    cost      by hand: dollars
    model     by hand: the name by which tokens are priced
    """
    said: dict[str, Any] = {"cost": cost, "model": model, **_by_hand(tokens)}
    said = {name: value for name, value in said.items() if value is not None}
    checked(Usage(**said), "used() was given")
    meter = metering.get()
    if meter is not None:
        meter.notes += _noted(readings_of(response), said) if said else readings_of(response)
    return response


def _by_hand(tokens: object) -> dict[str, object]:
    if tokens is None:
        return {}
    pair = cast("tuple[object, ...]", tokens) if isinstance(tokens, tuple) else ()
    if len(pair) != len(PAIR):
        raise OptionError(f"used(tokens={tokens!r}): it must be how many went in and how many came out, as (1200, 80).")
    return dict(zip(PAIR, pair, strict=True))


def _noted(found: Sequence[Reading], said: dict[str, Any]) -> Iterator[Reading]:
    """Give what was found with what is said by hand in its place."""
    usage = found[0].usage if len(found) == 1 else Usage()
    source = found[0].source if len(found) == 1 else None
    yield Reading(usage._replace(**said), source, None, goes_on=False)
