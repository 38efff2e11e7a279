"""The SQLite store's file: private, its own, on a local disk, whole after every way of leaving."""

import gc
import os
import sqlite3
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest
from hands import at_once, stock, take

from memollm._types.calls import Place
from memollm._types.requests import Fill
from memollm._types.samples import MINE, Sample
from memollm.errors import StoreClosed, StoreRefused, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.sqlite import connections, files as sqlite_files, leaving, lock as lock_module, own_files
from memollm.stores.sqlite.files import Files, filesystem_of
from memollm.stores.sqlite.link import FileVanished, Link
from memollm.stores.sqlite.lock import WriteLock
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing import NOON
from memollm.testing._bench import A_MOMENT, PATIENCE, call, noted, written

SLOT = Place(call(), 0)


def remove(store):
    for path in list(store.files.folder.glob("memollm.db*")):
        if path.is_file():
            path.unlink()


def contents(folder):
    # The index of a log is shared memory: readers leave their marks in it.
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.suffix != ".db-shm"}


# Where it lies.


def test_folder_holds_the_database(tmp_path):
    """A path without a database's suffix is the folder that holds everything."""
    files = Files(tmp_path / "cache")
    assert (files.database, files.folder) == (tmp_path / "cache" / "memollm.db", tmp_path / "cache")


@pytest.mark.parametrize("name", ["x.db", "x.sqlite", "x.sqlite3"])
def test_suffix_names_the_database(tmp_path, name):
    """A path with a database's suffix is the database."""
    assert Files(tmp_path / name).database == tmp_path / name


def test_existing_file_is_the_database(tmp_path):
    """A path to a file is the database, whatever its name."""
    (tmp_path / "samples").touch()
    assert Files(tmp_path / "samples").database == tmp_path / "samples"


def test_home_is_expanded(tmp_path, monkeypatch):
    """A path may begin at the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Files(Path("~/cache")).folder == tmp_path / "cache"


def test_nothing_is_made_before_first_use(tmp_path, opened):
    """A store touches no disk until it is used."""
    opened(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


# Privacy.


def test_files_are_private(store):
    """Every file is readable by its user alone, every folder enterable by its user alone (P10)."""
    take(store)
    noted(store, "run", "one", {})
    store.peek(call())
    made = [store.files.folder, *store.files.folder.rglob("*")]
    modes = {path.name: path.stat().st_mode & 0o777 for path in made}
    ignore = modes.pop(".gitignore")
    assert ignore & 0o022 == 0
    assert {name: mode for name, mode in modes.items() if mode != (0o700 if "." not in name[1:] else 0o600)} == {
        "memollm.db.owners": 0o700
    }


def test_memollm_folder_keeps_itself_out_of_git(store):
    """A `.memollm` folder ignores itself; a user's own rules there are left alone."""
    take(store)
    assert (store.files.folder / ".gitignore").read_text() == "*\n"


def test_other_folders_are_not_ignored(tmp_path, opened):
    """A folder that the user named gets no file that does not belong to the cache."""
    take(opened(tmp_path / "cache"))
    assert not (tmp_path / "cache" / ".gitignore").exists()


# Network filesystems.


MOUNTED = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / {tmp}/nfs rw,relatime shared:2 - nfs4 server:/x rw
31 22 0:41 / {tmp}/with\\040blank rw - cifs //server/x rw
32 22 0:42 / {tmp}/caf\N{LATIN SMALL LETTER E WITH ACUTE} rw - fuse.sshfs me@server: rw
33 30 0:43 / {tmp}/nfs/local rw - tmpfs tmpfs rw
34 22 0:44 / {tmp}/hidden rw - nfs server:/y rw
35 22 0:45 / {tmp}/hidden rw - xfs /dev/sdb1 rw
malformed
"""


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    table = tmp_path / "mountinfo"
    table.write_text(MOUNTED.format(tmp=tmp_path), encoding="utf-8")
    monkeypatch.setattr(sqlite_files, "MOUNTS", table)


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("elsewhere", "ext4"),
        ("nfs", "nfs4"),
        ("nfs/project/.memollm", "nfs4"),
        ("nfs/local/x", "tmpfs"),
        ("nfs-not", "ext4"),
        ("with blank", "cifs"),
        ("café/x", "fuse.sshfs"),
        ("hidden", "xfs"),
    ],
)
def test_filesystem_is_that_of_the_nearest_mount(tmp_path, mounts, folder, kind):
    """The filesystem of a folder is that of the mount it lies under, the later of two on one point."""
    (tmp_path / folder).mkdir(parents=True)
    assert filesystem_of(tmp_path / folder) == kind
    assert filesystem_of(tmp_path / folder / "not" / "yet" / "made") == kind


def test_filesystem_is_unknown_without_a_mount_table(tmp_path, monkeypatch):
    """Where there is no mount table, no filesystem is taken for a network's."""
    monkeypatch.setattr(sqlite_files, "MOUNTS", tmp_path / "none")
    assert filesystem_of(tmp_path) == ""


def test_network_filesystem_is_refused(tmp_path, mounts, opened):
    """A cache on a network filesystem is refused with advice and nothing is made, unless the user insists."""
    (tmp_path / "nfs").mkdir()
    with pytest.raises(StoreRefused, match=r"network filesystem \(nfs4\).*local disk.*allow_network=True"):
        take(opened(tmp_path / "nfs" / "cache"))
    assert not list((tmp_path / "nfs").iterdir())
    assert take(opened(tmp_path / "nfs" / "cache", allow_network=True)).states == [MINE]


# Files that are not ours.


def refused(opened, path, match):
    before = contents(path.parent)
    with pytest.raises(StoreRefused, match=match):
        take(opened(path))
    assert contents(path.parent) == before


def test_a_journal_that_goes_as_it_is_looked_at(tmp_path, opened, monkeypatch):
    """Processes that begin at one time open the cache that one of them is making, and whose journal goes (P7)."""
    stock(opened(tmp_path / "cache"), b"zero")
    journal, plain = tmp_path / "cache" / "memollm.db-journal", own_files.open_own
    journal.write_bytes(b"a journal")

    def open_own(path, flags):
        if path == journal:
            journal.unlink()
        return plain(path, flags)

    monkeypatch.setattr(own_files, "open_own", open_own)
    assert take(opened(tmp_path / "cache")).records == [b"zero"]
    assert not journal.exists()


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_foreign_database_is_left_as_it_is(tmp_path, opened, journal):
    """Another program's database is refused, and neither it nor its folder changes by a byte (P10)."""
    path = tmp_path / "their.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA journal_mode = {journal}")
        connection.execute("CREATE TABLE sample (precious)")
        connection.execute("INSERT INTO sample VALUES (1)")
        connection.commit()
    refused(opened, path, "another program")


def test_foreign_log_is_left_as_it_is(tmp_path, opened):
    """A database that another program has open, with a log, is refused, and neither changes by a byte."""
    path = tmp_path / "their.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("CREATE TABLE sample (precious)")
        connection.commit()
        refused(opened, path, "another program")


def test_foreign_database_without_tables_is_left_as_it_is(tmp_path, opened):
    """A file that another program has marked as its own is refused before there is anything in it."""
    path = tmp_path / "their.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id = 7")
    refused(opened, path, "another program")


def test_cache_with_a_log_alone_is_known(tmp_path, opened, owner):
    """A cache whose first process was killed, so that all of it is in the log, is opened."""
    process = owner("alone")
    process.kill()
    process.wait(PATIENCE)
    assert take(opened(tmp_path / "cache"), 3).at == [0, 1, 2]


def test_text_file_is_left_as_it_is(tmp_path, opened):
    """A file that is no database is refused unchanged."""
    path = tmp_path / "notes.db"
    path.write_text("Not a database, but somebody's notes of some length.\n" * 100)
    refused(opened, path, "not a memollm cache")


def test_newer_schema_is_left_as_it_is(tmp_path, opened):
    """A cache of a newer memollm is refused unchanged, with the advice to upgrade."""
    path = tmp_path / "new.db"
    store = opened(path)
    take(store)
    store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    refused(opened, path, "newer memollm.*upgrade")


def test_empty_file_becomes_a_cache(tmp_path, opened):
    """An empty file is nobody's, and is used."""
    (tmp_path / "empty.db").touch()
    assert take(opened(tmp_path / "empty.db")).states == [MINE]


# Leaving and coming back.


def test_closed_store_says_so(store):
    """A store that its user closed refuses to draw, waiting or not."""
    take(store)
    store.close()
    for asking in (take, at_once):
        with pytest.raises(StoreClosed, match="was closed"):
            asking(store)


def test_last_close_leaves_one_whole_file(store):
    """Closing folds the log into the database, which is intact, and leaves no owner behind."""
    stock(store, b"zero")
    take(store)
    assert list(store.files.owners.iterdir())
    store.close()
    assert not list(store.files.owners.iterdir())
    assert not [path for path in store.files.folder.iterdir() if path.name.endswith(("-wal", "-shm"))]
    with closing(sqlite3.connect(store.files.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("SELECT record FROM sample").fetchall() == [(b"zero",)]


def test_rested_store_opens_again(store):
    """A store at rest has let go of its file and opens it on the next use."""
    stock(store, b"zero")
    store.rest()
    assert take(store).records == [b"zero"]


def test_checkpoint_folds_the_log(store, monkeypatch):
    """Now and then the write-ahead log is folded into the database, and begins anew."""
    monkeypatch.setattr("memollm.stores.sqlite.link.CHECKPOINT_BYTES", 1 << 16)
    monkeypatch.setattr("memollm.stores.sqlite.session.COMMITS_BETWEEN_CHECKS", 10)
    before = threading.enumerate()
    for _ in range(30):
        hand = take(store)
        hand.fill(b"x" * 10_000)
        hand.settle()
    for thread in threading.enumerate():
        if thread not in before:
            thread.join(PATIENCE)
    with closing(sqlite3.connect(f"file:{store.files.database}?immutable=1", uri=True)) as folded:
        (count,) = folded.execute("SELECT count(*) FROM sample").fetchone()
    assert count >= 10


def test_hits_are_not_synced_and_fills_are(store):
    """A fill is committed with a sync, a draw of what is stored without one (P7)."""
    seen = []
    stock(store, b"zero")
    link, _ = store._open_as
    link.writer.set_trace_callback(seen.append)
    take(store)
    assert not [text for text in seen if "synchronous = FULL" in text]
    take(store).fill(b"one")
    assert [text for text in seen if "synchronous" in text] == ["PRAGMA synchronous = FULL"]


def test_removed_database_is_made_anew(store):
    """A cache that was removed while in use is reported once, and the next draw makes it anew."""
    stock(store, b"zero")
    remove(store)
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        written(store, [Fill(store.flights.depart(), SLOT, Sample(b"x", NOON))])
    assert take(store).states == [MINE]


@pytest.mark.parametrize("beside", ["lock", "epoch"])
def test_a_removed_lock_is_taken_up_anew(store, opened, beside):
    """P7: who writes when the lock or the epoch is gone goes by the file that others make, and keeps its answer."""
    stock(store, b"zero")
    hand = take(store, 2)
    path = getattr(store.files, beside)
    path.unlink()
    other = opened(store.files.folder)
    assert take(other).states == [MINE]
    hand.fill(b"one")
    link, _ = store._open_as
    assert path.stat().st_ino in {os.fstat(link.lock.descriptor).st_ino, os.fstat(link.epoch._descriptor).st_ino}
    assert [state.record for state in take(other, 2, "later").states] == [b"zero", b"one"]


def test_who_is_told_of_nothing_any_more_opens_anew(store, opened):
    """After the epoch was removed, what others forget is still forgotten by who remembers it: nothing is kept of it."""
    stock(store, b"zero")
    take(store).settle()
    store.files.epoch.unlink()
    other = opened(store.files.folder)
    keeping(other).forget(call())
    stock(store, b"one")
    assert [state.record for state in take(other, reader="later").states] == [b"one"]


def test_a_process_whose_own_lock_was_removed_lives_on(store, opened):
    """P5: its next claim makes the file anew, and what it has in flight is its own again unless somebody took it."""
    hand = take(store)
    own = next(iter(store.files.owners.glob("*.lock")))
    own.unlink()
    take(store, of=call("another"))
    other = opened(store.files.folder)
    busy = take(other, reader="later").states
    assert own.exists()
    assert busy != [MINE]
    hand.fill(b"zero")
    assert [state.record for state in take(other, reader="later still").states] == [b"zero"]


class Entered:
    """A lock; something is done before it is entered."""

    def __init__(self, lock, before):
        self._lock, self._before = lock, before

    def __enter__(self):
        self._before()
        return self._lock.__enter__()

    def __exit__(self, *raised):
        return self._lock.__exit__(*raised)


def test_every_thread_that_meets_a_removed_database_is_told(store):
    """P7: of several threads that write when the cache is gone each learns it, and the next draw makes it anew."""
    stock(store, b"zero")
    link, _ = store._open_as
    inside = threading.Barrier(2)
    # All are on their way into the old file before the first finds out.
    link.lock.threads = Entered(link.lock.threads, lambda: inside.wait(PATIENCE))
    remove(store)
    fills = [[Fill(store.flights.depart(), SLOT, Sample(b"x", NOON))] for _ in range(2)]
    with ThreadPoolExecutor(2) as pool:
        told = [future.exception(PATIENCE) for future in [pool.submit(written, store, fill) for fill in fills]]
    assert [type(error) for error in told] == [FileVanished] * 2
    assert take(store).states == [MINE]


def test_who_learns_late_that_the_database_was_removed_disturbs_nobody(store):
    """P7: a thread that was on its way into the old file leaves alone what others draw from the new one."""
    stock(store, b"zero")
    link, _ = store._open_as
    entered, made_anew, threads = threading.Event(), threading.Event(), link.lock.threads

    def late():
        entered.set()
        assert made_anew.wait(PATIENCE)

    with ThreadPoolExecutor(1) as pool:
        link.lock.threads = Entered(threads, late)
        late = pool.submit(written, store, [Fill(store.flights.depart(), SLOT, Sample(b"x", NOON))])
        assert entered.wait(PATIENCE)
        link.lock.threads = threads
        remove(store)
        with pytest.raises(FileVanished):
            written(store, [Fill(store.flights.depart(), SLOT, Sample(b"x", NOON))])
        hand = take(store)
        made_anew.set()
        assert type(late.exception(PATIENCE)) is FileVanished
    hand.fill(b"kept")
    assert [sample.record for sample in store.peek(call()).values()] == [b"kept"]


def test_catalog_makes_no_file_of_its_own(store, opened):
    """A note into a cache that was removed is refused and leaves nothing that would stand in the way."""
    take(store)
    remove(store)
    with pytest.raises(StoreUnavailable, match="removed or replaced"):
        noted(store, "run", "one", {})
    assert not store.files.database.exists()
    noted(store, "run", "one", {"is": "kept"})
    assert dict(looking(opened(store.files.folder)).notes("run")) == {"one": {"is": "kept"}}


@pytest.mark.parametrize("kind", ["store", "reader"])
def test_store_that_is_dropped_is_closed(tmp_path, kind, monkeypatch, opened):
    """A store that nobody has any more lets go of its file without a warning, and what it had claimed is free (P3)."""
    begun = []
    monkeypatch.setattr(leaving, "start_new_thread", lambda work, given: begun.append(Thread(target=work, args=given)))
    others = {*connections._known()}
    dropped = SqliteStore(tmp_path / "cache")
    take(dropped)
    if kind == "reader":
        dropped.close()
        dropped = dropped.reader()
        dropped.peek(call())
    assert {*connections._known()} > others
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del dropped
        gc.collect()
    for thread in begun:
        thread.start()
        thread.join(PATIENCE)
    assert {*connections._known()} <= others
    assert take(opened(tmp_path / "cache")).at == [0]


# The catalog.


@pytest.mark.parametrize(
    ("failure", "advice"),
    [
        ("database or disk is full", "Free some space"),
        ("attempt to write a readonly database", "Make the folder and its files writable"),
        ("database disk image is malformed", "The file is damaged: memollm verify --repair"),
        ("disk I/O error", "Draws go on without it"),
    ],
)
def test_failure_says_what_can_be_done(tmp_path, failure, advice):
    """Nobody is sent to repair a file that is whole."""
    told = str(sqlite_files.translated(sqlite3.OperationalError(failure), tmp_path / "memollm.db"))
    assert told.startswith(f"The cache {tmp_path / 'memollm.db'} failed: {failure}. {advice}")


def test_catalog_is_json_under_the_write_ahead_log(store):
    """Documents are readable JSON in the same file, whose log is neither folded nor changed by them."""
    stock(store, b"zero")
    noted(store, "function", "f", {"source": "é"})
    with closing(sqlite3.connect(store.files.database)) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("SELECT key, json(value) FROM catalog_function").fetchall() == [
            ("f", '{"source":"\\u00e9"}')
        ]


def test_catalog_leaves_no_thread_behind(store):
    """When a note is kept, its connection is closed: no close happens outside the write lock."""
    before = {*threading.enumerate()}
    noted(store, "function", "f", {})
    looking(store).notes("function")
    assert {*threading.enumerate()} <= before


def test_note_that_fails_is_an_error(store, caplog):
    """A document that cannot be written is reported, and nothing waits for it."""
    take(store)
    with closing(sqlite3.connect(store.files.database)) as connection:
        connection.execute("CREATE TRIGGER t BEFORE INSERT ON catalog_run BEGIN SELECT RAISE(FAIL, 'disk full'); END")
    with pytest.raises(StoreUnavailable, match="disk full"):
        noted(store, "run", "one", {})
    assert dict(looking(store).notes("run")) == {}


def test_a_check_waits_for_who_makes_the_file(store):
    """A file that somebody is making at that moment is looked at when it is made."""
    checks, files = store.checks(), store.files
    files.prepare()
    lock = WriteLock(files.open_private(files.lock))

    def documents():
        with checks.inside() as inside:
            return inside.kept().documents, list(inside.faults())

    with ThreadPoolExecutor(1) as pool:
        with lock.held():
            files.database.touch()
            looked = pool.submit(documents)
            with pytest.raises(TimeoutError):
                looked.result(A_MOMENT)
            Link(files, lock)._end()
        assert looked.result(PATIENCE) == (0, [])


def test_nobody_writes_between_leaving_and_closing(store, monkeypatch):
    """What a process has in flight is voided and its file is closed under one hold of the lock (P1)."""
    take(store)
    link, closed = store._open_as[0], []
    unlock = lock_module.unlock_descriptor
    monkeypatch.setattr(lock_module, "unlock_descriptor", lambda number: (closed.append(link.closed), unlock(number)))
    store.close()
    assert closed == [True]
