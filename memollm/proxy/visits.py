"""A client's side of one request: its body as it comes, its leaving, and what is sent to it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from memollm.proxy.refusals import Declined

if TYPE_CHECKING:
    import contextvars
    from collections.abc import Awaitable, Callable, Coroutine, MutableMapping, Sequence

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]

LEFT: Final = "http.disconnect"


class ClientLeft(Exception):
    """Nobody is there any more to be answered."""


class Visit:
    """One request of a client."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.has_begun = False
        """Whether a part of an answer was sent,"""
        self.is_whole = False
        """and whether all of it was."""

    async def body(self, most: int, length: str | None) -> bytes:
        """Read the body, up to so many bytes."""
        if length is not None and length.isdecimal() and int(length) > most:
            raise _too_large(most)
        pieces: list[bytes] = []
        size, has_more = 0, True
        while has_more:
            message = await self._receive()
            if message["type"] == LEFT:
                raise ClientLeft
            piece = message.get("body", b"")
            size += len(piece)
            if size > most:
                raise _too_large(most)
            pieces.append(piece)
            has_more = message.get("more_body", False)
        return b"".join(pieces)

    async def unless_left(self, work: Coroutine[Any, Any, None], context: contextvars.Context) -> None:
        """Do the work that answers; where the client leaves before, stop it and raise `ClientLeft`."""
        doing = asyncio.get_running_loop().create_task(work, context=context)
        leaving = asyncio.ensure_future(self._leaving())
        try:
            await asyncio.wait({doing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            # What follows the last byte is not disturbed.
            has_left = not doing.done() and not self.is_whole
        except asyncio.CancelledError:
            doing.cancel()
            await asyncio.wait({doing})
            raise
        finally:
            leaving.cancel()
        if has_left:
            doing.cancel()
        await asyncio.wait({doing})
        if doing.cancelled() and has_left:
            raise ClientLeft
        doing.result()

    async def _leaving(self) -> None:
        while (await self._receive())["type"] != LEFT:
            pass

    async def begin(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Send the head of an answer."""
        self.has_begun = True
        await self._send({"type": "http.response.start", "status": status, "headers": [*headers]})

    async def piece(self, content: bytes) -> None:
        """Send a part of its body; this waits for a client that reads slowly."""
        await self._send({"type": "http.response.body", "body": content, "more_body": True})

    async def end(self, content: bytes = b"") -> None:
        """Send the last part."""
        self.is_whole = True
        await self._send({"type": "http.response.body", "body": content})

    async def refuse(self, status: int, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> None:
        """Send an error; where an answer has begun it can only break off."""
        if not self.has_begun:
            with suppress(OSError):
                await self.begin(status, headers)
                await self.end(content)


def _too_large(most: int) -> Declined:
    return Declined(413, "body_too_large", f"The body is larger than {most:,} bytes, the limit here (--max-body).")
