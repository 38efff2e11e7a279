"""Who is at an address and does not answer as a Redis server does, or not by what it was asked by."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from redis.exceptions import TimeoutError as ClientTimeoutError

from memollm.errors import StoreRefused
from memollm.stores.redis.theirs import raise_theirs

if TYPE_CHECKING:
    from memollm.stores.redis.address import RedisAddress

WITHIN: Final = 1.0
"""Seconds for whoever is there to answer a question."""
ASKS_FOR_TLS: Final = bytes.fromhex("0000000804d2162f")
"""What clients of PostgreSQL begin with. It answers with one letter, which says whether it speaks TLS."""
ASKS_FOR_A_HEAD: Final = b"HEAD / HTTP/1.0\r\n\r\n"
"""To Redis, a command that it does not know."""
_HANDSHAKE: Final = "handshake operation timed out"
_OTHER: Final = (
    "What answers at {shown} is {other}, and no Redis or Valkey server. Check the scheme, the host and the port in "
    "the URL."
)
_SPEAKS_TLS: Final = "What answers at {shown} speaks TLS and nothing else. Begin the URL with {scheme}://."
_SPEAKS_PLAIN: Final = (
    "What answers at {shown} is a server that does not speak TLS at this port. Begin the URL with {scheme}://, or name "
    "the port at which it speaks TLS."
)


def may_be_of_a_stranger(error: BaseException | None) -> bool:
    """Tell whether somebody took a connection, and then ended it or said nothing."""
    if is_silence_to_tls(error):
        return True
    while error is not None:
        said = str(error)
        # The second is what TLS says of an end.
        if isinstance(error, ConnectionResetError) or "closed by server" in said or "EOF" in said or is_silence(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def is_silence_to_tls(error: BaseException | None) -> bool:
    """Tell whether somebody took a connection and says nothing to who would speak TLS."""
    while error is not None and _HANDSHAKE not in str(error):
        error = error.__cause__ or error.__context__
    return error is not None


def is_silence(error: BaseException) -> bool:
    """Tell whether somebody took a connection and says nothing."""
    return isinstance(error, ClientTimeoutError) and "reading" in str(error)


def refuse_a_stranger(address: RedisAddress) -> None:
    """Ask who is there, and refuse who says that it is a server of another kind, or is to be spoken to otherwise."""
    at, shown = (address.options["host"], address.options["port"]), address.shown
    is_encrypted, other = address.is_encrypted, address.other_scheme
    said = _answer(at, ASKS_FOR_A_HEAD)
    if said.startswith(b"HTTP/"):
        raise StoreRefused(_OTHER.format(shown=shown, other="an HTTP server"))
    if is_encrypted and said[:1] in {b"-", b"+"}:
        raise StoreRefused(_SPEAKS_PLAIN.format(shown=shown, scheme=other))
    if not said and _answer(at, ASKS_FOR_TLS) in {b"S", b"N"}:
        raise StoreRefused(_OTHER.format(shown=shown, other="a PostgreSQL server"))
    if not is_encrypted and not said and _speaks_tls(at):
        raise StoreRefused(_SPEAKS_TLS.format(shown=shown, scheme=other))


def _answer(at: tuple[str, int], asked: bytes) -> bytes:
    try:
        with socket.create_connection(at, timeout=WITHIN) as asking:
            asking.sendall(asked)
            return asking.recv(5)
    except OSError as error:
        raise_theirs(error)
        return b""


def _speaks_tls(at: tuple[str, int]) -> bool:
    """Tell whether somebody speaks TLS, whoever that is: nothing is said to them."""
    asks = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asks.check_hostname, asks.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(at, timeout=WITHIN) as asking, asks.wrap_socket(asking):
            return True
    except ssl.SSLError as error:
        # It may want to see a certificate first.
        return "ALERT" in (error.reason or "")
    except OSError as error:
        raise_theirs(error)
        return False
