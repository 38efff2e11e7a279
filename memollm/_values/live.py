"""What can never be a stored value: streams, locks and whatever else is used up or held while it is looked at."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from functools import lru_cache

from memollm._types.secret import is_secret_type
from memollm.errors import UncacheableResult

_STREAMS = (Iterator, AsyncIterator)
_FILES = (io.IOBase, socket.socket)
_LOCKS = (
    type(threading.Lock()),
    type(threading.RLock()),
    threading.Condition,
    threading.Event,
    threading.Semaphore,
    threading.Thread,
)


def refuse_live(value: object, path: str) -> None:
    """Raise `UncacheableResult` for a live thing or a secret, with the way out for its kind."""
    refuse_secret(value, path)
    advice = _advice(value)
    if advice:
        kind = f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
        raise UncacheableResult(f"{path} is a live object ({kind}) and cannot be stored: {advice}")


def refuse_secret(value: object, path: str) -> None:
    """Raise `UncacheableResult` for an object that hides its content, which must not lie in a file."""
    kind: type = type(value)
    if _hides(kind):
        raise UncacheableResult(
            f"{path} is a secret ({kind.__module__}.{kind.__qualname__}) and is not written down: leave it out of what "
            "the function returns; or register its type with an encoder, if it is to be stored readable"
        )


@lru_cache(maxsize=1024)
def _hides(kind: type) -> bool:
    return is_secret_type(kind)


def _advice(value: object) -> str:
    if isinstance(value, _FILES):  # Before the iterators, which files are too.
        return "read it inside the function and return the bytes or the text"
    if isinstance(value, _STREAMS):
        return "reading it would use it up. Make the function a generator function (yield the chunks), or return a list"
    if isinstance(value, Awaitable):
        return "await it inside the function and return what it gives"
    if isinstance(value, _LOCKS):
        return "return the data without it"
    return ""
