"""A file of an older schema opens with all that is in it; a file gives its space back."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from hands import stock, take

from memollm._types.counting import Use
from memollm._types.samples import Sample
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.sqlite import files, sql
from memollm.stores.sqlite.reader import SqliteReader
from memollm.stores.sqlite.store import SqliteStore
from memollm.stores.transfer import Part, Stretch
from memollm.testing import NOON
from memollm.testing._bench import PATIENCE, call, noted

# An invented older version: without the table of what runs used, and without its index.
OLDER = sql.FIRST_VERSION - 1
CHANGE = (
    "CREATE TABLE used (run TEXT, call INTEGER, first INTEGER, last INTEGER, PRIMARY KEY (run, call, first))",
    "CREATE INDEX used_by_call ON used (call)",
)
INVENTION = f"""
from memollm.stores.sqlite import files, sql

sql.FIRST_VERSION = files.FIRST_VERSION = {OLDER}
sql.MIGRATIONS[:] = [{CHANGE}]
"""


@pytest.fixture
def invented(monkeypatch):
    """Let there have been a version before the first one."""
    monkeypatch.setattr(sql, "FIRST_VERSION", OLDER)
    monkeypatch.setattr(files, "FIRST_VERSION", OLDER)
    monkeypatch.setattr(sql, "MIGRATIONS", [CHANGE])


@pytest.fixture
def old(tmp_path, invented):
    """Make a cache of the older version: three samples, a reader that has drawn two and given one back."""
    folder = tmp_path / "cache"
    store = SqliteStore(folder)
    stock(store, b"0", b"1", b"2")
    hand = take(store, 2, reader="run:1")
    hand.bring_back(0)
    hand.abandon()
    noted(store, "run", "one", {})
    store.close()
    with closing(sqlite3.connect(folder / "memollm.db", isolation_level=None)) as connection:
        connection.execute("DROP TABLE used")
        connection.execute(f"PRAGMA user_version = {OLDER}")
    return folder


def version_of(folder):
    with closing(sqlite3.connect(folder / "memollm.db")) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_old_file_keeps_everything(old, opened):
    """Samples, cursors, positions given back and notes of an older version are there (P1, P2, P7)."""
    store = opened(old)
    assert store.peek(call()) == {slot: Sample(b"%d" % slot, NOON) for slot in range(3)}
    assert [(reader.name, reader.draws) for reader in looking(store).readers()] == [("run:1", 1)]
    assert dict(looking(store).notes("run")) == {"one": {}}
    assert [take(store, reader="run:1").at for _ in range(3)] == [[0], [2], [3]]
    assert version_of(old) == sql.SCHEMA_VERSION


def test_old_file_has_what_is_new(old, opened):
    """What the older version did not know works with its samples."""
    store = opened(old)
    keeping(store).count(store.flights.new_id(), {}, [Use("run:1", call(), 0, 2, NOON + 1)])
    assert [item.used for item in looking(store).inventory()] == [NOON + 1]
    with keeping(store).transfer().snapshot() as snapshot:
        (entry,) = snapshot.entries(Part())
        assert snapshot.stretches(entry) == [Stretch("run:1", 0, 2)]


def test_new_file_has_the_latest_schema(tmp_path, opened, invented):
    """A new file goes through no older version."""
    store = opened(tmp_path / "cache")
    stock(store, b"0")
    assert version_of(tmp_path / "cache") == sql.SCHEMA_VERSION
    assert sql.upgrade(0)[0].startswith("CREATE TABLE call")
    assert sql.upgrade(OLDER) == list(CHANGE)
    assert sql.upgrade(sql.SCHEMA_VERSION) == []


def test_older_than_the_first_is_refused(old, opened, monkeypatch):
    """A file of a version that nobody can bring up to date is left as it is, and the message says so."""
    monkeypatch.setattr(files, "FIRST_VERSION", OLDER + 1)
    with pytest.raises(StoreRefused, match=r"early memollm \(schema .*left as it is; use another path"):
        opened(old).peek(call())
    assert version_of(old) == OLDER


def test_older_file_is_not_changed_by_who_only_reads(old):
    """Where nothing may be written, a file that must be brought up to date says how."""
    reader = SqliteReader(old)
    with pytest.raises(StoreUnavailable, match="brought up to date only where it may be written"):
        reader.peek(call())
    reader.close()
    assert version_of(old) == OLDER


OPENER = f"""{INVENTION}
import sys
from pathlib import Path
from memollm.stores.looking import looking
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing._bench import call

store = SqliteStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(len(store.peek(call())), looking(store).readers()[0].draws, flush=True)
"""


def test_processes_open_an_old_file_at_once(old):
    """Of several processes that open it together one brings it to the new schema, and all succeed."""
    command = [sys.executable, "-c", OPENER, str(old)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    try:
        for process in processes:
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            process.stdin.write(b"go\n")
            process.stdin.flush()
        answers = [process.communicate(timeout=PATIENCE) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait(PATIENCE)
    assert answers == [(b"3 1\n", b"")] * 3
    assert version_of(old) == sql.SCHEMA_VERSION


DRAWER = """
import sys
from pathlib import Path
from memollm._types.calls import Want
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing._bench import Hand, call

store = SqliteStore(Path(sys.argv[1]))
count = 0
while not Path(sys.argv[2]).exists():
    hand = Hand(store, Want(call("drawn"), "drawer", 1, None))
    assert hand.at == [count], (hand.at, count)
    hand.fill(b"%d" % count)
    hand.settle()
    count += 1
    if count == 3:
        print("ready", flush=True)
print(count, flush=True)
store.close()
"""


def test_evicted_space_goes_back_to_the_disk(tmp_path, opened):
    """After evicting and shrinking the file is smaller, while another process draws from it undisturbed (P1)."""
    folder = tmp_path / "cache"
    store, stop = opened(folder), tmp_path / "stop"
    stock(store, b"0", b"1", b"2")
    for name in ("large", "larger"):
        stock(store, *(b"x" * (1 << 19) for _ in range(4)), of=call(name))
    store._open_as[0].checkpoint()
    command = [sys.executable, "-c", DRAWER, str(folder), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as drawer:
        try:
            assert drawer.stdout.readline() == b"ready\n"
            large = [item.handle for item in looking(store).inventory() if item.bytes > 1 << 20]
            before = store.files.database.stat().st_size
            assert keeping(store).evict(large, used_by=NOON) == large
            told = []
            keeping(store).shrink(lambda *progress: told.append(progress))
            stop.touch()
            out, err = drawer.communicate(timeout=PATIENCE)
        finally:
            drawer.kill()
    assert err == b""
    assert len(store.peek(call("drawn"))) == int(out)
    # Readers may hold the log for a moment: what is left of it is folded in now.
    keeping(store).shrink(lambda *progress: told.append(progress))
    assert store.files.database.stat().st_size < before - (3 << 20)
    assert told[-1][0] == told[-1][1]
    assert len(store.peek(call())) == 3
    with closing(sqlite3.connect(store.files.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
