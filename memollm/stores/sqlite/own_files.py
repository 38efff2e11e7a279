"""Opening files of a cache's folder: each must be a regular file of this user's, and none is reached through a link.

Somebody else may have written the folder. Whatever its files are, no other file is opened, changed, made or removed.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from pathlib import Path

GUARDED: Final = (
    getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_BINARY", 0)
)
"""No link is followed, no child inherits it, and nobody at the other end of a pipe is waited for."""
LINKED: Final = frozenset({errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR})
"""How opening a link, a socket or a folder fails."""
OF_A_CACHE: Final = ("memollm.db", ".gitignore")
"""How the names in a cache's folder begin."""
POINTER_END: Final = bytes.fromhex("d9d505f920a163d7")
"""How a journal ends that names a file which SQLite removes once the journal was played."""


def open_own(path: Path, flags: int = os.O_RDWR) -> int:
    """Open a file, made with mode 0600 where `flags` say so; refuse whatever else stands there."""
    try:
        if not GUARDED and path.is_symlink():
            raise _refused(path, "it is a link")
        descriptor = os.open(path, flags | GUARDED, 0o600)
    except OSError as error:
        if error.errno in LINKED:
            raise _refused(path, "it is a link, or no file") from error
        raise
    try:
        _require_own(path, os.fstat(descriptor), writes=flags & os.O_RDWR)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def require_own(database: Path, *, writes: bool) -> None:
    """Refuse a database, or one of the files that SQLite opens beside it, that is not a regular file of this user's."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path = f"{database}{suffix}"
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        _require_own(path, status, writes=writes)
        if suffix == "-journal" and status.st_size:
            _require_no_pointer(database.with_name(database.name + suffix))


def _require_own(path: Path | str, status: os.stat_result, *, writes: int | bool) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise _refused(path, "it is a link" if stat.S_ISLNK(status.st_mode) else "it is no regular file")
    if writes and status.st_nlink > 1:
        raise _refused(path, f"{status.st_nlink} names lead to it, so that another file would be changed")
    if writes and hasattr(os, "geteuid") and os.geteuid() not in {0, status.st_uid}:
        raise _refused(path, f"it belongs to another user (number {status.st_uid})")


def _require_no_pointer(journal: Path) -> None:
    try:
        descriptor = open_own(journal, os.O_RDONLY)
    except FileNotFoundError:
        # Another process, which was making the database just now, is through with it.
        return
    try:
        size = os.lseek(descriptor, 0, os.SEEK_END)
        os.lseek(descriptor, max(0, size - len(POINTER_END)), os.SEEK_SET)
        if os.read(descriptor, len(POINTER_END)) == POINTER_END:
            raise _refused(journal, "it names another file, which SQLite would remove")
    finally:
        os.close(descriptor)


def make_folder(folder: Path) -> None:
    """Make a folder inside a cache's, private to the user; a link there is refused, wherever it leads to."""
    if not folder.is_symlink():
        folder.mkdir(mode=0o700, exist_ok=True)
    require_folder(folder)


def require_folder(folder: Path) -> None:
    """Refuse a link in the place of a folder."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise _refused(folder, "it is a link")


def require_own_place(folder: Path) -> None:
    """Refuse a project's folder that is a link, unless it leads to an empty folder or to a cache.

    A repository can carry such a link, and files would be made wherever it leads to. Nothing is there to be spoilt in a
    folder that somebody has set aside for a cache.
    """
    if folder.is_symlink() and not _is_for_a_cache(folder):
        raise StoreRefused(
            f"{folder} is a link to {os.path.realpath(folder)}, which is neither an empty folder nor a cache's. "
            "Nothing was written there. If that is where the cache should be, name that folder itself, with "
            "MEMOLLM_CACHE or Cache(path); else remove the link."
        )


def _is_for_a_cache(folder: Path) -> bool:
    try:
        return all(path.name.startswith(OF_A_CACHE) for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False


def _refused(path: Path | str, why: str) -> StoreRefused:
    return StoreRefused(
        f"{path} is no file that memollm has made: {why}. Nothing was read from it or written to it. If you did not "
        "put it there, somebody else has written this folder (docs/security.md); remove it, or use another cache."
    )
