"""What a program that was stopped says at last: how to run it again so that it goes on where it was.

That is by Ctrl-C or by an error that nobody caught, in a namespace, whose draws a rerun would not repeat.
"""

from __future__ import annotations

import atexit
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from types import TracebackType

NAMED: Final = 3
"""How many namespaces are named."""

_namespaces: dict[str, None] = {}


def remember(namespace: str) -> None:
    """Know of a namespace whose draws a rerun could resume, and does not unless it is told to."""
    if not _namespaces:
        atexit.register(_tell)
    _namespaces[namespace] = None


def _tell() -> None:
    error = getattr(sys, "last_value", None)
    if sys.stderr is None or hasattr(sys, "ps1") or error is None or not _ended_main(error.__traceback__):
        return
    names = [repr(name) for name in [*_namespaces][:NAMED]]
    if len(_namespaces) > NAMED:
        names.append(f"{len(_namespaces) - NAMED} more")
    which = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    with suppress(OSError, ValueError):
        sys.stderr.write(
            f"memollm: to go on from here, run again with MEMOLLM_MODE=resume: it replays what namespace"
            f"{'s' if len(_namespaces) > 1 else ''} {which} drew. Without it a rerun draws new samples.\n"
        )


def _ended_main(traceback: TracebackType | None) -> bool:
    """Tell whether an error went through the main program: test runners and shells keep errors that they caught."""
    while traceback is not None:
        frame = traceback.tb_frame
        if frame.f_code.co_name == "<module>" and frame.f_globals.get("__name__") == "__main__":
            return True
        traceback = traceback.tb_next
    return False
