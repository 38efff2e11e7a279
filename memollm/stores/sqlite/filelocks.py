"""Locks on open files, which the kernel lets go of when the process dies: filelock's, or the same by our own hand."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

import filelock

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    class LockDescriptor(Protocol):
        """One attempt at a lock; see `filelock.lock_descriptor`."""

        def __call__(self, fd: int, /, *, blocking: bool) -> bool:
            """Lock, and tell whether that was possible."""
            ...


if sys.platform == "win32":
    import msvcrt

    def _try(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)

    def _unlock(fd: int) -> None:
        os.lseek(fd, 0, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _try(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _unlock(fd: int) -> None:
        fcntl.flock(fd, fcntl.LOCK_UN)


def _lock(fd: int, *, blocking: bool) -> bool:  # noqa: ARG001 - nobody here has filelock wait: see `WriteLock`
    try:
        _try(fd)
    except OSError as error:
        if error.errno in {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}:
            return False
        raise
    return True


# Of filelock itself from 3.30 on; LiteLLM and others keep it below 4, and older ones lock the same way.
lock_descriptor: LockDescriptor = getattr(filelock, "lock_descriptor", _lock)
unlock_descriptor: Callable[[int], None] = getattr(filelock, "unlock_descriptor", _unlock)
