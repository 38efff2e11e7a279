"""What verifying finds in a damaged cache, and what a repair keeps."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from contextlib import closing

import pytest

from memollm import Cache, OptionError, StoreUnavailable, namespace
from memollm.stores.looking import looking
from memollm.stores.sqlite.pages import stray_rows
from memollm.stores.sqlite.repair import _take_place
from memollm.stores.sqlite.salvage import _insert

CALLS = 300
PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Fill a cache once for all tests."""
    place = tmp_path_factory.mktemp("whole") / "memollm.db"
    with Cache(place) as cache:
        ask = cache.cached_llm(lambda x: f"answer {x} " * 30, name="ask", version="1")
        with namespace("n"):
            ask.map(range(CALLS), progress=False)
            ask(0)
    return place.read_bytes()


@pytest.fixture
def damaged(tmp_path, whole):
    """Do something to the file of a cache of three hundred calls."""

    def damage(do):
        database = tmp_path / "cache" / "memollm.db"
        database.parent.mkdir(mode=0o700)
        database.write_bytes(whole)
        do(database)
        return Cache(tmp_path / "cache")

    return damage


def sql(*statements):
    def do(database):
        with closing(sqlite3.connect(database)) as connection, connection:
            for statement in statements:
                connection.execute(statement)

    return do


def kinds(verified):
    return {fault.kind for fault in verified.faults}


def readable(cache):
    """Count the samples that a user can still read, each of them as it was."""
    ask = cache.cached_llm(lambda x: None, name="ask", version="1")
    answers = {x: ask.peek(x) for x in range(CALLS)}
    assert all(set(found) <= {f"answer {x} " * 30} for x, found in answers.items())
    return sum(map(len, answers.values()))


@pytest.mark.parametrize("value", ["CAST(x'7b22c328' AS TEXT)", "'{'"])
def test_a_damaged_document_stops_no_draw(damaged, value):
    """A note in the catalog that cannot be read is told, by draws as a warning and by commands as an error (P7)."""
    cache = damaged(sql(f"UPDATE catalog_function SET value = {value}"))
    ask = cache.cached_llm(lambda x: f"made {x}", name="ask", version="1")
    assert ask(0)
    for read in (cache.store, cache._engine.reading.store):
        with pytest.raises(StoreUnavailable, match="verify --repair"):
            read.looking.notes("function")
    assert cache.verify(repair=True).ok


def test_a_failure_is_told_on_a_line(damaged):
    """What SQLite says of a text that is none holds all of it, which may be a whole prompt."""
    cache = damaged(sql("UPDATE call SET form = CAST(x'c328' || zeroblob(10000) AS TEXT) WHERE id = 7"))
    with pytest.raises(StoreUnavailable, match="verify --repair") as told:
        looking(cache.store).survey()
    assert len(str(told.value)) < 500


def test_a_whole_cache_has_no_fault(cache):
    """It says how much was checked, for every kind of store."""
    ask = cache.cached_llm(lambda x: {"a": (x, b"x"), "c": slice(1), "t": "x"}[x], name="ask", version="1")
    for x in "act":
        ask.draw(2, x)
    verified = cache.verify()
    assert (verified.ok, verified.calls, verified.samples, verified.kept.cursors) == (True, 3, 6, 3)
    assert "checked 3 calls, 6 samples, 3 cursors" in str(verified)
    assert "note:" not in str(verified)


def test_progress_is_told(cache):
    """The last step is told in any case."""
    cache.cached_llm(lambda x: x, name="ask", version="1").draw(3, "x")
    told = []
    cache.verify(progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)


@pytest.mark.parametrize(
    ("do", "kind", "moved"),
    [
        (sql("DELETE FROM call WHERE id = 7"), "orphan", 1),
        (sql("UPDATE call SET form = replace(form, '{\"x\":5}', '{\"x\":6000}')"), "key", 1),
        (sql("UPDATE call SET form = 'nonsense' WHERE id = 9"), "key", 1),
        (sql("UPDATE call SET key = x'00' WHERE id = 9"), "key", 1),
        (sql("UPDATE sample SET record = substr(record, 1, 99) WHERE call = 8"), "record", 1),
        (sql("UPDATE sample SET record = 'text' WHERE call = 8"), "record", 1),
        (sql("INSERT INTO cursor (reader, call, next) VALUES (99, 1, 5)"), "orphan", 0),
        (sql("INSERT INTO claim VALUES (1, 9, 77, 1)"), "orphan", 0),
        (sql("INSERT INTO replaced VALUES (999, 0, 1.0, x'00')"), "orphan", 0),
        (
            sql(
                "INSERT INTO loose (reader, call, position) SELECT reader, call, 0 FROM cursor WHERE call = 5",
                "DELETE FROM cursor WHERE call = 5",
            ),
            "orphan",
            0,
        ),
        (sql("UPDATE catalog_namespace SET value = '{'"), "catalog", 0),
    ],
)
def test_a_repair_moves_what_cannot_stay(damaged, do, kind, moved):
    """Each kind of damage is told, and after the repair there is none; what was moved is in the file that is named."""
    cache = damaged(do)
    found = cache.verify()
    assert kinds(found) == {kind}
    assert not found.ok
    repaired = cache.verify(repair=True)
    assert repaired.ok
    assert repaired.repaired.moved == moved
    assert repaired.repaired.backup.exists()
    if moved:
        lines = [json.loads(line) for line in repaired.repaired.aside.read_text(encoding="utf-8").splitlines()]
        assert [line["is"] for line in lines] == ["call", lines[1]["is"]]
        assert repaired.repaired.aside.stat().st_mode & 0o077 == 0
    left = cache.verify()
    assert (left.ok, left.samples) == (True, CALLS + 1 - moved)


def test_checking_changes_nothing(damaged, tmp_path):
    """Without repair the file stays as it is, however damaged."""
    cache = damaged(sql("DELETE FROM call WHERE id = 7"))
    cache.verify()
    with closing(sqlite3.connect(tmp_path / "cache" / "memollm.db")) as connection:
        assert connection.execute("SELECT count(*) FROM sample").fetchone() == (CALLS + 1,)


def test_a_signature_that_does_not_fit_is_a_fault(cache, tmp_path):
    """A signed record that was copied to another call is told, and never loaded (P10)."""
    cache = Cache(tmp_path / "cache")
    ask = cache.cached_llm(lambda x: slice(1), name="ask", version="1")
    ask("a")
    ask("b")
    cache.close()
    sql("UPDATE sample SET record = (SELECT record FROM sample WHERE call = 1) WHERE call = 2")(
        tmp_path / "cache" / "memollm.db"
    )
    assert kinds(Cache(tmp_path / "cache").verify()) == {"signature"}


def test_dead_processes_are_no_fault_and_a_repair_forgets_them(damaged):
    """A killed process is nothing wrong: what it had in flight is free again by itself."""
    cache = damaged(sql("INSERT INTO owner (id, name) VALUES (77, 'gone')", "INSERT INTO claim VALUES (1, 9, 77, 1)"))
    found = cache.verify()
    assert (found.ok, found.kept.leftovers) == (True, 1)
    cache.verify(repair=True)
    assert cache.verify().kept.leftovers == 0


def flip(first, step):
    def do(database):
        data, chance = bytearray(database.read_bytes()), random.Random(1)
        for page in range(first, len(data) // PAGE, step):
            for _ in range(100):
                data[page * PAGE + chance.randrange(PAGE)] = chance.randrange(256)
        database.write_bytes(data)

    return do


def cut(share):
    def do(database):
        os.truncate(database, int(database.stat().st_size * share))

    return do


@pytest.mark.parametrize(
    ("do", "at_least"),
    [
        (flip(40, 30), 0.7),
        (flip(31, 11), 0.4),
        (cut(0.5), 0.1),
        (cut(0.8), 0.5),
        (cut(0.97), 0.8),
        (sql("PRAGMA writable_schema = ON", "DELETE FROM sqlite_master WHERE name = 'call_by_key'"), 1.0),
    ],
    ids=["some-pages", "many-pages", "half", "most", "the-end", "an-index"],
)
def test_a_broken_file_is_salvaged(damaged, tmp_path, do, at_least):
    """Row by row, what can be read is kept, in a file that takes the place of the broken one; the rest is named."""
    cache = damaged(do)
    assert "structure" in kinds(cache.verify())
    repaired = cache.verify(repair=True)
    assert repaired.ok
    assert bool(repaired.repaired.lost) is (at_least < 1)
    # Samples whose calls are lost are aside.
    assert readable(cache) + repaired.repaired.moved >= at_least * CALLS
    assert cache.cached_llm(lambda x: "new", name="ask", version="1")("another") == "new"
    assert cache.verify().ok


def test_a_log_of_the_broken_file_is_not_read_into_the_new_one(tmp_path):
    """Where damage kept a log from being folded in, it goes with the file that it was of (P7)."""
    for name in ("memollm.db", "memollm.db-wal", "memollm.db-shm", "draft"):
        (tmp_path / name).write_text(name)
    _take_place(tmp_path / "draft", tmp_path / "memollm.db")
    assert {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()} == {"memollm.db": "draft"}


def test_a_namespace_goes_on_after_a_salvage(damaged):
    """What it has drawn and is still there it is not given again (P1)."""
    cache = damaged(sql("PRAGMA writable_schema = ON", "DELETE FROM sqlite_master WHERE name = 'call_by_key'"))
    assert cache.verify(repair=True).ok
    ask = cache.cached_llm(lambda x: "new", name="ask", version="1")
    with namespace("n"):
        assert {ask(x) for x in range(CALLS)} == {"new"}


def test_a_broken_file_in_use_is_not_replaced(damaged, tmp_path):
    """Whoever has it open would go on in the old file, so the user is asked to end them first."""
    cache = damaged(sql("PRAGMA writable_schema = ON", "DELETE FROM sqlite_master WHERE name = 'call_by_key'"))
    with closing(sqlite3.connect(tmp_path / "cache" / "memollm.db")) as other:
        other.execute("SELECT * FROM call").fetchall()
        with pytest.raises(StoreUnavailable, match="another program has it open"):
            cache.verify(repair=True)
    assert cache.verify(repair=True).ok


def test_what_has_no_file_cannot_be_repaired():
    """A cache in memory is checked and no more."""
    with pytest.raises(OptionError, match="mends the file of a cache on a disk, and 'memory:' has none"):
        Cache("memory:").verify(repair=True)


def test_a_repair_is_noticed_by_whoever_has_the_cache_open(tmp_path):
    """Another store of the same file forgets what it remembers: the sample that was moved aside is drawn anew."""
    with Cache(tmp_path / "cache") as cache, Cache(tmp_path / "cache") as other:
        ask = cache.cached_llm(lambda x: "old", name="ask", version="1", pool=1)
        again = other.cached_llm(lambda x: "new", name="ask", version="1", pool=1)
        assert [ask("x"), again("x")] == ["old", "old"]
        sql("UPDATE sample SET record = substr(record, 1, 9)")(tmp_path / "cache" / "memollm.db")
        assert other.verify(repair=True).ok
        assert ask.peek("x") == []
        assert [again("x"), ask("x")] == ["new", "new"]


@pytest.mark.parametrize("page", [512, PAGE])
def test_rows_of_every_length_are_read_out_of_their_pages(tmp_path, page):
    """Where a row goes on in other pages, how much of it stands in its own follows from its length."""
    lengths = range(0, 4 * page, 7 if page == PAGE else 1)
    with closing(sqlite3.connect(tmp_path / "x.db")) as made, made:
        made.execute(f"PRAGMA page_size = {page}")
        made.execute("CREATE TABLE sample (call, slot, stored, record)")
        made.executemany("INSERT INTO sample VALUES (?, 1, 2.0, zeroblob(?))", ((each, each) for each in lengths))
    rows = [row for table, row in stray_rows((tmp_path / "x.db").read_bytes()) if table == "sample"]
    assert {row[0]: len(row[3]) for row in rows} == {each: each for each in lengths}


def test_a_row_that_damage_made_too_long_is_left_out():
    """What a damaged page says may have more columns than its table; the rest is salvaged all the same."""
    row = (1, b"k", "f", "{}", 1.0, 2.0)
    with closing(sqlite3.connect(":memory:")) as target:
        target.execute("CREATE TABLE call (id, key, function, form, made, used)")
        for each in ((*row, b"more"), row, row[:5]):
            _insert(target, "call", each)
        assert target.execute("SELECT * FROM call").fetchall() == [row, (*row[:5], None)]
