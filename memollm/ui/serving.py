"""Serving the live page by uvicorn, on loopback, until somebody ends it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import uvicorn

from memollm._serving.listening import address_of, listening
from memollm.ui.app import LivePage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._cache import Cache

HOST: Final = "127.0.0.1"
GRACE: Final = 5
"""Seconds that requests under way have at the end."""


def serve(cache: Cache, *, place: str, show: Sequence[str], port: int, tell: Callable[[str], object]) -> None:
    """Serve until a signal says otherwise; `tell` is given the address, with its token, when it may be opened."""
    page = LivePage(cache, place=place, show=show)
    with closing(page), listening(HOST, port) as bound:
        tell(f"{address_of(HOST, bound)}/?token={page.gate.token}")
        uvicorn.Server(config_of(page)).run([bound])


def config_of(page: LivePage) -> uvicorn.Config:
    """Return how uvicorn is to serve the page."""
    return uvicorn.Config(
        page,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_level="error",
        # Its lines hold whole addresses, and one has the token in it.
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE,
    )
