"""Owners: each process that claims slots holds a lock file, which the kernel lets go of when the process dies."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from filelock import FileLock, lock_descriptor

if TYPE_CHECKING:
    from pathlib import Path


class Owner:
    """The lock file of the process itself, held until it is released or the process is gone."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self.path = folder / f"{self.name}.lock"
        folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = FileLock(self.path, mode=0o600, thread_local=False, blocking=False)
        self._lock.acquire()

    def release(self) -> None:
        """Leave: nothing of this owner is in flight any more."""
        self._lock.release(force=True)
        self.path.unlink(missing_ok=True)


class Neighbours:
    """The other owners of a folder; asking whether one is alive is one attempt at its lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: dict[str, int] = {}

    def alive(self, name: str) -> bool:
        """Tell whether an owner's process lives; a dead one's file is removed."""
        try:
            descriptor = self._descriptors.get(name)
            if descriptor is None:
                descriptor = self._open(name)
        except FileNotFoundError:
            return False
        if not lock_descriptor(descriptor, blocking=False):
            return True
        # The file goes before the lock does, so nobody can take it for a live owner's. Names are never used again.
        with suppress(OSError):
            self._path(name).unlink(missing_ok=True)
        self.part(name)
        return False

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _open(self, name: str) -> int:
        descriptor = os.open(self._path(name), os.O_RDWR | getattr(os, "O_CLOEXEC", 0))
        self._descriptors[name] = descriptor
        return descriptor

    def part(self, name: str) -> None:
        """Stop watching an owner."""
        descriptor = self._descriptors.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def close(self) -> None:
        """Stop watching all of them."""
        for name in list(self._descriptors):
            self.part(name)
