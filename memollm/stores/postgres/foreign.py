"""Noticing that another kind of server answers where PostgreSQL was expected: it may wait for more, and say nothing."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

C = TypeVar("C")
PATIENCE: Final = 0.5
"""Seconds after which it is asked who answers there; again after twice as many."""
_ASKS_FOR_TLS: Final = bytes.fromhex("0000000804d2162f")
"""So begins every client of PostgreSQL; the server answers with one letter."""
_LETTERS: Final = b"SNE"
_LINES: Final = b"PING\r\n\r\n"
"""What Redis answers, and HTTP refuses; they wait for the end of a line."""
_ANSWER: Final = 0.3
_ANSWER_LATE: Final = 1.0
"""Seconds that a server which can be reached takes to answer, at most, unless it is very busy."""
_REDIS: Final = (b"+PONG", b"-ERR", b"-NOAUTH", b"-DENIED", b"-LOADING")


class Connecting(Generic[C]):
    """A connection that comes about in a thread of its own, so that who waits for it can look around meanwhile."""

    def __init__(self, connect: Callable[[], C], end: Callable[[C], None]) -> None:
        self._connect = connect
        self._end = end
        self._lock = threading.Lock()
        self._is_left = False
        self._connection: C | None = None
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name="memollm-connecting", daemon=True).start()

    def _run(self) -> None:
        try:
            connection = self._connect()
        except BaseException as error:  # noqa: BLE001 - raised by who waits
            self._error = error
        else:
            with self._lock:
                self._connection = connection
                is_left = self._is_left
            if is_left:
                self._end(connection)
        self._done.set()

    def result(self, look: Callable[[], None], tell: Callable[[], None]) -> C:
        """Wait for it; where that takes long, `look`, which may raise, and then `tell`.

        Who is interrupted has no connection.
        """
        try:
            pause = PATIENCE
            while not self._done.wait(pause):
                look()
                if pause > PATIENCE and not self._done.is_set():
                    tell()
                pause = 2 * pause
        except BaseException:
            self._leave()
            raise
        if self._error is not None:
            raise self._error
        assert self._connection is not None  # noqa: S101 - for the checkers
        return self._connection

    def _leave(self) -> None:
        with self._lock:
            self._is_left = True
            connection = self._connection
        if connection is not None:
            self._end(connection)


def refuse_foreign(given: Mapping[str, Any], shown: str) -> None:
    """Raise where what listens speaks, and is no PostgreSQL server."""
    said = _said_by(given)
    if said is not None:
        hint = ", and its scheme: Redis answers there, so redis:// may be meant" if said.startswith(_REDIS) else ""
        first = said.decode(errors="replace").splitlines()[0][:60].strip()
        raise StoreRefused(
            f"What answers at {shown} is no PostgreSQL server: it says {first!r}. Check the host and the port in the "
            f"URL{hint}."
        )


def has_one_host(given: Mapping[str, Any]) -> bool:
    """Tell whether a URL names one host that is reached by TCP."""
    host = str(given.get("hostaddr") or given.get("host") or "/")
    return "," not in host and not host.startswith(("/", "@"))


def _said_by(given: Mapping[str, Any]) -> bytes | None:
    """Return what is said there, if it cannot be PostgreSQL that says it."""
    place = str(given.get("hostaddr") or given["host"]), int(given.get("port") or 5432)
    with suppress(OSError, ValueError):
        # First as PostgreSQL has it, which notes nothing of that. Redis finds no end of a line after a zero.
        said = _answer(place, _ASKS_FOR_TLS, _ANSWER) or _answer(place, _LINES, _ANSWER_LATE)
        if said and said[:1] not in _LETTERS:
            return said
    return None


def _answer(place: tuple[str, int], asked: bytes, seconds: float) -> bytes:
    with socket.create_connection(place, timeout=1) as probe:
        probe.sendall(asked)
        probe.settimeout(seconds)
        try:
            return probe.recv(100)
        except TimeoutError:
            return b""
