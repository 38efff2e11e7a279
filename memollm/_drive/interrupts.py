"""A notebook's interrupt, which is told from other cancellations: it stops calls, as Ctrl-C does in a program.

In a program Ctrl-C ends the event loop, and with it what is under way in it. A notebook's loop goes on: its kernel
handles the signal by cancelling the task of the cell, which looks like any cancellation. So while a cell waits for
calls, its handler is called by one of ours, which notes that it was. The kernel puts the former handler back at the end
of each cell.
"""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from memollm._draws.engine import living_engines

if TYPE_CHECKING:
    from collections.abc import Callable


class _Noting:
    """Handles an interrupt as somebody else does, and notes it first."""

    def __init__(self, handle: Callable[[int, Any], Any]) -> None:
        self._handle = handle

    def __call__(self, number: int, frame: Any) -> Any:
        _noted.append(number)
        for engine in living_engines():
            engine.left.stop_all()
        return self._handle(number, frame)


_noted: list[int] = []


def interrupts() -> int:
    """Return how many there were; from now on they are counted, if this is a notebook."""
    if "ipykernel" in sys.modules and threading.current_thread() is threading.main_thread():
        handle = signal.getsignal(signal.SIGINT)
        if callable(handle) and not isinstance(handle, _Noting):
            signal.signal(signal.SIGINT, _Noting(handle))
    return len(_noted)
