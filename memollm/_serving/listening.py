"""The socket of a server, and its address."""

from __future__ import annotations

import socket
from typing import Final

from memollm.errors import OptionError

BACKLOG: Final = 1024


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
