"""The write lock of a SQLite store: the one lock under which every write, checkpoint and close happens."""

from __future__ import annotations

import os
import sys
import time
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

from memollm._types.locks import ThreadLock, WouldBlock, interrupted
from memollm.stores.sqlite.filelocks import lock_descriptor, unlock_descriptor

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Generator

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
POLL: Final = 0.001
"""Seconds between attempts at a lock that the kernel does not queue us for."""


class AtOnce:
    """A thread's lock for a block that nobody waits for: `WouldBlock` where another has it."""

    def __init__(self, lock: threading.RLock) -> None:
        self._lock = lock

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise WouldBlock

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class WriteLock:
    """The one lock under which every write, checkpoint and close happens: threads queue, then processes do.

    Nobody waits for anything but SQLite's own work while holding it. Before `threads` is entered, `mine` is asked:
    a thread that was interrupted while it holds the lock would wait for itself.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        threads = ThreadLock()
        self.threads, self.mine = threads.lock, threads.mine
        self.threads_at_once = AtOnce(self.threads)
        _living[id(self)] = self

    def run(self, work: Callable[[*Arguments], T], *arguments: *Arguments, wait: bool) -> T:
        """Do work under the lock; without `wait`, raise `WouldBlock` if anybody has it."""
        if self.mine():
            raise interrupted()
        # An interrupt may come right after a call of `acquire` has taken a lock; into `with` it does not come.
        with self.threads if wait else self.threads_at_once:
            try:
                if not lock_descriptor(self.descriptor, blocking=False):
                    self.queue(wait=wait)
                return work(*arguments)
            finally:
                # This does no harm where an interrupt came before the lock.
                unlock_descriptor(self.descriptor)

    @contextmanager
    def held(self) -> Generator[None]:
        """Hold the lock for a block."""
        if self.mine():
            raise interrupted()
        with self.threads:
            try:
                if not lock_descriptor(self.descriptor, blocking=False):
                    self.queue(wait=True)
                yield
            finally:
                unlock_descriptor(self.descriptor)

    def queue(self, *, wait: bool) -> None:
        """Wait for the other processes; without `wait`, raise `WouldBlock`."""
        if not wait:
            raise WouldBlock
        if any(other.mine() and other is not self and other.is_of(self) for other in _known()):
            raise interrupted()
        if sys.platform == "win32":
            while not lock_descriptor(self.descriptor, blocking=False):
                time.sleep(POLL)
        else:
            # The same lock as lock_descriptor's, but the kernel queues us and nothing polls.
            fcntl.flock(self.descriptor, fcntl.LOCK_EX)

    @contextmanager
    def threads_held(self, until: float) -> Generator[bool]:
        """Keep the other threads out for a block; false if one stays in past a time of the monotonic clock."""
        got = not self.mine() and acquired(self.threads, until)
        try:
            yield got
        finally:
            if got:
                self.threads.release()

    def run_by(self, work: Callable[[], object], until: float) -> bool:
        """Do work under the lock, the other threads being kept out already; false if it is not free in time."""
        while not lock_descriptor(self.descriptor, blocking=False):
            if time.monotonic() > until:
                return False
            time.sleep(POLL)
        try:
            work()
        finally:
            unlock_descriptor(self.descriptor)
        return True

    def is_of(self, other: WriteLock) -> bool:
        """Tell whether two objects are locks of one file."""
        try:
            return os.path.sameopenfile(self.descriptor, other.descriptor)
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the file; in a forked child this leaves the parent its lock, as long as nothing is unlocked."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # Not before: somebody who still queues would lock whatever file has the number by then.
        with suppress(OSError):
            self.close()


_living: weakref.WeakValueDictionary[int, WriteLock] = weakref.WeakValueDictionary()


def _known() -> list[WriteLock]:
    return [lock for reference in _living.valuerefs() if (lock := reference()) is not None]


def acquired(lock: threading.Lock | threading.RLock, until: float) -> bool:
    """Take a lock, unless that takes until past a time of the monotonic clock."""
    return lock.acquire(timeout=max(0.0, until - time.monotonic()))
