"""A SQLite cache is read where nothing may be written: no file is made or changed, no lock taken."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import pytest
from hands import at_once, stock, take

from memollm._types.counting import Account, Counts
from memollm._types.samples import MINE, Sample
from memollm.errors import StoreRefused, StoreUnavailable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.reading import ReadingStore
from memollm.stores.sqlite.reader import SqliteReader
from memollm.testing import NOON
from memollm.testing._bench import PATIENCE, call, noted


@pytest.fixture
def reader():
    """Make readers that are closed after the test."""
    readers = []

    def make(path):
        readers.append(SqliteReader(path))
        return readers[-1]

    yield make
    for each in readers:
        each.close()


def snapshot(folder):
    """Everything in a folder, but for the index of a log, in which every reader leaves its marks."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() and path.suffix != ".db-shm" else None
        for path in folder.rglob("*")
    }


def use(reader):
    """Do everything that a reader can do; return some of it."""
    store = ReadingStore(reader)
    looking(store).notes("function")
    looking(store).notes("run", "one")
    looking(store).calls("tests.ask")
    looking(store).readers()
    looking(store).counted()
    looking(store).inventory()
    hand = take(store)
    if hand.states == [MINE]:
        hand.fill(b"mine")
        hand.settle()
    return hand.at, reader.peek(call())


def closed_cache(opened, path):
    store = opened(path)
    stock(store, b"zero", b"one")
    take(store)
    noted(store, "run", "one", {"at": NOON, "é": None})
    keeping(store).count(store.flights.new_id(), {Account("d", "r", "", "f"): Counts(draws=2)}, [])
    store.close()
    return path


def test_closed_cache_is_read_and_nothing_made(tmp_path, opened, reader):
    """A cache that nobody has open is read, and its folder stays as it is to the byte."""
    folder = closed_cache(opened, tmp_path / "cache")
    before = snapshot(folder)
    reading = reader(folder)
    assert use(reading) == ([1], {0: Sample(b"zero", NOON), 1: Sample(b"one", NOON)})
    assert dict(looking(reading).notes("run")) == {"one": {"at": NOON, "é": None}}
    assert dict(looking(reading).counted()) == {Account("d", "r", "", "f"): Counts(draws=2)}
    reading.close()
    assert snapshot(folder) == before


def test_no_file_is_opened_for_writing(tmp_path, opened, reader):
    """The system is never asked to make or to change a file."""
    folder = closed_cache(opened, tmp_path / "cache")
    program = (
        "import os, sys; from pathlib import Path\n"
        "def audit(event, arguments):\n"
        "    ours = event == 'open' and str(arguments[0]).startswith(sys.argv[1])\n"
        "    if ours and arguments[2] & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):\n"
        "        os._exit(3)\n"
        "    if event in ('os.mkdir', 'os.remove', 'os.rename', 'os.chmod'): os._exit(4)\n"
        "    if event == 'sqlite3.connect' and 'mode=ro' not in str(arguments[0]): os._exit(5)\n"
        "from memollm.stores.sqlite.reader import SqliteReader\n"
        "from memollm.testing._bench import call\n"
        "sys.addaudithook(audit)\n"
        "reader = SqliteReader(Path(sys.argv[1]))\n"
        "reader.looking.notes('run'), reader.epoch()\n"
        "print(len(reader.peek(call())), reader.epoch() >= 0)"
    )
    command = [sys.executable, "-c", program, str(folder)]
    assert subprocess.run(command, capture_output=True, timeout=PATIENCE, check=True).stdout == b"2 True\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("left", ["closed", "open", "killed"])
def test_folder_without_write_permission(opened, owner, reader, left):
    """A user who may only read a cache's folder is served what it has, whoever has it open or had."""
    # Permissions do not bind root, so that a child gives them up; the tests' own folder is closed to others.
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "cache"
        closed_cache(opened, folder)
        if left != "closed":
            process = owner("alone", folder)
            if left == "killed":
                process.kill()
                process.wait(PATIENCE)
        for path in (Path(above), folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            assert in_a_child(lambda: use(reader(folder))[0] == [1], folder)
        finally:
            for path in (Path(above), folder):
                path.chmod(0o700)


def in_a_child(holds, folder):
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            if os.getuid() == 0:
                os.setgroups([])
                os.setgid(65534)
                os.setuid(65534)
            assert not os.access(folder, os.W_OK)
            status = 0 if holds() else 2
        os._exit(status)
    return os.waitpid(child, 0)[1] == 0


def test_missing_cache_is_empty(tmp_path, reader):
    """Where there is no cache there are no samples, and none is made; one that comes is read."""
    reading = reader(tmp_path / "none" / "cache")
    assert use(reading) == ([0], {})
    assert reading.epoch() == -1
    assert not (tmp_path / "none").exists()


def test_empty_file_is_an_empty_cache(tmp_path, reader):
    """An empty file has no samples and stays empty."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "memollm.db").touch()
    assert use(reader(tmp_path / "cache")) == ([0], {})
    assert snapshot(tmp_path / "cache") == {Path("memollm.db"): b""}


def test_cache_that_comes_is_read(tmp_path, opened, reader):
    """A cache that is made, filled, closed and made anew is read as it is each time."""
    reading = reader(tmp_path / "cache")
    assert reading.peek(call()) == {}
    store = opened(tmp_path / "cache")
    stock(store, b"zero")
    assert reading.peek(call()) == {0: Sample(b"zero", NOON)}
    store.rest()
    assert reading.peek(call()) == {0: Sample(b"zero", NOON)}
    epoch = reading.epoch()
    keeping(store).forget(call())
    assert reading.epoch() != epoch
    assert reading.peek(call()) == {}
    stock(store, b"new")
    store.close()
    assert reading.peek(call()) == {0: Sample(b"new", NOON)}
    shutil.rmtree(tmp_path / "cache")
    assert reading.peek(call()) == {}


def test_cache_in_use_is_read_and_left(tmp_path, opened, owner, reader):
    """Beside a live process that draws, the latest is read, and nothing is folded, locked or left behind."""
    process = owner("alone")
    before = snapshot(tmp_path / "cache")
    reading = reader(tmp_path / "cache")
    assert looking(reading).standing("reader", call()).next == 3
    reading.close()
    assert snapshot(tmp_path / "cache") == before
    store = opened(tmp_path / "cache")
    stock(store, b"zero", of=call("b"))
    assert reading.peek(call("b")) == {0: Sample(b"zero", NOON)}
    assert process.poll() is None


def test_killed_writer_s_log_is_read(tmp_path, owner, reader):
    """What a killed process left in the log is read, and the log stays."""
    process = owner("alone")
    process.kill()
    process.wait(PATIENCE)
    before = snapshot(tmp_path / "cache")
    reading = reader(tmp_path / "cache")
    assert looking(reading).standing("reader", call()).next == 3
    reading.close()
    assert snapshot(tmp_path / "cache") == before


def test_log_without_index_is_not_guessed(tmp_path, owner, reader):
    """A log that cannot be read without making a file is an error that says what to do, and no file is made."""
    process = owner("alone")
    process.kill()
    process.wait(PATIENCE)
    (tmp_path / "cache" / "memollm.db-shm").unlink()
    before = snapshot(tmp_path / "cache")
    with pytest.raises(StoreUnavailable, match=r"was not closed.*Open it once where it may be written"):
        reader(tmp_path / "cache").peek(call())
    assert snapshot(tmp_path / "cache") == before


def test_foreign_file_is_refused(tmp_path, reader):
    """Another program's database, a newer schema's and a text are refused as for writing."""
    with closing(sqlite3.connect(tmp_path / "their.db")) as connection:
        connection.execute("CREATE TABLE sample (precious)")
    (tmp_path / "notes.db").write_text("Not a database.\n" * 100)
    for name, match in (("their.db", "another program"), ("notes.db", "not a memollm cache")):
        with pytest.raises(StoreRefused, match=match):
            reader(tmp_path / name).peek(call())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_forked_child_reads_by_itself(tmp_path, opened, reader):
    """A forked child reads through a connection of its own, and both go on."""
    reading = reader(closed_cache(opened, tmp_path / "cache"))
    assert len(reading.peek(call())) == 2
    child = os.fork()
    if child == 0:
        status = 1
        with suppress(BaseException):
            status = 0 if len(reading.peek(call())) == 2 and json.dumps(reading.epoch()) else 2
        os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert len(reading.peek(call())) == 2


def test_long_query_keeps_nobody_from_reading(tmp_path, opened, reader):
    """While one thread reads for long, a draw that must not wait and has all at hand is served (P12)."""
    reading = ReadingStore(base := reader(closed_cache(opened, tmp_path / "cache")))
    assert take(reading, reader=None).records == [b"zero"]
    inside, go_on = threading.Event(), threading.Event()

    def slow():
        inside.set()
        assert go_on.wait(PATIENCE)

    base.looking.inventory()
    base._readers._idle[-1].connection.set_progress_handler(slow, 1)
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(base.looking.inventory)
        assert inside.wait(PATIENCE)
        assert at_once(reading, reader=None) == ([0], [b"zero"])
        assert base.peek(call())[1].record == b"one"
        go_on.set()
        assert len(long.result(PATIENCE)) == 1
