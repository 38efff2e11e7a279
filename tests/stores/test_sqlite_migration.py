"""A file of an older schema opens with all that is in it, and gives its space back like a new one."""

import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest
from hands import stock, take

from memollm._types.counting import Use
from memollm._types.samples import MINE, Sample
from memollm.stores.sqlite.files import APPLICATION_ID, SCHEMA_VERSION
from memollm.stores.sqlite.ledger import statements
from memollm.testing import NOON
from memollm.testing._bench import PATIENCE, call


@pytest.fixture
def old(tmp_path):
    """Make a cache as the first version left it: three samples, a reader that has drawn two and given one back."""
    folder = tmp_path / "cache"
    folder.mkdir()
    with closing(sqlite3.connect(folder / "memollm.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.executescript(statements()["schema_1"])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("PRAGMA user_version = 1")
        key, form, function = call().key, call().form, call().function
        connection.execute("INSERT INTO call VALUES (1, ?, ?, ?, ?)", (key, function, form, NOON))
        for slot in range(3):
            connection.execute("INSERT INTO sample VALUES (1, ?, ?, ?)", (slot, NOON, b"%d" % slot))
        connection.execute("INSERT INTO reader VALUES (1, 'run:1')")
        connection.execute("INSERT INTO cursor VALUES (1, 1, 2)")
        connection.execute("INSERT INTO loose VALUES (1, 1, 0, NULL, NULL)")
        connection.execute("INSERT INTO catalog_run VALUES ('one', '{}')")
    return folder


def version_of(folder):
    with closing(sqlite3.connect(folder / "memollm.db")) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def test_old_file_keeps_everything(old, opened):
    """Samples, cursors, positions given back and notes of the first version are there (P1, P2, P7)."""
    store = opened(old)
    assert store.peek(call()) == {slot: Sample(b"%d" % slot, NOON) for slot in range(3)}
    assert [(reader.name, reader.draws) for reader in store.readers()] == [("run:1", 1)]
    assert dict(store.notes("run")) == {"one": {}}
    assert [(item.samples, item.made, item.used) for item in store.inventory()] == [(3, NOON, NOON)]
    assert [take(store, reader="run:1").at for _ in range(3)] == [[0], [2], [3]]
    assert version_of(old) == SCHEMA_VERSION


def test_old_file_has_lanes_and_costs(old, opened):
    """What the first version did not know works with its samples and readers."""
    store = opened(old)
    assert [take(store, reader="run:1", lane=lane).at for lane in "xy"] == [[0], [2]]
    assert [take(store, reader="run:2", lane=lane).at for lane in "yx"] == [[2], [0]]
    hand = take(store, reader="run:3", n=4)
    assert (hand.at, hand.states[-1]) == ([1, 3, 4, 5], MINE)
    store.count({}, [Use("run:1", call(), 0, 2, NOON + 1)])
    assert [item.used for item in store.inventory()] == [NOON + 1]


OPENER = """
import sys
from pathlib import Path
from memollm.stores.sqlite.store import SqliteStore
from memollm.testing._bench import call

store = SqliteStore(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(len(store.peek(call())), store.readers()[0].draws, flush=True)
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
    assert version_of(old) == SCHEMA_VERSION


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


@pytest.mark.parametrize("made_by", ["old", "new"])
def test_evicted_space_goes_back_to_the_disk(tmp_path, opened, request, made_by):
    """After evicting and shrinking the file is smaller, while another process draws from it undisturbed (P1)."""
    folder = request.getfixturevalue("old") if made_by == "old" else tmp_path / "cache"
    store, stop = opened(folder), tmp_path / "stop"
    if made_by == "new":
        stock(store, b"0", b"1", b"2")
    for name in ("large", "larger"):
        stock(store, *(b"x" * (1 << 19) for _ in range(4)), of=call(name))
    store._open_as[0].checkpoint()
    command = [sys.executable, "-c", DRAWER, str(folder), str(stop)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as drawer:
        try:
            assert drawer.stdout.readline() == b"ready\n"
            large = [item.handle for item in store.inventory() if item.bytes > 1 << 20]
            before = store.files.database.stat().st_size
            assert store.evict(large, used_by=NOON) == large
            told = []
            store.shrink(lambda *progress: told.append(progress))
            stop.touch()
            out, err = drawer.communicate(timeout=PATIENCE)
        finally:
            drawer.kill()
    assert err == b""
    assert len(store.peek(call("drawn"))) == int(out)
    # Readers may hold the log for a moment: what is left of it is folded in now.
    store.shrink(lambda *progress: told.append(progress))
    assert store.files.database.stat().st_size < before - (3 << 20)
    assert told[-1][0] == told[-1][1]
    assert len(store.peek(call())) == 3
    with closing(sqlite3.connect(store.files.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA auto_vacuum").fetchone() == (2,)
