"""Locks that may be held when a process forks, and what is not waited for."""

from __future__ import annotations

import os
import threading
import weakref


class WouldBlock(Exception):
    """What must not wait would have to; nothing has happened."""


class ForkedLock:
    """A lock that is free in a forked child: whoever held it is in the parent, and would never let go of it there.

    It is reentrant, since a garbage collection may end a draw while this thread holds it.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Be free, in this process."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


_living: weakref.WeakSet[ForkedLock] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for lock in list(_living):
        lock.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
