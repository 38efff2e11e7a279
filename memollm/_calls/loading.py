"""Loading what draws need: all of it before the first one of the process, so that no draw imports anything.

A child that is forked while another thread imports a module inherits the lock of that import, and nobody will ever let
go of it there. So a fork waits for this; and for what is rare enough to be imported on first need. An import that takes
too long, or begins in the last moment, the child begins anew.
"""

from __future__ import annotations

import inspect
import os
import sys
import time
from functools import cache
from importlib import import_module
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

NEEDED: Final = (
    "memollm._calls.batch_invocation",
    "memollm._calls.introduce",
    "memollm._drive.maps",
    "memollm._keys.identity",
    "memollm._values.codec",
    "memollm.stores.sqlite.store",
    "importlib.resources.readers",
    "multiprocessing.util",
    "sysconfig",
    "tomllib",
    "urllib.parse",
)
LATER: Final = frozenset({"memollm", "cloudpickle", "genai_prices", "numpy", "platformdirs", "pydantic"})
"""The packages of which a draw may import something on first need."""
PATIENCE: Final = 5.0
"""Seconds for which a fork waits at most."""
POLL: Final = 0.001


_loading: set[int] = set()
"""The threads that do so at this moment."""


@cache
def load() -> None:
    """Import what every draw needs."""
    me = get_ident()
    _loading.add(me)
    try:
        for name in NEEDED:
            import_module(name)
    finally:
        _loading.discard(me)


def _before_fork() -> None:
    until = time.monotonic() + PATIENCE
    if not _imports_itself(inspect.currentframe()):
        while _imported_now() and time.monotonic() < until:
            time.sleep(POLL)


def _imported_now() -> bool:
    """Tell whether any thread imports one of those at this moment."""
    return bool(_loading) or any(name.partition(".")[0] in LATER for name in list(_locks()))


def _locks() -> dict[str, Callable[[], Any]]:
    """Return Python's own table of imports that are under way: by the name of each module, its lock, while it lives."""
    return getattr(import_module("importlib._bootstrap"), "_module_locks", {})


def _imports_itself(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__") == "importlib._bootstrap":
            return True
        frame = frame.f_back
    return False


def _after_fork_in_child() -> None:
    """Forget what other threads of the parent were importing, whatever it is: imports of ours may lead to it."""
    _loading.clear()
    locks, me = _locks(), get_ident()
    for name, lock_of in list(locks.items()):
        if getattr(lock_of(), "owner", None) != me:
            del locks[name]
            if getattr(getattr(sys.modules.get(name), "__spec__", None), "_initializing", False):
                # Half of it is there.
                del sys.modules[name]


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
