"""Responses of httpx or httpx2, whichever asks: of what is stored, of what comes in, and of what is refused."""

from __future__ import annotations

import functools
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from types import ModuleType

    from memollm.http.exchanges import Answered

LIBRARIES: Final = ("httpx", "httpx2")
JSON: Final = [("content-type", "application/json")]
SSE: Final = [("content-type", "text/event-stream; charset=utf-8")]
NAME: Final = "x-memollm"
"""The header that says where a response came from: "hit", "paid" or "shared"."""
TRACKED: Final = "memollm"
"""The extension of a response that tells what was drawn for it: a `Track`, which a stream fills at its end."""


_known: Final[dict[type, Classes]] = {}


class Classes(NamedTuple):
    """What responses are made of."""

    library: ModuleType
    response: Any
    refusal: Any
    passing: Any
    passing_async: Any


def classes_for(thing: object) -> Classes:
    """Return the classes of the library that something belongs to."""
    kind = type(thing)
    found = _known.get(kind)
    if found is None:
        found = _known[kind] = _classes_for(kind)
    return found


def _classes_for(kind: type) -> Classes:
    for cls in kind.__mro__:
        name = cls.__module__.partition(".")[0]
        if name in LIBRARIES:
            return _classes_of(name)
    raise OptionError(f"{kind.__qualname__} belongs neither to httpx nor to httpx2.")


@functools.cache
def _classes_of(name: str) -> Classes:
    library: Any = sys.modules[name]
    return Classes(library, library.Response, _refusal_of(library), _passing_of(library), _passing_async_of(library))


def _refusal_of(library: Any) -> Any:
    class Refusal(library.Response):  # type: ignore[misc]  # whichever library it is
        """Says at once why nothing was answered: SDKs would take an exception of the transport for a bad line."""

        refused: Any = None

        def raise_for_status(self) -> Any:
            """Raise it."""
            raise self.refused

        @property
        def is_success(self) -> bool:
            """Raise it."""
            raise self.refused

    return Refusal


def _passing_of(library: Any) -> Any:
    class Passing(library.SyncByteStream):  # type: ignore[misc]  # whichever library it is
        """The events of a stream, as a body."""

        def __init__(self, events: Generator[str, None, None], source: Generator[str, None, None]) -> None:
            self._events = events
            self._source = source

        def __iter__(self) -> Any:
            return map(str.encode, self._events)

        def close(self) -> None:
            """End the stream; one that has not come to its end is given back."""
            self._events.close()
            # Events that nobody has asked for do not know that they are over.
            self._source.close()

    return Passing


def _passing_async_of(library: Any) -> Any:
    class PassingAsync(library.AsyncByteStream):  # type: ignore[misc]  # whichever library it is
        """The same in a task."""

        def __init__(self, events: AsyncGenerator[str, None], source: AsyncGenerator[str, None]) -> None:
            self._events = events
            self._source = source

        def __aiter__(self) -> Any:
            return self

        async def __anext__(self) -> bytes:
            return (await anext(self._events)).encode()

        async def aclose(self) -> None:
            """End the stream; one that has not come to its end is given back."""
            await self._events.aclose()
            await self._source.aclose()

    return PassingAsync


def passed_on(request: Any, answered: Answered) -> Any:
    """Return a response that is nobody's sample."""
    made = classes_for(request).response
    return made(answered.status, headers=answered.headers, content=answered.content, extensions=answered.extensions)


def refused(request: Any, error: Exception) -> Any:
    """Return what raises an error past the retries of an SDK; raise it where no SDK asks."""
    if "x-stainless-lang" not in request.headers:
        raise error
    response = classes_for(request).refusal(400, headers={"x-should-retry": "false", NAME: "refused"}, content=b"{}")
    response.refused = error
    return response
