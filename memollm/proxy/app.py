"""The proxy as an application of ASGI: who is let in, what is told of the server, and everything else to the relay."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route

import memollm
from memollm.proxy.guards import require_welcome
from memollm.proxy.metrics import TYPE, CacheCounts, Metrics
from memollm.proxy.refusals import Declined, refusal, speaks_as_anthropic
from memollm.proxy.relay import Relay
from memollm.proxy.upstreams import require_method, require_path
from memollm.proxy.visits import Visit

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.requests import Request

    from memollm.proxy.settings import ProxySettings
    from memollm.proxy.visits import Receive, Send

HEALTH: Final = "/health"


class Proxy:
    """The proxy, for any server of ASGI."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.metrics = Metrics()
        self._cache = memollm.default_cache() if settings.cache is None else memollm.Cache(settings.cache)
        self._counts = CacheCounts(self._cache)
        if settings.budget is not None:
            # It is counted where the samples are, so that all workers share it.
            memollm.configure(cache=self._cache, budget=settings.budget)
        if settings.per_key:
            # The key is read, or made, before anybody waits for it.
            self._cache.pseudonym("")
        self._relay = Relay(settings, self._cache, self.metrics)
        routes = [Route(HEALTH, _health), Route("/metrics", self._tell), Mount("/", app=self._relay)]
        self._app = Starlette(routes=routes, lifespan=self._lifespan)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer whoever is welcome."""
        if scope["type"] == "http":
            try:
                require_welcome(self._settings, scope["headers"], is_open=scope["path"] == HEALTH)
                require_path(scope.get("raw_path") or scope["path"].encode())
                require_method(scope["method"])
            except Declined as refused:
                self.metrics.answers["refused"] += 1
                is_anthropic = speaks_as_anthropic(scope["path"].encode(), scope["headers"])
                told = refusal(refused, is_anthropic=is_anthropic)
                await Visit(receive, send).refuse(refused.status, *told)
                return
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        await self._app(scope, receive, send)

    async def _tell(self, _: Request) -> Response:
        return Response(self.metrics.text(await self._counts.told()), headers={"content-type": TYPE})

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        yield
        await self._relay.aclose()


async def _health(_: Request) -> Response:
    return PlainTextResponse("ok\n")
