"""Serving a proxy by uvicorn: one worker or several on one socket, and a graceful end."""

from __future__ import annotations

import math
import os
import signal
import socket
from multiprocessing import parent_process
from threading import Thread
from typing import TYPE_CHECKING, Final, Protocol

import uvicorn
from uvicorn.supervisors import Multiprocess

from memollm.errors import OptionError
from memollm.proxy.app import Proxy

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm.proxy.settings import ProxySettings

BACKLOG: Final = 1024
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


def listening(host: str, port: int) -> socket.socket:
    """Return a socket to which clients can connect from now on."""
    bare = host.strip("[]")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    # Only where TCP is named does asyncio send every part of an answer at once; else clients wait 40 ms for the second.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((bare, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise OptionError(f"{host}:{port} cannot be served: {error.strerror}. Say another --port or --host.") from error
    bound.set_inheritable(True)
    return bound


def address_of(host: str, bound: socket.socket) -> str:
    """Return where a socket is."""
    bare = host.strip("[]")
    return f"http://{f'[{bare}]' if ':' in bare else bare}:{bound.getsockname()[1]}"
