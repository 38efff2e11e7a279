"""One request: read, drawn or sent on, and passed back as it comes."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import httpx

from memollm.http import AsyncTransport
from memollm.proxy.controls import controls_of
from memollm.proxy.refusals import Declined, refusal, refused_by, speaks_as_anthropic
from memollm.proxy.sending import CALLER, OFFLINE, Sender, key_of, passed_back, sent_on, timeouts
from memollm.proxy.spendings import Budgets
from memollm.proxy.upstreams import address, chosen
from memollm.proxy.visits import ClientLeft, Visit

if TYPE_CHECKING:
    from memollm import Cache
    from memollm.proxy.controls import Controls
    from memollm.proxy.metrics import Metrics
    from memollm.proxy.settings import ProxySettings
    from memollm.proxy.visits import Receive, Send

LOG: Final = logging.getLogger("memollm.proxy")
TRANSPORTS: Final = 64
"""How many combinations of pool and time to live are kept at hand."""


class ClientRequest(NamedTuple):
    """What a client asks."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]

    def header(self, name: bytes) -> str | None:
        """Return a header."""
        return next((value.decode("latin-1") for known, value in self.headers if known == name), None)


class Relay:
    """Answers requests by what is stored, or by what an upstream says."""

    def __init__(self, settings: ProxySettings, cache: Cache, metrics: Metrics) -> None:
        self._settings = settings
        self._cache = cache
        self._metrics = metrics
        self._sender = Sender()
        self._budgets = Budgets(settings.workers)
        self._transports: dict[Any, AsyncTransport] = {}
        self._by_model = any(each.model for each in settings.upstreams)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        raw = scope.get("raw_path") or scope["path"].encode()
        asked = ClientRequest(scope["method"], raw, scope["query_string"], [*scope["headers"]])
        visit = Visit(receive, send)
        self._metrics.under_way += 1
        try:
            await self._answer(asked, visit)
        except ClientLeft:
            self._metrics.answers["left"] += 1
        except Exception as error:  # noqa: BLE001 - told to who asks
            await self._refuse(asked, visit, error)
        finally:
            self._metrics.under_way -= 1

    async def _answer(self, asked: ClientRequest, visit: Visit) -> None:
        settings = self._settings
        if self._metrics.under_way > settings.max_requests:
            raise Declined(503, "too_many_requests", "Too many requests are under way (--max-requests).", again=True)
        controls = controls_of(asked.headers).over(settings)
        body = await visit.body(settings.max_body, asked.header(b"content-length"))
        request = self._request(asked, body, controls)
        context = self._budgets.context(controls, request.headers.get(CALLER, ""))
        await visit.unless_left(self._serve(visit, request, controls), context)

    def _request(self, asked: ClientRequest, body: bytes, controls: Controls) -> httpx.Request:
        """Return the request as it is sent on."""
        model = _model_of(body) if self._by_model else ""
        upstream = chosen(self._settings.upstreams, asked.path, model)
        url = address(upstream, asked.path, asked.query)
        headers = sent_on(asked.headers)
        if self._settings.per_key:
            headers.append((CALLER.encode(), self._cache.pseudonym(key_of(asked.headers, asked.query)).encode()))
        extensions = {**timeouts(self._settings.upstream_timeout), OFFLINE: controls.mode == "offline"}
        return httpx.Request(asked.method, url, headers=headers, content=body, extensions=extensions)

    async def _serve(self, visit: Visit, request: httpx.Request, controls: Controls) -> None:
        with controls.blocks():
            response = await self._transport(controls).handle_async_request(request)
            try:
                if response.headers.get("x-memollm") == "refused":
                    # It raises what has refused it.
                    response.raise_for_status()
                await self._pass_back(visit, response, keeps=controls.mode != "readonly")
            finally:
                await response.aclose()

    async def _pass_back(self, visit: Visit, response: httpx.Response, *, keeps: bool) -> None:
        self._metrics.answers[response.headers.get("x-memollm", "passed")] += 1
        self._metrics.statuses[response.status_code] += 1
        await visit.begin(response.status_code, [*passed_back(response.headers.raw), *_drawn(response, keeps=keeps)])
        try:
            await self._send_on(visit, response)
        finally:
            tracked: Any = response.extensions.get("memollm")
            self._metrics.given(() if tracked is None else tracked.draws)

    async def _send_on(self, visit: Visit, response: httpx.Response) -> None:
        if response.is_closed:
            await visit.end(response.content)
            return
        async for piece in response.aiter_raw():
            await visit.piece(piece)
        await visit.end()

    def _transport(self, controls: Controls) -> AsyncTransport:
        """Return what draws with such options."""
        options: dict[str, Any] = {"pool": controls.pool, "ttl": controls.ttl}
        options = {name: value for name, value in options.items() if value is not None}
        which = tuple(options.items())
        transport = self._transports.pop(which, None)
        if transport is None:
            told_apart = (CALLER,) if self._settings.per_key else ()
            transport = AsyncTransport(
                self._sender,
                cache=self._cache,
                headers=told_apart,
                on_leave=self._settings.on_disconnect,
                **options,
            )
        # The one that was asked last stands last.
        self._transports[which] = transport
        if len(self._transports) > TRANSPORTS:
            del self._transports[next(iter(self._transports))]
        return transport

    async def _refuse(self, asked: ClientRequest, visit: Visit, error: Exception) -> None:
        try:
            refused = error if isinstance(error, Declined) else refused_by(error, says_all=not self._settings.per_key)
        except Exception:
            LOG.exception("%s of a request failed", asked.method)
            refused = Declined(500, "failed", "The proxy failed, and has logged why.")
        self._metrics.answers["refused"] += 1
        self._metrics.statuses[refused.status] += 1
        is_anthropic = speaks_as_anthropic(asked.path, asked.headers)
        await visit.refuse(refused.status, *refusal(refused, is_anthropic=is_anthropic))

    async def aclose(self) -> None:
        """Wait for what nobody waits for any more, and close everything."""
        await self._cache.aclose(timeout=self._settings.grace)
        self._budgets.close()
        await self._sender.aclose()


def _model_of(body: bytes) -> str:
    """Return the model that a body names, if it does."""
    try:
        whole: Any = json.loads(body)
        return str(whole.get("model") or "")
    except (ValueError, AttributeError, RecursionError):
        return ""


def _drawn(response: httpx.Response, *, keeps: bool) -> list[tuple[bytes, bytes]]:
    """Return headers that say which sample was drawn; one that is not kept is none, and a stream not yet."""
    tracked: Any = response.extensions.get("memollm")
    is_kept = keeps or response.headers.get("x-memollm") != "paid"
    if tracked is None or not tracked.draws or tracked.unstored or not is_kept:
        return []
    slots = ",".join(str(draw.slot) for draw in tracked.draws)
    return [(b"x-memollm-slot", slots.encode()), (b"x-memollm-key", tracked.draws[0].key.encode())]
