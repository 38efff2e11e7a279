"""Forks: nothing of SQLite is inherited by a child, or else the child leaves every cache alone.

SQLite keeps a table of the locks that its process has on each file, and a forked child inherits it: it would believe to
have what only its parent has, and the last of the family to leave would remove the log under the others. So before a
fork every connection is closed, and both sides open theirs anew when they need them.
"""

from __future__ import annotations

import inspect
import os
import threading
import time
import weakref
from importlib import import_module
from typing import TYPE_CHECKING, Final, Protocol

from memollm.stores.sqlite import connections
from memollm.stores.sqlite.lock import acquired

if TYPE_CHECKING:
    from types import FrameType

PATIENCE: Final = 5.0
"""Seconds that a fork waits in all for what other threads have under way."""
# These hold locks of their own over a fork. Who was imported last is asked first, so they come before this module,
# which waits for threads that may want their locks.
for earlier in ("logging", "concurrent.futures.thread"):
    import_module(earlier)
STORES: Final = __name__.rpartition(".")[0] + "."


class Opener(Protocol):
    """What has connections open."""

    def before_fork(self, until: float) -> bool:
        """Close them and open none until after the fork; if that takes too long, change nothing and return false."""
        ...

    def after_fork(self) -> None:
        """Open connections again, when they are needed; called after a `before_fork` that was done."""
        ...

    def begin_in_child(self) -> None:
        """Begin anew in a forked child."""
        ...


_openers: weakref.WeakValueDictionary[int, Opener] = weakref.WeakValueDictionary()
_forking = threading.Lock()
_ready: dict[int, list[Opener]] = {}
"""Who has closed all for a thread that forks at this moment."""


def know(opener: Opener) -> None:
    """See to it that its connections are closed before every fork."""
    _openers[id(opener)] = opener


def openers() -> list[Opener]:
    """List what has connections open, or may have."""
    return [opener for reference in _openers.valuerefs() if (opener := reference()) is not None]


def _before() -> None:
    until = time.monotonic() + PATIENCE
    # A thread that forks in the middle of its own use of a store would wait for itself.
    if _uses_a_store(inspect.currentframe()) or not acquired(_forking, until):
        return
    # Whatever interrupts this, those who are in the list are told when the fork is over.
    ready = _ready[threading.get_ident()] = list[Opener]()
    interrupts: list[BaseException] = []
    while not _have_closed(ready, until, interrupts):
        pass
    if interrupts:
        # Python can only tell of it.
        raise interrupts[0]


def _have_closed(ready: list[Opener], until: float, interrupts: list[BaseException]) -> bool:
    """Close what is not closed yet; tell that nobody interrupted it, as the fork comes all the same."""
    try:
        known = [*map(id, ready)]
        ready.extend(opener for opener in openers() if id(opener) not in known and opener.before_fork(until))
        connections.wait_until_closed(until)
    except BaseException as error:  # noqa: BLE001 - told when all is closed
        interrupts.append(error)
        return False
    return True


def _uses_a_store(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals is not globals() and str(frame.f_globals.get("__name__", "")).startswith(STORES):
            return True
        frame = frame.f_back
    return False


def _after_in_parent() -> None:
    ready = _ready.pop(threading.get_ident(), None)
    if ready is None:
        return
    for opener in ready:
        opener.after_fork()
    _forking.release()


def _after_in_child() -> None:
    global _forking  # noqa: PLW0603 - whoever has it may be in the parent
    _forking = threading.Lock()
    _ready.clear()
    connections.leave_to_parent()
    for opener in openers():
        opener.begin_in_child()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
