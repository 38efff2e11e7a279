"""Servers in processes of their own: a provider that answers at once, a bare pass-through, and the proxy."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.sdk_objects import COMPLETION

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Generator

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

ROOT = Path(__file__).parents[1]
CHAT = "/v1/chat/completions"
EVENTS, PAUSE = 20, 0.05
"""The events of a stream, and the seconds between them."""
KEPT = 1_000
"""Connections that a pass-through keeps, as the proxy does not limit them."""


class Server(NamedTuple):
    """A server of this machine: where it is, and its process."""

    url: str
    process: subprocess.Popen[str]


def provider() -> Starlette:
    """Answer every question at once, or as a stream of events that takes a second."""
    from starlette.applications import Starlette
    from starlette.responses import Response, StreamingResponse
    from starlette.routing import Route

    whole = json.dumps(COMPLETION).encode()

    async def events() -> AsyncIterator[bytes]:
        for number in range(EVENTS):
            await asyncio.sleep(PAUSE)
            choice = {"index": 0, "delta": {"content": f"word {number} "}, "finish_reason": None}
            chunk = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}
            yield b"data: " + json.dumps(chunk).encode() + b"\n\n"
        yield b"data: [DONE]\n\n"

    async def answer(request: Request) -> Response:
        if b'"stream":true' in (await request.body()).replace(b" ", b""):
            return StreamingResponse(events(), media_type="text/event-stream")
        return Response(whole, media_type="application/json")

    return Starlette(routes=[Route(CHAT, answer, methods=["POST"]), Route("/v1/models", answer)])


def bare(upstream: str) -> Starlette:
    """Pass everything on, as little as the proxy's own stack needs for it."""
    import httpx
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    limits = httpx.Limits(max_connections=None, max_keepalive_connections=KEPT)
    client = httpx.AsyncClient(base_url=upstream, limits=limits, timeout=60)

    async def passed(request: Request) -> Response:
        headers = [(name, value) for name, value in request.headers.raw if name not in {b"host", b"content-length"}]
        asked = client.build_request(request.method, request.url.path, headers=headers, content=await request.body())
        response = await client.send(asked, stream=True)
        kind = response.headers.get("content-type", "")
        return StreamingResponse(response.aiter_raw(), response.status_code, media_type=kind)

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncGenerator[None]:
        yield
        await client.aclose()

    return Starlette(routes=[Route("/{path:path}", passed, methods=["GET", "POST"])], lifespan=lifespan)


@contextmanager
def served(*command: str) -> Generator[Server]:
    """Start a server that says on standard error where it is, and end it."""
    process = subprocess.Popen([sys.executable, "-m", *command], stderr=subprocess.PIPE, text=True, cwd=ROOT)
    with process:
        try:
            said = process.stderr.readline() if process.stderr else ""
            # The proxy names whom it asks before it says where it is.
            *_, where = (word for word in said.split() if word.startswith("http://127"))
            yield Server(where.strip(",").removesuffix("/v1"), process)
        finally:
            process.terminate()


@contextmanager
def relays(folder: str) -> Generator[tuple[Server, Server]]:
    """Start a bare pass-through and the proxy, both before one provider."""
    with ExitStack() as stack:
        upstream = stack.enter_context(served("benchmarks._relays", "provider"))
        plain = stack.enter_context(served("benchmarks._relays", "bare", upstream.url))
        command = ("memollm", "--cache", folder, "proxy", "--port", "0", "--upstream", f"{upstream.url}/v1")
        yield plain, stack.enter_context(served(*command))


def main() -> None:
    import uvicorn

    from memollm._serving.listening import address_of, listening

    app = provider() if sys.argv[1] == "provider" else bare(sys.argv[2])
    with listening("127.0.0.1", 0) as bound:
        sys.stderr.write(f"at {address_of('127.0.0.1', bound)}\n")
        sys.stderr.flush()
        config = uvicorn.Config(app, loop="asyncio", http="h11", ws="none", log_level="error", timeout_keep_alive=75)
        uvicorn.Server(config).run([bound])


if __name__ == "__main__":
    main()
