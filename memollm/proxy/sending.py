"""The upstream's side: what of a request is sent on, what of an answer is, and the one pool of connections."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import httpx

from memollm.errors import CacheMiss

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = list[tuple[bytes, bytes]]

OF_HOPS: Final = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"),
        *(b"te", b"trailer", b"trailers", b"transfer-encoding", b"upgrade"),
    }
)
"""Headers about one connection, which are nobody else's."""
NOT_SENT_ON: Final = OF_HOPS | {b"host", b"content-length", b"accept-encoding", b"expect"}
OURS: Final = b"x-memollm"
CALLER: Final = "x-memollm-caller"
"""What stands for the key of who asks, where callers are told apart; it is keyed, and not sent on."""
KEYS: Final = (
    *(b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key", b"ocp-apim-subscription-key", b"cookie"),
)
"""The headers that say who asks,"""
QUERIED: Final = frozenset({b"key", b"api-key", b"api_key", b"apikey", b"access_token", b"token", b"subscription-key"})
"""and the names under which a query does."""
READ: Final = re.compile(rb"\s*(gzip|deflate|identity)\s*(?:;|$)")
OFFLINE: Final = "memollm.offline"
KEPT_ALIVE: Final = 100


def sent_on(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of a request that are the upstream's."""
    received = [*headers]
    dropped = NOT_SENT_ON | _named_in(received)
    kept = [(name, value) for name, value in received if name not in dropped and not name.startswith(OURS)]
    accepted = [value for name, value in received if name == b"accept-encoding"]
    # What is stored must be read, so only what can be is asked for.
    known = [each[1] for value in accepted for part in value.split(b",") if (each := READ.match(part))]
    return [*kept, (b"accept-encoding", b", ".join(known) or b"identity")] if accepted else kept


def passed_back(headers: Sequence[tuple[bytes, bytes]]) -> Headers:
    """Return the headers of an answer that are the client's."""
    received = [(name.lower(), value) for name, value in headers]
    dropped = OF_HOPS | _named_in(received)
    return [(name, value) for name, value in received if name not in dropped]


def _named_in(headers: Headers) -> set[bytes]:
    """Return what "Connection" names as being about the connection."""
    return {word.strip().lower() for name, value in headers if name == b"connection" for word in value.split(b",")}


def key_of(headers: Iterable[tuple[bytes, bytes]], query: bytes) -> str:
    """Return all that a request says of who asks, as one text."""
    said = dict(headers)
    queried = [pair for pair in parse_qsl(query, keep_blank_values=True) if pair[0].lower() in QUERIED]
    return "\n".join([*(said.get(name, b"").decode("latin-1") for name in KEYS), *map(repr, queried)])


class Sender(httpx.AsyncBaseTransport):
    """Sends requests to the upstreams, over connections that are kept."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT_ALIVE)
        self._inner = httpx.AsyncHTTPTransport(limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request, without what is ours."""
        if request.extensions.get(OFFLINE):
            raise CacheMiss(
                f"{request.method} {request.url.path} is not memoized, and in the mode 'offline' nobody is asked. Ask "
                "for something stored, or in another mode (x-memollm-mode: auto)."
            )
        request.headers.pop(CALLER, None)
        response = await self._inner.handle_async_request(request)
        # An upstream may be such a proxy, too; what it says of itself is not about this one.
        for name in [name for name in response.headers if name.encode().startswith(OURS)]:
            del response.headers[name]
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()


def timeouts(seconds: float) -> dict[str, Any]:
    """Return the extension of a request by which its upstream may be silent for so long."""
    return {"timeout": {"connect": min(seconds, 30.0), "read": seconds, "write": seconds, "pool": seconds}}
