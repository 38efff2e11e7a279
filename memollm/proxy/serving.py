"""Serving a proxy by uvicorn: one worker or several on one socket, and a graceful end."""

from __future__ import annotations

import math
import os
import signal
from multiprocessing import parent_process
from threading import Thread
from typing import TYPE_CHECKING, Final, Protocol

import uvicorn
from uvicorn.supervisors import Multiprocess

from memollm._serving.listening import address_of, listening
from memollm.proxy.app import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm.proxy.settings import ProxySettings

IDLE: Final = 75
"""Seconds for which a connection is kept that nobody uses: longer than clients keep theirs, so that they close it."""


class Joinable(Protocol):
    """A process that can be waited for."""

    def join(self) -> object:
        """Wait for its end."""
        ...


class Maker:
    """Makes the proxy in the process that serves it."""

    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings

    def __call__(self) -> Proxy:
        """Make it; a worker ends when the process that has started it does, however that is."""
        server = parent_process()
        if server is not None:
            Thread(target=_end_after, args=(server,), name="memollm-proxy-server", daemon=True).start()
        return Proxy(self._settings)


def _end_after(server: Joinable) -> None:
    server.join()
    os.kill(os.getpid(), signal.SIGTERM)


def serve(settings: ProxySettings, port: int, tell: Callable[[str], object]) -> None:
    """Serve until a signal says otherwise; `tell` is given the address when requests may come."""
    config = config_of(settings)
    with listening(settings.host, port) as bound:
        tell(address_of(settings.host, bound))
        if settings.workers > 1:
            Multiprocess(config, [bound]).run()
        else:
            uvicorn.Server(config).run([bound])


def config_of(settings: ProxySettings) -> uvicorn.Config:
    """Return how uvicorn is to serve a proxy."""
    return uvicorn.Config(
        Maker(settings),
        factory=True,
        workers=settings.workers,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_level="warning",
        # Its lines hold whole addresses, and some have keys in them.
        access_log=False,
        server_header=False,
        # What an upstream says of its time is passed on.
        date_header=False,
        timeout_keep_alive=IDLE,
        timeout_graceful_shutdown=math.ceil(settings.grace),
    )
