"""Passing the events of a draw on to whoever reads them; the sample is stored before the event that clients stop at."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from memollm.http.events import is_end
from memollm.http.exchanges import Unfinished

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Sequence


def events(first: str | None, source: Generator[str, None, None], ends: Sequence[str]) -> Generator[str, None, None]:
    """Pass the events of a draw on."""
    event = first
    try:
        while event is not None:
            then = following(source) if is_end(event, ends) else None
            yield event
            event = then or following(source)
    finally:
        source.close()


def retold(told: Iterable[str], source: Generator[str, None, None], ends: Sequence[str]) -> Generator[str, None, None]:
    """Tell of a whole answer by its events: given with the end mark, and given back where its reader leaves before."""
    try:
        for event in told:
            if is_end(event, ends):
                _exhaust(source)
            yield event
        _exhaust(source)
    finally:
        source.close()


def _exhaust(source: Generator[str, None, None]) -> None:
    for _ in source:
        pass


def following(source: Generator[str, None, None]) -> str | None:
    """Return the next event, or None at the end, however it has ended."""
    with suppress(Unfinished):
        return next(source, None)
    return None


async def events_async(
    first: str | None, source: AsyncGenerator[str, None], ends: Sequence[str]
) -> AsyncGenerator[str, None]:
    """Pass the events of a draw on, in a task."""
    event = first
    try:
        while event is not None:
            then = await following_async(source) if is_end(event, ends) else None
            yield event
            event = then or await following_async(source)
    finally:
        await source.aclose()


async def following_async(source: AsyncGenerator[str, None]) -> str | None:
    """Return the next event, or None at the end, however it has ended."""
    with suppress(Unfinished):
        return await anext(source, None)
    return None


async def retold_async(
    told: Iterable[str], source: AsyncGenerator[str, None], ends: Sequence[str]
) -> AsyncGenerator[str, None]:
    """Tell of a whole answer, in a task."""
    try:
        for event in told:
            if is_end(event, ends):
                await _exhaust_async(source)
            yield event
        await _exhaust_async(source)
    finally:
        await source.aclose()


async def _exhaust_async(source: AsyncGenerator[str, None]) -> None:
    async for _ in source:
        pass
