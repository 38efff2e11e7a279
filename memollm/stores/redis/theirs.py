"""Whose an exception is that the client fails by: its own, or one of a signal handler of the user's.

A handler may raise at any moment, as one of `signal.alarm` does. The client takes a `TimeoutError` or another `OSError`
for one of its socket, and tells of a server that does not answer. The user's is raised in its place, as it is.
"""

from __future__ import annotations

import socket
import sys
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from redis.exceptions import ConnectionError as LostConnection, RedisError

if TYPE_CHECKING:
    from types import FrameType, TracebackType

FAILED: Final = (RedisError, OSError)
"""What the client raises where it fails. Beyond `raise_failure` an `OSError` is nobody's but the user's."""
CLIENT: Final = "redis"
NEVER_THEIRS: Final = {CLIENT, "hiredis", "memollm", *sys.stdlib_module_names}


def raise_failure(error: Exception) -> NoReturn:
    """Raise what the client has failed by as an error of its own; or what a signal handler has raised meanwhile."""
    try:
        raise_theirs(error)
        if isinstance(error, RedisError):
            raise error
        raise LostConnection(str(error)) from error
    finally:
        # Else the error would keep all alive that was under way.
        del error


def raise_theirs(error: Exception) -> None:
    """Raise what a signal handler has raised, if that is what the client has failed by."""
    theirs = _theirs(error)
    try:
        if theirs is not None:
            raise theirs from theirs.__cause__
    finally:
        del theirs, error


def _theirs(error: BaseException) -> BaseException | None:
    """Find what was raised by code that is neither the client's nor what that stands upon."""
    if threading.current_thread() is not threading.main_thread():
        # Handlers are run in no other.
        return None
    found = error
    while not _has_frame_of_others(found.__traceback__):
        inner = found.__cause__ or found.__context__
        if inner is None or inner.__traceback__ is None or _package(inner.__traceback__.tb_frame) != CLIENT:
            # What somebody else has caught was being handled before the client was called.
            return None
        found = inner
    return found


def _has_frame_of_others(traceback: TracebackType | None) -> bool:
    """Tell whether code of others was run: a C function raises in the frame that called it, a handler has its own."""
    # The sockets themselves may have been replaced by those of a library.
    sockets = socket.socket.__module__.partition(".")[0]
    while traceback is not None:
        package = _package(traceback.tb_frame)
        if package not in NEVER_THEIRS and package != sockets:
            return True
        traceback = traceback.tb_next
    return False


def _package(frame: FrameType) -> str:
    name: str = frame.f_globals.get("__name__") or ""
    return name.partition(".")[0]
