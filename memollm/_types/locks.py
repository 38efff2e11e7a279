"""Locks that may be held when a process forks or a thread is interrupted, and what is not waited for."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING, TypeVar

from memollm.errors import StoreInUse

if TYPE_CHECKING:
    from collections.abc import Callable

Renewed = TypeVar("Renewed")


class WouldBlock(Exception):
    """What must not wait would have to; nothing has happened."""


class ThreadLock:
    """A lock of threads that tells the one which has it, so that nobody waits for himself.

    A signal handler and a destructor run in the middle of anything, and what they interrupt goes on only after them.
    Use it so: ask `mine()`, and if that is false, enter `lock`. What interrupts in between has let go of it by then.
    """

    __slots__ = ("lock", "mine")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.mine: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001
        """Tell whether this thread has it; `threading.Condition` asks the same."""


def interrupted() -> StoreInUse:
    """Say that this thread would wait for itself."""
    return StoreInUse(
        "This thread is in the middle of using the cache: a signal handler, or a destructor, wants to use it, too, and "
        "would wait for what it has interrupted. Let the handler note what is to be done, and do it afterwards."
    )


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


def renewed_in_children(renew: Callable[[Renewed], None]) -> weakref.WeakSet[Renewed]:
    """Return a set, whose members are renewed in each forked child. It keeps none of them alive."""
    living: weakref.WeakSet[Renewed] = weakref.WeakSet()

    def in_child() -> None:
        for each in list(living):
            renew(each)

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=in_child)
    return living


_living = renewed_in_children(ForkedLock.begin)
