"""Owners: each process that claims slots holds a lock file, which the kernel lets go of when the process dies."""

from __future__ import annotations

import os
import re
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreRefused
from memollm.stores.sqlite.filelocks import lock_descriptor
from memollm.stores.sqlite.own_files import make_folder, open_own, require_folder

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = re.compile("[0-9a-f]{32}")
"""An owner's name; whatever else is stored as one is nobody's, and no path is made of it."""


class Owner:
    """The lock file of the process itself, held until it is released or the process is gone."""

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._path = _path(folder, self.name)
        self._folder = folder
        self.stand()

    def stand(self) -> None:
        """Make the lock file, at first or because somebody removed it; under the write lock, so that nobody looks."""
        make_folder(self._folder)
        self._descriptor = open_own(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        lock_descriptor(self._descriptor, blocking=False)

    def stands(self) -> bool:
        """Tell whether the lock file is there; without it others take this process for dead."""
        return os.path.lexists(self._path)

    def release(self) -> None:
        """Leave: nothing of this owner is in flight any more."""
        self.forget()
        self._path.unlink(missing_ok=True)

    def forget(self) -> None:
        """Close the file and unlock nothing: in a forked child the lock is the parent's, which has the file open."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        with suppress(AttributeError, OSError):
            self.forget()


def is_alive(folder: Path, name: object) -> bool:
    """Tell, by one attempt at its lock, whether an owner's process lives; a dead one's file is removed.

    The name is as it is stored, so it may be anything.
    """
    if not isinstance(name, str) or not NAME.fullmatch(name):
        return False
    try:
        require_folder(folder)
        descriptor = open_own(_path(folder, name))
    except (FileNotFoundError, StoreRefused):
        return False
    try:
        if not lock_descriptor(descriptor, blocking=False):
            return True
        # The file goes before the lock does, so nobody can take it for a live owner's. Names are never used again.
        with suppress(OSError):
            _path(folder, name).unlink(missing_ok=True)
        return False
    finally:
        os.close(descriptor)


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.lock"
