"""The files of a SQLite store: where they lie, that they are private, and when they must be left alone."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from memollm._types.paths import absolute
from memollm._types.signals import pass_on
from memollm.errors import ChangeRefused, StoreReadOnly, StoreRefused, StoreUnavailable
from memollm.stores.sqlite.connections import connect
from memollm.stores.sqlite.own_files import make_folder, open_own, require_own, require_own_place
from memollm.stores.sqlite.sql import FIRST_VERSION, SCHEMA_VERSION

APPLICATION_ID: Final = 0x6D656D6F  # "memo"
OLDEST_SQLITE: Final = (3, 24, 0)  # Upserts and the WAL features in use.
PROJECTS: Final = ".memollm"
"""The name of a cache's folder at a project's root."""
MOUNTS: Final = Path("/proc/self/mountinfo")
NETWORK_FILESYSTEMS: Final = frozenset(
    {
        "nfs",
        "nfs3",
        "nfs4",
        "cifs",
        "smbfs",
        "smb2",
        "smb3",
        "afs",
        "ncpfs",
        "lustre",
        "gpfs",
        "beegfs",
        "ceph",
        "glusterfs",
        "ocfs2",
        "pvfs2",
        "orangefs",
        "fuse.sshfs",
        "fuse.glusterfs",
        "fuse.ceph",
        "fuse.juicefs",
        "fuse.s3fs",
        "fuse.gcsfuse",
        "fuse.goofys",
        "fuse.rclone",
        "davfs",
    }
)
LONGEST_FAILURE: Final = 150
SIGNS_OF_DAMAGE: Final = ("malformed", "not a database", "could not decode", "no such column", "no such table")
SUFFIXES: Final = frozenset({".db", ".sqlite", ".sqlite3"})


class Files:
    """The database and the files beside it.

    A path with a database's suffix, or to a file, is the database; any other is the folder that holds it.
    """

    def __init__(self, path: Path) -> None:
        path = absolute(path)
        is_file = path.suffix in SUFFIXES or os.path.isfile(path)  # noqa: PTH113 - is_file() raises where it may not look
        self.database = path if is_file else path / "memollm.db"
        self.folder = self.database.parent
        self.lock = self.database.with_name(self.database.name + ".lock")
        self.epoch = self.database.with_name(self.database.name + ".epoch")
        self.owners = self.database.with_name(self.database.name + ".owners")

    def may_be_written(self) -> bool:
        """Tell whether this user may write the database and make files beside it."""
        return os.access(self.database, os.W_OK) and os.access(self.folder, os.W_OK)

    def require_writable(self) -> None:
        """Refuse to open a cache that this user may only read."""
        if self.database.exists() and not self.may_be_written():
            raise StoreReadOnly(
                f"The cache {self.database} cannot be written: what it holds is drawn, and nothing new is kept. Make "
                'the folder and its files writable for this user, or say so with mode="readonly".'
            )

    def prepare(self) -> None:
        """Make the folders, private to the user; a `.memollm` folder keeps itself out of git."""
        if self.folder.name == PROJECTS:
            require_own_place(self.folder)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        require_own(self.database, writes=True)
        make_folder(self.owners)
        if self.folder.name == PROJECTS and not os.path.lexists(ignore := self.folder / ".gitignore"):
            with os.fdopen(open_own(ignore, os.O_RDWR | os.O_CREAT | os.O_EXCL), "wb") as file:
                file.write(b"*\n")

    def open_private(self, path: Path) -> int:
        """Open a file beside the database for reading and writing, made on first need with mode 0600."""
        return open_own(path, os.O_RDWR | os.O_CREAT)


def refuse_foreign(database: Path) -> int | None:
    """Read, without touching it, whether the file is a database of ours and of a schema that we know.

    Return the schema's version, if it can be told at this moment.
    """
    require_own(database, writes=False)
    if not database.exists() or not database.stat().st_size:
        return 0
    log = database.with_name(database.name + "-wal")
    # Even a reader makes the files of a log that is empty; so long as it is, the database alone says all.
    mode = "ro" if log.exists() and log.stat().st_size else "ro&immutable=1"
    try:
        with closing(connect(database, mode=mode)) as connection:
            return recognize(connection, database)
    except sqlite3.DatabaseError as error:
        refuse_unreadable(database, error)
        return None
    except ValueError as error:
        # A text in the schema is none.
        raise translated(error, database) from error


def recognize(connection: sqlite3.Connection, database: Path) -> int:
    """Return the schema's version, 0 for an empty database; refuse one that is not ours or newer than we are."""
    (tables,) = connection.execute("SELECT EXISTS (SELECT 1 FROM sqlite_master)").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if application not in {0, APPLICATION_ID} or (tables and not application):
        raise StoreRefused(
            f"{database} is a SQLite database of another program, not a memollm cache. It was left as it is; "
            "give the cache a path of its own."
        )
    if version > SCHEMA_VERSION:
        raise StoreRefused(
            f"{database} was written by a newer memollm (schema {version}; this one knows {SCHEMA_VERSION}). "
            "It was left as it is; upgrade memollm, or use another path (MEMOLLM_CACHE)."
        )
    if application == APPLICATION_ID and version < FIRST_VERSION:
        raise StoreRefused(
            f"{database} was written by an early memollm (schema {version}), which this one cannot read. "
            "It was left as it is; use another path (MEMOLLM_CACHE), or move the file away."
        )
    return version if application == APPLICATION_ID else 0


def refuse_unreadable(database: Path, error: sqlite3.DatabaseError) -> None:
    """Refuse a file that is no database; let any other failure pass."""
    if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_NOTADB:
        # A permission, or a change at this moment: opening for real says which, or gets through.
        return
    raise StoreRefused(
        f"{database} is not a memollm cache: {error}. It was left as it is; give the cache another path, "
        "or move that file away."
    ) from error


def refuse_network(folder: Path) -> None:
    """Refuse a filesystem on which locks and shared memory do not hold between machines."""
    filesystem = filesystem_of(folder)
    if filesystem in NETWORK_FILESYSTEMS:
        raise StoreRefused(
            f"{folder} lies on a network filesystem ({filesystem}), where SQLite's and our locks are not reliable "
            "and a cache can be corrupted. Use a path on a local disk (MEMOLLM_CACHE, or Cache(path)), or insist with "
            "Cache(path, allow_network=True) if only one machine uses it."
        )


def filesystem_of(folder: Path) -> str:
    """Name the type of filesystem that a folder, or its nearest existing parent, lies on; empty where unknown."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    nearest = next(parent for parent in (folder, *folder.parents) if os.path.exists(parent))  # noqa: PTH110 - the same
    here = str(nearest.resolve())
    best, kind = "", ""
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", _unescaped, fields.split()[4]) if rest else ""
        inside = point and (here == point or here.startswith(point.rstrip("/") + "/"))
        # Of two mounts on one point the later hides the earlier.
        if inside and len(point) >= len(best):
            best, kind = point, rest.split()[0]
    return kind


def _unescaped(octal: re.Match[str]) -> str:
    return chr(int(octal[1], 8))


def refuse_old_sqlite() -> None:
    """Refuse a SQLite library that lacks what the statements need."""
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise StoreRefused(
            f"memollm needs SQLite {'.'.join(map(str, OLDEST_SQLITE))} or newer; this Python has "
            f"{sqlite3.sqlite_version}. Use a newer Python build, or Cache('memory:')."
        )


FAILURES: Final = (sqlite3.Error, OSError, OverflowError, ValueError, TypeError)
"""What SQLite raises, what keeps Python from handing it a value, and what comes of rows that hold something else than
we have written: a column takes values of any type."""
OF_ONE_CHANGE: Final = (
    sqlite3.DataError,
    sqlite3.IntegrityError,
    sqlite3.InterfaceError,
    sqlite3.ProgrammingError,
    OverflowError,
    UnicodeEncodeError,
)
"""Failures that one row is to blame for: it is too large, or no value of a database."""


def translated(error: Exception, database: Path) -> StoreUnavailable:
    """Say what happened to the store in the user's words."""
    pass_on(error)
    if isinstance(error, ValueError | TypeError) and not isinstance(error, UnicodeEncodeError):
        return StoreUnavailable(
            f"The cache {database} failed: a row holds something else than memollm has written "
            f"({shortened(str(error))}). memollm verify --repair keeps what can be read."
        )
    kind = ChangeRefused if isinstance(error, OF_ONE_CHANGE) else StoreUnavailable
    return kind(f"The cache {database} failed: {shortened(str(error))}. {_advice(error)}")


def shortened(text: str) -> str:
    """Write a failure as long as a line is: SQLite's can hold a whole prompt."""
    return text if len(text) <= LONGEST_FAILURE else f"{text[:LONGEST_FAILURE]}…"


def _advice(error: BaseException) -> str:
    text = str(error).lower()
    if "full" in text or "no space" in text or "too large" in text:
        return "Free some space on its disk, or move the cache with MEMOLLM_CACHE."
    if "readonly" in text or "read-only" in text or "permission" in text or "unable to open" in text:
        return "Make the folder and its files writable for this user, or move the cache with MEMOLLM_CACHE."
    if text == "interrupted":
        return (
            "A statement took far longer than so large a file can need, so its rows lead back to themselves: memollm "
            "verify --repair keeps what can be read."
        )
    if any(sign in text for sign in SIGNS_OF_DAMAGE):
        return "The file is damaged: memollm verify --repair keeps what can be read, or restore it from a copy."
    return "Draws go on without it; what they return is not kept."
