"""Who is at an address and does not answer as a Redis server does."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from redis.exceptions import TimeoutError as ClientTimeoutError

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from memollm.stores.redis.address import RedisAddress

WITHIN: Final = 1.0
"""Seconds for whoever is there to answer a question."""
ASKS_FOR_TLS: Final = bytes.fromhex("0000000804d2162f")
"""What clients of PostgreSQL begin with. It answers with one letter, which says whether it speaks TLS."""
ASKS_FOR_A_HEAD: Final = b"HEAD / HTTP/1.0\r\n\r\n"
"""To Redis, a command that it does not know."""
_OTHER: Final = (
    "What answers at {shown} is {other}, and no Redis or Valkey server. Check the scheme, the host and the port in "
    "the URL."
)


def may_be_of_a_stranger(error: BaseException | None) -> bool:
    """Tell whether somebody took a connection, and then ended it or said nothing."""
    while error is not None:
        said = str(error)
        # The second is what TLS says of an end.
        if isinstance(error, ConnectionResetError) or "closed by server" in said or "EOF" in said or is_silence(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_silence(error: BaseException) -> bool:
    """Tell whether somebody took a connection and says nothing."""
    return isinstance(error, ClientTimeoutError) and "reading" in str(error)


def refuse_a_stranger(address: RedisAddress) -> None:
    """Ask who is there, and refuse who says that it is a server of another kind."""
    at = address.options["host"], address.options["port"]
    said = _answer(at, ASKS_FOR_A_HEAD)
    if said.startswith(b"HTTP/"):
        raise StoreRefused(_OTHER.format(shown=address.shown, other="an HTTP server"))
    if not said and _answer(at, ASKS_FOR_TLS) in {b"S", b"N"}:
        raise StoreRefused(_OTHER.format(shown=address.shown, other="a PostgreSQL server"))


def _answer(at: tuple[str, int], asked: bytes) -> bytes:
    with suppress(OSError), socket.create_connection(at, timeout=WITHIN) as asking:
        asking.sendall(asked)
        return asking.recv(5)
    return b""
