"""The live page as an application of ASGI: who is let in, the page, and what it asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from memollm.errors import MemollmError, OptionError, StoreRefused, printable
from memollm.ui.answers import Answers
from memollm.ui.changing import OtherwiseNow
from memollm.ui.guards import Gate, NotLetIn
from memollm.ui.shell import ALWAYS, shell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request

    from memollm._cache import Cache

    Asking = Callable[[dict[str, Any]], object]

MOST: Final = 4_000_000
"""Bytes of a request: the canonical text of a chat may be long."""


class LivePage:
    """The page of one cache, for any server of ASGI."""

    def __init__(self, cache: Cache, *, place: str, show: Sequence[str], token: str | None = None) -> None:
        self.gate = Gate(token)
        self.answers = Answers(cache, place=place, show=show)
        self._shell, self._policy = shell()
        asked = [Route(f"/api/{name}", self._answering(ask)) for name, ask in self.answers.asked.items()]
        told = [Route(f"/api/{name}", self._doing(do), methods=["POST"]) for name, do in self.answers.told.items()]
        self._app = Starlette(
            routes=[Route("/", self._open), *asked, *told],
            exception_handlers={404: _nothing_there, 405: _nothing_there},
        )

    def close(self) -> None:
        """Wait for what goes on beside; the cache stays open."""
        self.answers.close()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer whoever is welcome."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(ALWAYS)
            await send(message)

        try:
            self._require_welcome(scope)
        except NotLetIn as refused:
            await PlainTextResponse(f"{refused}\n", refused.status)(scope, receive, with_headers)
            return
        await self._app(scope, receive, with_headers)

    def _require_welcome(self, scope: Any) -> None:
        opens = scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}
        host = self.gate.require(scope["headers"], opens=opens)
        # The page itself takes the token of its address.
        if not (opens and scope["query_string"]):
            self.gate.require_known(scope["headers"], host)

    def _open(self, request: Request) -> Response:
        """Give the page; for the token of its address a browser gets a cookie, and an address without it."""
        if request.url.query:
            if not self.gate.is_token(request.query_params.get("token", "").encode()):
                return PlainTextResponse(
                    "The token in this address is of another server: open the address that this one has written.\n",
                    403,
                )
            return RedirectResponse("/", 303, {"set-cookie": self.gate.cookie(request.headers.get("host", ""))})
        return HTMLResponse(self._shell, headers={"content-security-policy": self._policy})

    def _answering(self, ask: Asking) -> Callable[[Request], Response]:
        def answer(request: Request) -> Response:
            return _told(ask, dict(request.query_params))

        return answer

    def _doing(self, do: Asking) -> Any:
        async def answer(request: Request) -> Response:
            # A form of another page cannot say this of itself.
            if request.headers.get("content-type") != "application/json":
                return PlainTextResponse("Say application/json, and what is wished as JSON.\n", 415)
            body = bytearray()
            async for piece in request.stream():
                body += piece
                if len(body) > MOST:
                    return PlainTextResponse(f"The request has more than {MOST:,} bytes.\n", 413)
            try:
                wish = msgspec.json.decode(bytes(body), type=dict[str, Any])
            except (ValueError, RecursionError):
                return PlainTextResponse("The request is no object of JSON.\n", 400)
            return await run_in_threadpool(_told, do, wish)

        return answer


def _told(ask: Asking, asked: dict[str, Any]) -> Response:
    """Answer, or say in one line why not."""
    try:
        return Response(msgspec.json.encode(ask(asked)), media_type="application/json")
    except OtherwiseNow as error:
        return PlainTextResponse(_line(error), 409)
    except (OptionError, StoreRefused) as error:
        return PlainTextResponse(_line(error), 400)
    except MemollmError as error:
        return PlainTextResponse(_line(error), 503)


def _line(error: Exception) -> str:
    return f"{printable(' '.join(str(error).split()))}\n"


def _nothing_there(_: Request, error: Any) -> Response:
    return PlainTextResponse("There is nothing here; the page is at /.\n", error.status_code)
