"""What a signal handler raises in the middle of whatever runs: a time-out of the user's, say."""

from __future__ import annotations

import signal
from functools import partial
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from types import CodeType


def is_by_signal(error: BaseException) -> bool:
    """Tell whether a signal handler has raised an error: what it was raised in has not failed."""
    handlers = {_code_of(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def pass_on(error: BaseException) -> None:
    """Raise an error as it is, if a signal handler has raised it, before anything else is made of it."""
    if is_by_signal(error):
        raise error


def _code_of(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = cast("Any", handler.func)
    handler = getattr(handler, "__func__", handler)
    if not hasattr(handler, "__code__"):
        handler = vars(type(cast("object", handler))).get("__call__")
    return getattr(handler, "__code__", None)
