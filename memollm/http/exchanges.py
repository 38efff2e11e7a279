"""Asking the provider, for one request: what is sent, and which answers can be kept."""

from __future__ import annotations

import asyncio
import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._spending.meter import used
from memollm.http.events import Listener, Splitter, dict_of
from memollm.http.samples import split

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterator

    from memollm.http.questions import Question

KEPT: Final = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
ON_THE_WAY: Final = frozenset({"content-encoding", "content-length", "transfer-encoding", "connection"})
"""Headers that are about how a body came, not about what it is."""
LARGE: Final = 100_000
"""Bytes of a body from which on reading it takes more time than an event loop has."""


class Answered(NamedTuple):
    """What the provider has answered."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes
    extensions: dict[str, Any]

    @classmethod
    def of(cls, response: Any, content: bytes = b"") -> Answered:
        """Return what a response of httpx says."""
        headers = [(name, value) for name, value in response.headers.multi_items() if name not in ON_THE_WAY]
        version = {name: value for name, value in response.extensions.items() if name != "network_stream"}
        return cls(response.status_code, headers, content, version)


class NoAnswer(Exception):
    """The provider has answered what is to be passed on, and cannot be kept: an error, or a body that is none."""

    def __init__(self, answered: Answered) -> None:
        super().__init__(f"The provider answered with status {answered.status}.")
        self.answered = answered


class Unfinished(Exception):
    """A stream has ended without its end mark, or with an error."""


class Exchange:
    """A request on its way to the provider, if it comes to that."""

    def __init__(self, inner: Any, request: Any, question: Question) -> None:
        self._inner = inner
        self._request = request
        self._question = question
        self.answered: Answered | None = None
        """What came back for this very request."""

    def ask(self, n: int | None = None) -> Any:
        """Send the request, and return its sample, or n of them."""
        response = self._inner.handle_request(self._request_for(n))
        try:
            content = response.read()
        finally:
            response.close()
        answered = self._require_kept(Answered.of(response, content))
        return self._samples(answered, _parsed(answered), n)

    def listen(self) -> Generator[str, None, None]:
        """Send the request, and pass its events on as they come."""
        response = self._inner.handle_request(self._request)
        try:
            if not _streams(response):
                raise NoAnswer(Answered.of(response, response.read()))
            self.answered = Answered.of(response)
            heard = Hearing(self._question)
            for piece in response.iter_bytes():
                for event in heard.feed(piece):
                    yield event
                    if heard.is_over():
                        return
            heard.end()
        finally:
            response.close()

    async def ask_async(self, n: int | None = None) -> Any:
        """Do so in a task."""
        response = await self._inner.handle_async_request(self._request_for(n))
        try:
            content = await response.aread()
        finally:
            await response.aclose()
        answered = self._require_kept(Answered.of(response, content))
        large = len(content) > LARGE
        body = await asyncio.to_thread(_parsed, answered) if large else _parsed(answered)
        return self._samples(answered, body, n)

    async def listen_async(self) -> AsyncGenerator[str, None]:
        """Do so in a task."""
        response = await self._inner.handle_async_request(self._request)
        try:
            if not _streams(response):
                raise NoAnswer(Answered.of(response, await response.aread()))
            self.answered = Answered.of(response)
            heard = Hearing(self._question)
            async for piece in response.aiter_bytes():
                for event in heard.feed(piece):
                    yield event
                    if heard.is_over():
                        return
            heard.end()
        finally:
            await response.aclose()

    def _request_for(self, n: int | None) -> Any:
        """Return the request, or the same for another number of samples."""
        request = self._request
        if n is None or n == self._question.n:
            return request
        content = json.dumps({**self._question.body, "n": n}, ensure_ascii=False).encode()
        headers = [(name, value) for name, value in request.headers.multi_items() if name not in ON_THE_WAY]
        return type(request)(
            request.method, request.url, headers=headers, content=content, extensions=request.extensions
        )

    def _require_kept(self, answered: Answered) -> Answered:
        if answered.status not in KEPT:
            raise NoAnswer(answered)
        return answered

    def _samples(self, answered: Answered, body: dict[str, Any], n: int | None) -> Any:
        used(body)
        self.answered = answered
        return [answered.content.decode()] if n is None else split(body, n)


def _streams(response: Any) -> bool:
    return response.status_code in KEPT and "event-stream" in response.headers.get("content-type", "")


def _parsed(answered: Answered) -> dict[str, Any]:
    """Return a body; what is no object of JSON, or tells of an error alone, is no answer."""
    try:
        body = dict_of(json.loads(answered.content.decode()))
    except (ValueError, RecursionError):
        body = {}
    if not body or (body.get("error") and "status" not in body):
        raise NoAnswer(answered)
    return body


class Hearing:
    """A stream that comes in: its events, what it has used, and whether it is whole."""

    def __init__(self, question: Question) -> None:
        self._splitter = Splitter()
        self._listener = Listener(question.endpoint)
        self._has_ends = bool(question.endpoint.ends)

    def feed(self, piece: bytes) -> Iterator[str]:
        """Take some bytes, and give the events that they complete."""
        for event in self._splitter.feed(piece):
            used(self._listener.hear(event))
            yield event

    def is_over(self) -> bool:
        """Tell whether the stream is whole; one that has told of an error never is."""
        if self._listener.is_whole and self._listener.has_failed:
            raise Unfinished
        return self._listener.is_whole

    def end(self) -> None:
        """Take note that nothing more comes."""
        if self._has_ends or self._listener.has_failed:
            raise Unfinished
