"""What is answered where nothing is: one clear line, in the form of the provider's errors, so that SDKs show it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

import httpx

from memollm.errors import (
    BudgetExceeded,
    CacheMiss,
    MemollmError,
    OptionError,
    UnkeyableArgument,
    UnknownCost,
    WrongNumber,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

JSON: Final = (b"content-type", b"application/json")
FINAL: Final = (b"x-should-retry", b"false")
"""What SDKs of OpenAI's kind are told where trying again is of no use."""
AGAIN: Final = (b"retry-after", b"1")
REFUSED: Final = (b"x-memollm", b"refused")
OF_OURS: Final[Sequence[tuple[type[MemollmError], int, str]]] = (
    (CacheMiss, 424, "cache_miss"),
    (BudgetExceeded, 402, "budget_exceeded"),
    (UnknownCost, 402, "unknown_cost"),
    (OptionError, 400, "bad_option"),
    (UnkeyableArgument, 400, "unkeyable"),
)
"""With which status an error is told, and by which code."""
OF_LINES: Final[Sequence[tuple[type[httpx.RequestError], int, str, str]]] = (
    (httpx.TimeoutException, 504, "upstream_timeout", "The upstream did not answer in time"),
    (httpx.ConnectError, 502, "upstream_unreachable", "The upstream cannot be reached"),
    (httpx.TransportError, 502, "upstream_broke_off", "The upstream broke off"),
    (httpx.DecodingError, 502, "upstream_unreadable", "The upstream's answer cannot be decompressed"),
)
NOT_SO_MANY: Final = (
    "The upstream made another number of choices than `n` asked for. What it made is kept, and the next draw gets it. "
    "Ask this upstream for one choice at a time."
)
ANTHROPIC: Final = b"anthropic-version"


class Declined(Exception):
    """A request is not answered; the message says why, and what to do."""

    def __init__(self, status: int, code: str, message: str, *, again: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.again = again
        """Whether the same request may be answered later."""


def refused_by(error: Exception, *, says_all: bool) -> Declined:
    """Return how an error is told to who has asked; what others have asked is said only where all share all."""
    for kind, status, code in OF_OURS:
        if isinstance(error, kind):
            told = str(error)
            return Declined(status, code, told if says_all else told.partition("\n")[0])
    if isinstance(error, WrongNumber):
        return Declined(502, "wrong_number", NOT_SO_MANY)
    if isinstance(error, MemollmError):
        return Declined(500, "cache_failed", str(error))
    for of_line, status, code, what in OF_LINES:
        if isinstance(error, of_line):
            # As without a proxy, a line that fails is the client's to try again.
            return Declined(status, code, f"{what} ({type(error).__name__}). Nothing was stored.", again=True)
    if isinstance(error, RecursionError):
        return Declined(400, "body_too_deep", "The body is nested too deeply to be told from others.")
    if isinstance(error, httpx.InvalidURL):
        return Declined(400, "bad_path", "The path or the query is none that can be sent on.")
    raise error


def refusal(refused: Declined, *, is_anthropic: bool) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the headers and the body that tell of it, as the provider would have told."""
    kind = "api_error" if refused.status >= 500 else "invalid_request_error"  # noqa: PLR2004 - a server's own errors
    said = {"type": kind, "message": str(refused)}
    body = (
        {"type": "error", "error": said} if is_anthropic else {"error": {**said, "param": None, "code": refused.code}}
    )
    content = json.dumps(body, ensure_ascii=False).encode()
    length = (b"content-length", str(len(content)).encode())
    return [JSON, length, REFUSED, AGAIN if refused.again else FINAL], content


def speaks_as_anthropic(path: bytes, headers: Sequence[tuple[bytes, bytes]]) -> bool:
    """Tell whether a request is one of Anthropic's API."""
    return path.endswith(b"/messages") or any(name == ANTHROPIC for name, _ in headers)
