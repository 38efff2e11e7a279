"""How a call of a Redis store keeps what runs were given of it: fields of a hash, and what each holds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm.stores.redis.asking import pairs
from memollm.stores.transcripts import once_each, reader_of, runner_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import DrawnStretch
    from memollm.stores.transcripts import Row


def _field(who: tuple[str, str, str], first: int, last: int, at: float) -> tuple[str, str]:
    runner, reader, lane = who
    return f"{runner}\0{reader}\0{first}", f"{last}:{at!r}:{lane}"


def _read(fields: Sequence[bytes]) -> Iterator[tuple[tuple[str, str, str], int, int, float]]:
    for name, value in pairs(fields):
        runner, reader, first = name.decode().split("\0")
        last, at, lane = value.decode().split(":", 2)
        yield (runner, reader, lane), int(first), int(last), float(at)


def fields_of(drawn: Iterable[DrawnStretch]) -> dict[Call, list[str]]:
    """Write stretches as fields and values, one after the other, for each call."""
    fields: dict[Call, list[str]] = {}
    for each in once_each(drawn):
        field = _field((runner_of(each), reader_of(each), each.lane), each.first, each.last, each.at)
        fields.setdefault(each.call, []).extend(field)
    return fields


def rows_of(call: Call, fields: Sequence[bytes]) -> Iterator[Row]:
    """Read what they hold."""
    for who, first, last, at in _read(fields):
        yield *who, call.key, call.form, call.function, first, last, at


def moved_drawn(fields: Sequence[bytes], start: int) -> list[str]:
    """Write them for a call in which their slots come after others."""
    return [part for who, first, last, at in _read(fields) for part in _field(who, start + first, start + last, at)]
