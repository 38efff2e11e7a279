"""What could be wrong with a cache: its files, who uses them, what they lie on, its signing key. It changes nothing."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._types.public import public
from memollm._types.secret import veiled
from memollm._types.tables import counted, size_text
from memollm._values.signing import VARIABLE, key_file
from memollm.errors import MemollmError, StoreError
from memollm.stores.documents import notes_of
from memollm.stores.looking import looking
from memollm.stores.memory.store import MemoryStore
from memollm.stores.s3.store import BucketStore
from memollm.stores.serving import ServedSession
from memollm.stores.shown import shown_store
from memollm.stores.sqlite.filelocks import lock_descriptor, unlock_descriptor
from memollm.stores.sqlite.files import (
    NETWORK_FILESYSTEMS,
    OLDEST_SQLITE,
    Files,
    filesystem_of,
    refuse_foreign,
)
from memollm.stores.sqlite.inside import KINDS
from memollm.stores.sqlite.own_files import open_own
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.sqlite.schema import foreign_texts
from memollm.stores.sqlite.sql import SCHEMA_VERSION
from memollm.stores.sqlite.store import SqliteStore
from memollm.stores.there import missing_part
from memollm.stores.tier.bucket import BucketTierStore
from memollm.stores.tier.naming import noted_bucket
from memollm.stores.tier.store import TierStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memollm.stores.drawing import Drawing

OK: Final = "ok"
NOTE: Final = "note"
WRONG: Final = "wrong"
OTHERS: Final = 0o077
WAL_RESET_FIXED: Final = (3, 51, 3)
MOST_SHOWN: Final = 5
"""How much of what is not ours is shown."""
LITTLE_SPACE: Final = 100 << 20
KERNEL_LOCKS: Final = Path("/proc/locks")


@public
class CheckResult(NamedTuple):
    """What was found about something."""

    about: str
    state: str
    """ "ok", "note" (worth knowing) or "wrong"."""
    text: str


def doctor(store: Drawing) -> list[CheckResult]:
    """Look for what could be wrong with a store and with what signs its records."""
    findings = (*_of_store(store), *_of_sharing(store), *_of_signing_key())
    return [finding._replace(text=veiled(finding.text)) for finding in findings]


def _of_store(store: Drawing) -> Iterator[CheckResult]:
    if isinstance(store, MemoryStore):
        yield CheckResult("store", NOTE, "it lives in this process alone, and ends with it")
    elif isinstance(store, SqliteStore):
        if isinstance(store, BucketStore):
            yield _check_bucket(store)
        yield from _check_sqlite()
        yield from _check_place(store.files)
        yield from _check_files(store.files)
        yield from _check_users(store.files)
    else:
        yield from _check_elsewhere(store)


def _check_elsewhere(store: Drawing) -> Iterator[CheckResult]:
    """Look at a store of a server, and make no cache there."""
    try:
        part = missing_part(store)
    except MemollmError as error:
        yield CheckResult("store", WRONG, str(error))
        return
    if part:
        shown = shown_store(store)
        yield CheckResult("store", NOTE, f"{shown} answers; in {part} no cache is yet: the first draw makes it")
    else:
        yield _answering(store)
    if isinstance(store, TierStore):
        yield CheckResult("tier", OK, store.copies.look())
    yield from _check_tier(store, is_made=not part)


def _check_tier(store: Drawing, *, is_made: bool) -> Iterator[CheckResult]:
    """Tell whether the bucket that has the large records is the one that is named, and answers."""
    named = store.objects.place if isinstance(store, BucketTierStore) else None
    try:
        noted = noted_bucket(store) if is_made else None
        if noted not in {None, named}:
            text = f"large samples stand in {noted}, which this program has not named: give the cache tier={noted!r}"
            yield CheckResult("bucket", WRONG, f"{text}, or set MEMOLLM_TIER")
        elif isinstance(store, BucketTierStore):
            yield CheckResult("bucket", OK, store.objects.look())
    except MemollmError as error:
        if named is not None:
            yield CheckResult("bucket", WRONG, str(error))


def _check_bucket(store: BucketStore) -> CheckResult:
    """Tell whether the bucket answers, and how much of it this machine has not read yet."""
    try:
        return CheckResult(
            "bucket", OK, "nothing exchanges with it" if store.exchange is None else store.exchange.look()
        )
    except StoreError as error:
        return CheckResult("bucket", WRONG, str(error))


def _answering(store: Drawing) -> CheckResult:
    """Tell whether a store of another kind answers."""
    try:
        readers = len(looking(store).readers())
    except MemollmError as error:
        return CheckResult("store", WRONG, str(error))
    name = store.described if isinstance(store, ServedSession) else "it"
    return CheckResult("store", OK, f"{name} answers, and knows {counted(readers, 'reader')}")


def _of_sharing(store: Drawing) -> Iterator[CheckResult]:
    if not os.environ.get(VARIABLE) and isinstance(store, BucketStore | TierStore | BucketTierStore | ServedSession):
        yield CheckResult(
            "signing key",
            NOTE,
            f"the cache is shared, and {VARIABLE} is not set: others cannot read objects of classes that this user "
            "stores. Set it to one secret for all of the team",
        )


def _of_signing_key() -> Iterator[CheckResult]:
    path = key_file()
    if os.environ.get(VARIABLE):
        yield CheckResult("signing key", OK, f"from {VARIABLE}")
    if not path.is_file():
        yield CheckResult("signing key", OK, f"{path} is not there yet; the first answer that needs one makes it")
    elif os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & OTHERS:
        yield CheckResult(
            "signing key", WRONG, f"other users can reach {path}; if nobody has used it, `chmod 600` it, else delete it"
        )
    else:
        yield CheckResult("signing key", OK, str(path))


def _check_sqlite() -> Iterator[CheckResult]:
    """Look at the SQLite library of this Python."""
    version = sqlite3.sqlite_version
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        yield CheckResult("SQLite", WRONG, f"{version} is too old; use a Python with SQLite {oldest} or newer")
    elif sqlite3.sqlite_version_info < WAL_RESET_FIXED:
        yield CheckResult(
            "SQLite",
            NOTE,
            f"{version} can corrupt a file whose log is reset by two connections at once (fixed in 3.51.3). memollm's "
            "write lock keeps its own programs from that; with other programs only read the file",
        )
    else:
        yield CheckResult("SQLite", OK, version)


def _check_place(files: Files) -> Iterator[CheckResult]:
    """Look at the folder and what it lies on."""
    kind = filesystem_of(files.folder)
    if kind in NETWORK_FILESYSTEMS:
        yield CheckResult(
            "filesystem", WRONG, f"{kind} is a network filesystem, where locks do not hold; use a path on a local disk"
        )
    else:
        yield CheckResult("filesystem", OK, kind or "unknown")
    nearest = next(each for each in (files.folder, *files.folder.parents) if os.path.exists(each))  # noqa: PTH110 - exists() raises where it may not look
    free = shutil.disk_usage(nearest).free
    yield CheckResult("free space", OK if free > LITTLE_SPACE else WRONG, size_text(free))
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield CheckResult(
            "folder", WRONG, f"{nearest} is not writable for this user: nothing can be stored; make it so"
        )


def _check_files(files: Files) -> Iterator[CheckResult]:
    """Look at the file itself, and at who may read it."""
    try:
        size = files.database.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        yield CheckResult("file", NOTE, f"{files.database} is not there yet; the first draw makes it")
        return
    except OSError as error:
        yield CheckResult("file", WRONG, f"{files.database} cannot be looked at: {error.strerror}; make it readable")
        return
    log = files.database.with_name(files.database.name + "-wal")
    logged = log.stat().st_size if log.exists() else 0
    yield CheckResult("file", OK, f"{files.database}, {size_text(size)} and {size_text(logged)} of log")
    try:
        version = refuse_foreign(files.database)
    except StoreError as error:
        # It is no file of ours, and nobody is to change anything about it.
        yield CheckResult("schema", WRONG, str(error))
        return
    yield from _check_permissions(files)
    yield from _check_schema(files, version)


def _check_permissions(files: Files) -> Iterator[CheckResult]:
    if os.name != "posix":
        return
    yield from _check_folder(files.folder)
    beside = [files.database.with_name(files.database.name + ending) for ending in ("-wal", "-shm")]
    there = [each for each in (files.database, files.lock, files.epoch, files.owners, *beside) if each.exists()]
    wrong = list(_wrong_permissions(there))
    yield from wrong or [CheckResult("permissions", OK, f"{counted(len(there), 'file')} of this user alone")]


def _check_folder(folder: Path) -> Iterator[CheckResult]:
    """Look at who else may put files into a folder, or another one in its place."""
    for each in (folder, *folder.resolve().parents):
        status = each.stat()
        mode, is_own = stat.S_IMODE(status.st_mode), each == folder
        if status.st_uid not in {os.geteuid(), 0}:
            yield CheckResult(
                "folder", WRONG, f"{each} belongs to another user, who can change or replace what is stored"
            )
        elif mode & stat.S_IWOTH and (is_own or not mode & stat.S_ISVTX):
            advice = "`chmod 700` it" if is_own else "`chmod o-w` it, or use a folder elsewhere"
            yield CheckResult("folder", WRONG, f"anybody can write to {each}, and change what is stored; {advice}")
        elif is_own and mode & stat.S_IWGRP:
            yield CheckResult("folder", NOTE, f"the group of {each} can write there, and change what is stored")


def _wrong_permissions(paths: Iterable[Path]) -> Iterator[CheckResult]:
    for path in paths:
        if path.is_symlink():
            yield CheckResult("permissions", WRONG, f"{path} is a link, and no file that memollm has made; remove it")
        elif path.stat().st_uid not in {os.geteuid(), 0}:
            yield CheckResult("permissions", WRONG, f"{path} belongs to another user; use another cache")
        elif stat.S_IMODE(path.stat().st_mode) & OTHERS:
            mode = "700" if path.is_dir() else "600"
            yield CheckResult("permissions", WRONG, f"other users can reach {path}; `chmod {mode}` it")
        elif not os.access(path, os.R_OK | os.W_OK):
            yield CheckResult("permissions", WRONG, f"{path} is not readable and writable for this user; make it so")


def _check_schema(files: Files, version: int | None) -> Iterator[CheckResult]:
    database = files.database
    if version is None:
        text = f"{database} cannot be read now: it is damaged, or its permissions are wrong"
        yield CheckResult("schema", WRONG, text)
        return
    older = "" if version == SCHEMA_VERSION else f"; the next program that opens it makes it {SCHEMA_VERSION}"
    foreign = foreign_texts(database)
    for entry in foreign[:MOST_SHOWN]:
        yield CheckResult("schema", WRONG, f"memollm did not make {entry}")
    if foreign:
        yield CheckResult("schema", WRONG, f"{len(foreign)} such entries; `memollm verify --repair` saves the samples")
    else:
        yield CheckResult("schema", OK, f"version {version}{older}")
        yield from _check_catalog(files)


def _check_catalog(files: Files) -> Iterator[CheckResult]:
    """Read every document, as far as that writes nothing."""
    reader = SqliteReader(files.database, allow_network=True)
    try:
        count = sum(len(notes_of(reader, kind)) for kind in KINDS)
        yield CheckResult("catalog", OK, counted(count, "document"))
    except StoreError as error:
        yield CheckResult("catalog", WRONG, str(error))
    finally:
        reader.close()


def _check_users(files: Files) -> Iterator[CheckResult]:
    """Look at who holds the write lock, and which processes are filling slots."""
    if not os.access(files.folder, os.R_OK | os.X_OK):
        return
    if files.lock.exists():
        held = _is_held(files.lock)
        yield CheckResult("write lock", NOTE if held else OK, f"held{_holders(files.lock)}" if held else "free")
    with suppress(FileNotFoundError):
        owners = sorted(files.owners.glob("*.lock"))
        live = [owner for owner in owners if _is_held(owner)]
        text = "".join(f"; {owner.stem[:8]}{_holders(owner)}" for owner in live)
        dead = len(owners) - len(live)
        gone = f"; {dead} that died, whose claims are void" if dead else ""
        yield CheckResult("filling slots", OK, f"{counted(len(live), 'live process', 'live processes')}{text}{gone}")


def _is_held(path: Path) -> bool:
    """Tell whether a process holds a lock file, by one attempt at it."""
    try:
        descriptor = open_own(path)
    except (OSError, StoreError):
        return False
    try:
        got = lock_descriptor(descriptor, blocking=False)
        if got:
            unlock_descriptor(descriptor)
        return not got
    finally:
        os.close(descriptor)


def _holders(path: Path) -> str:
    """Name the processes that hold a lock, where the kernel tells."""
    found: list[str] = []
    with suppress(OSError):
        number = str(path.stat().st_ino)
        lines = [line.split() for line in KERNEL_LOCKS.read_text(encoding="ascii").splitlines()]
        found = [fields[4] for fields in lines if fields[1] != "->" and fields[5].rpartition(":")[2] == number]
    return f" by process {', '.join(found)}" if found else ""
