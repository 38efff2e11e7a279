"""What a call says of itself while it runs: `used`, and the meter on which it is noted."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast, overload

from memollm._spending.usage import Reading, Usage, checked, readings_of
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Response = TypeVar("Response")
PAIR: Final = ("input_tokens", "output_tokens")


class Meter:
    """What was noted of one call of a function; threads that it starts with its context note on the same."""

    __slots__ = ("notes",)

    def __init__(self) -> None:
        self.notes: list[Reading] = []


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
