"""Streams that are read to their end whoever leaves: drawn whole, and told as they come."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from memollm.http.exchanges import Exchange

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Coroutine

    from memollm.http.samples import Sample


class ToldExchange(Exchange):
    """A request whose answer is told to a reader, who may leave, while it is recorded."""

    def __init__(self, inner: Any, request: Any, question: Any) -> None:
        super().__init__(inner, request, question)
        self.events: asyncio.Queue[str | None] = asyncio.Queue()
        """What has come, and nothing after the last."""

    async def record_async(self) -> Sample:
        """Send the request, tell its events as they come, and return them all."""
        sample: Sample = []
        async with aclosing(self.listen_async()) as heard:
            async for event in heard:
                sample.append(event)
                self.events.put_nowait(event)
        return sample


def told(draw: Callable[[], Coroutine[Any, Any, Sample]], exchange: ToldExchange) -> AsyncGenerator[str, None]:
    """Begin a draw, and return its events as they come; who leaves them leaves its request under way."""
    drawing = asyncio.get_running_loop().create_task(draw())
    drawing.add_done_callback(lambda _: exchange.events.put_nowait(None))
    return _events(drawing, exchange)


async def _events(drawing: asyncio.Task[Sample], exchange: ToldExchange) -> AsyncGenerator[str, None]:
    is_live = False
    try:
        while (event := await exchange.events.get()) is not None:
            is_live = True
            yield event
        sample = await drawing
        # What was stored, or made for somebody else, was told to nobody here.
        for event in () if is_live else sample:
            yield event
    finally:
        drawing.cancel()
        await asyncio.wait({drawing})
        if not drawing.cancelled():
            drawing.exception()
