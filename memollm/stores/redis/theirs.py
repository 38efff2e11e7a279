"""Whose an exception is that the client fails by: its own, or one of a signal handler of the user's.

A handler may raise at any moment, as one of `signal.alarm` does. The client takes a `TimeoutError` or another `OSError`
for one of its socket, and tells of a server that does not answer. The user's is raised in its place, as it is.
"""

from __future__ import annotations

from typing import Final, NoReturn

from redis.exceptions import ConnectionError as LostConnection, RedisError

from memollm._types.signals import is_by_signal

FAILED: Final = (RedisError, OSError)
"""What the client raises where it fails. Beyond `raise_failure` an `OSError` is nobody's but the user's."""
CLIENT: Final = "redis."


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
    """Find what a signal handler has raised among what led to an error."""
    found = error
    while not is_by_signal(found):
        inner = found.__cause__ or found.__context__
        caught = None if inner is None else inner.__traceback__
        if inner is None or caught is None or not caught.tb_frame.f_globals.get("__name__", "").startswith(CLIENT):
            # What somebody else has caught was being handled before the client was called.
            return None
        found = inner
    return found
