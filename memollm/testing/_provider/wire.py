"""HTTP as the fakes speak it: a server on loopback with an event loop and a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    Handler = Callable[["Received", "Wire"], Awaitable[None]]

LONGEST: Final = 64 << 20
"""The most bytes of one line or body."""


class Received(NamedTuple):
    """A request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    content: bytes


class Wire:
    """What a request is answered on."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self.is_open = True

    async def whole(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        """Send a response in one piece."""
        self._writer.write(_head(status, {"content-length": str(len(content)), **headers}) + content)
        await self._writer.drain()

    async def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """Begin a response whose end is not known yet."""
        self._writer.write(_head(status, {**headers, "transfer-encoding": "chunked"}))
        await self._writer.drain()

    async def piece(self, content: bytes) -> None:
        """Send a piece of it."""
        self._writer.write(b"%x\r\n%b\r\n" % (len(content), content))
        await self._writer.drain()
        # Whoever has left is noticed while the loop turns.
        await asyncio.sleep(0)
        if self._writer.is_closing() or self._reader.at_eof():
            raise ConnectionResetError("The client has left.")

    async def end(self) -> None:
        """End it."""
        self._writer.write(b"0\r\n\r\n")
        await self._writer.drain()

    async def cut(self, content: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        """Break the connection off: after a part of a whole response, if one is given, else where it stands."""
        if content:
            length = {**(headers or {}), "content-length": str(2 * len(content))}
            self._writer.write(_head(HTTPStatus.OK, length) + content)
            await self._writer.drain()
        self.is_open = False


def _head(status: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class Loopback:
    """Serves a handler on a free port of this machine, in a thread of its own, until it is closed."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._tasks: set[asyncio.Task[Any]] = set()
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="memollm loopback", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._closing = asyncio.Event()
        self.port = 0

    def open(self) -> None:
        """Begin to serve."""
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Break off what is under way, and end."""
        self.tell(self._closing.set)
        self._thread.join()

    @property
    def is_closed(self) -> bool:
        """Whether its loop is closed and its thread has ended."""
        return self.loop.is_closed() and not self._thread.is_alive()

    def tell(self, callback: Callable[[], object]) -> None:
        """Have something done in its thread; when it has ended, nothing."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(callback)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        try:
            server = await asyncio.start_server(self._connected, "127.0.0.1", 0, limit=LONGEST, backlog=1000)
            self.port = server.sockets[0].getsockname()[1]
        except OSError as error:
            self._failure = error
            return
        finally:
            self._ready.set()
        await self._closing.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await self._talk(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(reader, writer)
        while wire.is_open and (received := await _received(reader)) is not None:
            await self._handler(received, wire)


async def _received(reader: asyncio.StreamReader) -> Received | None:
    first = await reader.readline()
    if not first.strip():
        return None
    method, target, _ = first.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).decode("latin-1").strip():
        name, _, value = line.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Received(method, target, headers, await _content(reader, headers))


async def _content(reader: asyncio.StreamReader, headers: Mapping[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", 0)))
    pieces: list[bytes] = []
    while size := int((await reader.readline()).split(b";")[0], 16):
        pieces.append((await reader.readexactly(size + 2))[:-2])
    await reader.readline()
    return b"".join(pieces)
