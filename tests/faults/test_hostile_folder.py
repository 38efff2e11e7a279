"""A cache's folder that somebody else wrote: nothing outside of it is written or removed, and nothing in it runs."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import struct
import subprocess
import sys
import traceback
import warnings
from contextlib import closing

import pytest
import zstandard

from memollm import (
    Cache,
    CacheMiss,
    DamagedRecord,
    OptionError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    lane,
    replay,
)
from memollm._calls import engines
from memollm._calls.configuration import Configuration
from memollm.errors import MemollmWarning
from memollm.stores.documents import notes_of
from memollm.stores.sqlite import connections, salvage
from memollm.stores.sqlite.owner_locks import is_alive
from memollm.stores.sqlite.pages import Pages
from memollm.stores.sqlite.schema import foreign_texts
from memollm.stores.sqlite.sql import statements

PRECIOUS = b"what the user has written"
BESIDE = ("memollm.db.lock", "memollm.db.epoch", "memollm.db", "memollm.db-wal", "memollm.db-shm", "memollm.db-journal")


@pytest.fixture
def folder(tmp_path):
    """Make a cache of two samples, and close it."""
    with Cache(tmp_path / "home" / ".memollm") as cache:
        ask = asker(cache)
        ask("a")
        ask("b")
    return tmp_path / "home" / ".memollm"


@pytest.fixture
def precious(tmp_path):
    """Make a file of the user's that no cache has any business with."""
    file = tmp_path / "precious"
    file.write_bytes(PRECIOUS)
    return file


def asker(cache, namespace="n"):
    return cache.cached_llm(lambda x: f"answer {x}", name="ask", version="1", namespace=namespace)


def sql(folder, *statements):
    with closing(sqlite3.connect(folder / "memollm.db", isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


def use(folder):
    """Do what a user does with a cache; only errors of ours may come of it."""
    try:
        with Cache(folder) as cache:
            ask = asker(cache)
            ask("a")
            ask("new")
            cache.verify(repair=True)
    except StoreError as error:
        return error


# Names of owners.


@pytest.mark.parametrize(
    "name", ["/…/poetry", "../../poetry", "poetry", "", "0" * 33, "g" * 32, 5, None, b"\0", "0" * 32 + "\n"]
)
def test_a_stored_name_is_never_made_a_path(tmp_path, folder, name):
    """An owner's name is 32 hex digits or nothing: what another name would lead to is neither locked nor removed."""
    victim = tmp_path / "poetry.lock"
    victim.write_bytes(PRECIOUS)
    planted = name.replace("/…", str(tmp_path)) if isinstance(name, str) else name
    assert not is_alive(folder / "memollm.db.owners", planted)
    stored = "" if planted is None else planted
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("INSERT INTO owner (name) VALUES (?)", (stored,))
        connection.execute("INSERT INTO claim (call, slot, owner, ticket) VALUES (1, 1, 1, 1)")
    assert use(folder) is None
    assert victim.read_bytes() == PRECIOUS


def test_a_link_in_the_place_of_an_owner_is_left_alone(folder, precious):
    """A link among the files of owners leads to nothing that is locked or removed."""
    link = folder / "memollm.db.owners" / f"{'a' * 32}.lock"
    link.symlink_to(precious)
    assert not is_alive(folder / "memollm.db.owners", "a" * 32)
    assert (link.is_symlink(), precious.read_bytes()) == (True, PRECIOUS)


def test_a_folder_of_owners_elsewhere_is_refused(tmp_path, folder):
    """Files of owners are made and removed in the cache's folder only."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (folder / "memollm.db.owners").rmdir()
    (folder / "memollm.db.owners").symlink_to(elsewhere)
    assert isinstance(use(folder), StoreRefused)
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize("options", [{"pool": 1}, {"namespace": "later"}, {"pool": 1, "mode": "offline"}])
def test_an_answer_that_was_edited_is_told(folder, options):
    """P8: who edits an answer in the file makes it damaged, not another answer; the error says how to have it anew."""
    sql(folder, "UPDATE sample SET record = CAST(replace(CAST(record AS TEXT), 'answer', 'forged') AS BLOB)")
    with Cache(folder) as cache:
        ask = cache.cached_llm(lambda x: f"answer {x}", name="ask", version="1", **options)
        with pytest.raises(DamagedRecord, match=r"not what was written.*\.forget its call, or.*refresh"):
            ask("a")
        again = ask.with_options(mode="auto")
        again.forget("a")
        assert again("a") == "answer a"
        assert again.with_options(mode="refresh")("b") == again("b") == "answer b"


# Links, pipes and other things where a file should be.


@pytest.mark.parametrize("name", BESIDE)
def test_a_link_where_a_file_should_be_is_refused(folder, precious, name):
    """Nothing is written through a link: neither the user's file nor its size changes."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(precious)
    error = use(folder)
    assert isinstance(error, StoreRefused)
    assert name in str(error)
    assert precious.read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", BESIDE)
def test_a_dangling_link_makes_no_file(tmp_path, folder, name):
    """No file is made where a link leads to."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(tmp_path / "made")
    assert isinstance(use(folder), StoreRefused)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", BESIDE)
def test_a_second_name_of_a_file_is_refused(folder, precious, name):
    """A hard link to the user's file is no file of the cache."""
    (folder / name).unlink(missing_ok=True)
    (folder / name).hardlink_to(precious)
    assert isinstance(use(folder), StoreRefused)
    assert precious.read_bytes() == PRECIOUS


@pytest.mark.parametrize("name", BESIDE)
def test_a_pipe_or_a_folder_where_a_file_should_be_is_refused(folder, name):
    """Opening waits for nobody at the other end."""
    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)
    assert isinstance(use(folder), StoreRefused)
    (folder / name).unlink()
    (folder / name).mkdir()
    assert isinstance(use(folder), StoreError)


def test_a_dangling_gitignore_makes_no_file(tmp_path, folder):
    """The file that keeps a cache out of git is made in its folder or not at all."""
    (folder / ".gitignore").unlink()
    (folder / ".gitignore").symlink_to(tmp_path / "made")
    assert use(folder) is None
    assert not (tmp_path / "made").exists()


def test_a_journal_that_names_another_file_is_refused(folder, precious):
    """SQLite removes the file that a journal names as the one of several databases; such a journal is not played."""
    pages = (folder / "memollm.db").read_bytes()
    magic, name = bytes.fromhex("d9d505f920a163d7"), bytes(precious)
    header = magic + struct.pack(">IIIII", 1, 7, len(pages) // 4096, 512, 4096)
    page = struct.pack(">I", 1) + pages[:4096]
    checksum = (7 + sum(pages[at] for at in range(4096 - 200, 0, -200))) & 0xFFFFFFFF
    pointer = struct.pack(">I", (1 << 30) // 4096 + 1) + name
    pointer += struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF) + magic
    journal = header.ljust(512, b"\0") + page + struct.pack(">I", checksum) + pointer
    (folder / "memollm.db-journal").write_bytes(journal)
    assert isinstance(use(folder), StoreRefused)
    assert precious.read_bytes() == PRECIOUS


def test_a_link_in_the_place_of_the_projects_cache_makes_no_files_elsewhere(tmp_path, monkeypatch):
    """A cloned repository's `.memollm` that leads to a folder with other files in it is not used (the user's is)."""
    home, project = tmp_path / "somebody", tmp_path / "cloned"
    home.mkdir()
    (home / "notes").write_bytes(PRECIOUS)
    project.mkdir()
    (project / ".memollm").symlink_to(home)
    monkeypatch.chdir(project)
    assert isinstance(use(project / ".memollm"), StoreRefused)
    assert [path.name for path in home.iterdir()] == ["notes"]
    (project / ".memollm").unlink()
    (project / ".memollm").symlink_to(tmp_path / "scratch")
    (tmp_path / "scratch").mkdir()
    assert use(project / ".memollm") is None
    assert (tmp_path / "scratch" / "memollm.db").exists()


@pytest.mark.parametrize("size", [0, 1, 1 << 41])
def test_an_epoch_of_any_size_counts_on(folder, size):
    """A file of an absurd size does not keep what is stored from being replaced."""
    os.truncate(folder / "memollm.db.epoch", size)
    with Cache(folder) as cache:
        ask = asker(cache)
        ask("a")
        assert ask.forget("a") == 2


# What the database holds besides our tables.

PLANTED = {
    "trigger": "CREATE TRIGGER drops AFTER INSERT ON sample BEGIN DELETE FROM sample; END",
    "view": "CREATE VIEW more AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n",
    "index": "CREATE INDEX heavy ON sample (length(record) + length(hex(zeroblob(1000000))))",
    "table": "CREATE TABLE another (x)",
    "column": "ALTER TABLE sample ADD COLUMN more AS (length(record))",
    "virtual": "CREATE VIRTUAL TABLE found USING fts5(x)",
    "statistics": "ANALYZE",
}


@pytest.mark.parametrize("what", PLANTED)
def test_what_is_not_ours_is_refused(folder, what):
    """A database with anything else in its schema is not drawn from, and stays as it is; the way out keeps samples."""
    if what == "virtual" and not has_fts5():
        pytest.skip("this SQLite has no virtual tables to plant")
    sql(folder, PLANTED[what])
    before = (folder / "memollm.db").read_bytes()
    for read_only in (False, True):
        with Cache(folder) as cache:
            ask = asker(cache).with_options(mode="readonly" if read_only else "auto")
            with pytest.raises(StoreRefused, match=r"did not make.*memollm doctor.*verify --repair"):
                ask("a")
    assert (folder / "memollm.db").read_bytes() == before
    with Cache(folder) as cache:
        assert not cache.verify().ok
        assert cache.verify(repair=True).ok
        assert [asker(cache).peek(x) for x in "ab"] == [["answer a"], ["answer b"]]


def has_fts5():
    with closing(sqlite3.connect(":memory:")) as connection:
        return bool(connection.execute("SELECT sqlite_compileoption_used('ENABLE_FTS5')").fetchone()[0])


def test_a_view_in_the_place_of_a_table_hangs_nobody(folder):
    """A recursive view by the name of a table of ours is not read, neither by a draw nor by a repair."""
    endless = PLANTED["view"].replace("VIEW more", "VIEW sample").replace("SELECT i FROM n", "SELECT i AS call FROM n")
    sql(folder, "ALTER TABLE sample RENAME TO kept", endless)
    assert isinstance(use(folder), StoreRefused)
    with Cache(folder) as cache:
        assert cache.verify(repair=True).ok


def written_in_place(folder, made):
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(f"UPDATE sqlite_master SET sql = {made} WHERE name = 'reader'")


def test_a_schema_written_in_place_is_refused(folder):
    """A table of ours whose text was changed by hand is not ours any more."""
    written_in_place(folder, "replace(sql, 'UNIQUE', 'UNIQUE ')")
    assert isinstance(use(folder), StoreRefused)


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ("replace(sql, 'name', CAST(x'6eff6d65' AS TEXT))", "table reader"),
        ("CAST(CAST(sql AS BLOB) || x'ff' AS TEXT)", "cannot read"),
    ],
)
def test_a_schema_that_is_no_text_is_told(folder, made, told):
    """What somebody made unreadable in a schema is named by `doctor`, which does not fail on it."""
    written_in_place(folder, made)
    assert any(told in found for found in foreign_texts(folder / "memollm.db"))


# What is stored and shown.

STEERING = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"


def steers(text):
    return any(character in text for character in STEERING if not character.isprintable())


def planted(folder, table, column, value):
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute(f"UPDATE {table} SET {column} = ?", (value,))


@pytest.mark.parametrize("on_stale", ["error", "miss"])
def test_a_record_that_is_a_text_is_told_as_damage(folder, on_stale):
    """P10: also one that looks as if it were packed."""
    planted(folder, "sample", "record", "x" * 100)
    with Cache(folder) as cache:
        ask = cache.cached_llm(lambda x: x, name="ask", version="1", namespace="new", on_stale=on_stale)
        with pytest.raises(DamagedRecord):
            ask.draw(2, "a")


def test_no_message_steers_a_terminal(folder, capsys):
    """P10: names, forms, samples and notes that somebody else wrote reach errors, warnings and reports as text."""
    with closing(sqlite3.connect(folder / "memollm.db")) as connection:
        ((text,),) = connection.execute("SELECT value FROM catalog_function").fetchall()
    note = json.loads(text)
    note["latest"] = STEERING
    note["versions"][STEERING] = {"first": 1.0, "parts": {STEERING: STEERING}}
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("UPDATE catalog_function SET value = ?", (json.dumps(note),))
        connection.execute(
            "UPDATE call SET form = replace(form, '\"a\"', ?)", (json.dumps(STEERING, ensure_ascii=False),)
        )
        connection.execute("UPDATE reader SET name = 'run:' || ? || id WHERE name LIKE 'run:%'", (STEERING,))
        connection.execute("UPDATE reader SET name = ? WHERE name LIKE 'namespace:%'", (f"namespace:{STEERING}",))
        connection.execute("INSERT INTO catalog_namespace VALUES (?, '{')", (STEERING,))
    said = []
    with Cache(folder) as cache:

        @cache.cached_llm(name="ask", mode="offline", namespace="n")
        def ask(x):
            return x

        with warnings.catch_warnings(record=True, action="always") as caught, pytest.raises(CacheMiss) as error:
            ask("c")
        said += [str(error.value), *(warnings.formatwarning(w.message, w.category, "f", 1) for w in caught)]
        ask.explain("c")
        cache.cached_llm(lambda x: x, name="ask", version="1").explain("c")
        said += [str(cache.verify()), str(cache.stats("namespace")), str(cache.stats("run"))]
        with pytest.raises(StoreError) as error:
            cache.export(folder / "x.jsonl", namespace=STEERING)
        said.append("".join(traceback.format_exception(error.value)))
    said += capsys.readouterr()
    assert any("owned" in text for text in said)
    assert [text for text in said if steers(text)] == []


FORMS = {
    "no json": "{",
    "deep": '{"memollm":1,"function":"f","arguments":' + "[" * 90_000 + "]" * 90_000 + "}",
    "deep but read": '{"memollm":1,"function":"f","arguments":' + '{"x":' * 900 + "1" + "}" * 900 + "}",
    "list": "[]",
    "number": '{"memollm":1,"function":"f","arguments":' + "9" * 5000 + "}",
    "bytes": b"{",
    "other": '{"memollm":[],"function":{},"arguments":3}',
}


@pytest.mark.parametrize("name", FORMS)
def test_a_planted_form_stops_no_explanation(folder, name):
    """Of a stored call whose form is none, the explanation and an offline miss say so, and compare the others."""
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("UPDATE call SET form = ? WHERE id = 1", (FORMS[name],))
    with Cache(folder) as cache:
        ask = asker(cache)
        explanation = ask.explain("c")
        assert any(difference.stored == '"b"' for near in explanation.nearest for difference in near.differences)
        with pytest.raises(CacheMiss, match="offline"):
            ask.with_options(mode="offline")("c")


DOCUMENTS = {
    "no json": "{",
    "deep": "[" * 90_000,
    "list": "[]",
    "empty": "{}",
    "bytes": b"{}",
    "nothing": None,
    "no versions": '{"name": "ask", "latest": "version:1", "versions": {}}',
    "versions are a list": '{"name": "ask", "latest": "version:1", "versions": ["version:1"]}',
    "a version is a number": '{"name": "ask", "latest": "version:1", "versions": {"version:1": 5}}',
    "a time is none": '{"name": "ask", "latest": "v", "versions": {"v": {"first": 1e300, "parts": {}}}}',
    "parts are none": '{"name": "ask", "latest": "v", "versions": {"v": {"first": 1, "parts": [1]}}}',
    "a name is a number": '{"name": 5, "latest": "version:1", "versions": {"version:1": {"first": 1, "parts": {}}}}',
}


NO_DOCUMENTS = ("no json", "deep", "list", "bytes", "nothing")


@pytest.mark.parametrize(
    ("kind", "name"), [*(("function", name) for name in DOCUMENTS), *(("namespace", name) for name in NO_DOCUMENTS)]
)
def test_a_planted_note_is_told_and_mended(folder, kind, name):
    """A document that is none, or has another shape, stops no draw; who reads it is told, and a repair removes it."""
    planted(folder, f"catalog_{kind}", "value", DOCUMENTS[name])
    with Cache(folder) as cache:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MemollmWarning)
            # The first draw of a process reads it, and is given what is stored all the same.
            assert asker(cache, "another")("a") == "answer a"
        with pytest.raises(StoreUnavailable, match="verify --repair"):
            notes_of(cache.store, kind)
        assert {fault.kind for fault in cache.verify().faults} == {"catalog"}
        assert cache.verify(repair=True).ok
        assert asker(cache, "one more")("a") == "answer a"
        assert cache.verify().ok


# What never ends.


def bomb(folder, table, *, depth=12):
    """Let the root of a table be a page of pages of pages … which all are the same few: more rows than can be read."""
    database = folder / "memollm.db"
    with closing(sqlite3.connect(database)) as connection:
        (root,) = connection.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        connection.execute("PRAGMA journal_mode = DELETE")
    data = bytearray(database.read_bytes())
    size = 4096
    leaf = len(data) // size + 1
    pages = [bytes(data[(root - 1) * size : root * size])]
    for at in range(depth):
        child, cells = leaf + at, 300
        page = bytearray(size)
        page[0:12] = struct.pack(">BHHHBI", 5, 0, cells, size - 5 * cells, 0, child)
        for cell in range(cells):
            start = size - 5 * (cell + 1)
            page[12 + 2 * cell : 14 + 2 * cell] = struct.pack(">H", start)
            page[start : start + 5] = struct.pack(">IB", child, 1)
        pages.append(bytes(page))
    data[(root - 1) * size : root * size] = pages.pop()
    data += b"".join(pages)
    data[28:32] = struct.pack(">I", len(data) // size)
    database.write_bytes(data)


def test_pages_that_lead_back_to_themselves_hang_nobody(folder):
    """A statement that goes on far longer than the file is large is interrupted, and the message says what to do."""
    bomb(folder, "call")
    with Cache(folder) as cache, warnings.catch_warnings():
        warnings.simplefilter("ignore", MemollmWarning)
        assert asker(cache)("a") == "answer a"
        with pytest.raises(StoreUnavailable, match="verify --repair"):
            cache.store.looking.inventory()
        cache.export(folder / "x.jsonl")
        assert not cache.verify().ok
        assert cache.verify(repair=True).ok
        assert asker(cache)("b") == "answer b"


def test_rows_that_overlap_are_not_read_for_ever():
    """Rows of a damaged file which each claim all of it are read as far as the file is large."""
    page = bytearray(4096)
    page[0:5] = struct.pack(">BHH", 0x0D, 0, 1000)
    for cell in range(1000):
        page[8 + 2 * cell : 10 + 2 * cell] = struct.pack(">H", 3000)
    # Two million bytes of payload, row 1; most of it in a page of overflow that leads to itself.
    page[3000:3004] = b"\xff\xd3\x6d\x01"
    page[3493:3497] = struct.pack(">I", 3)
    data = bytearray(2048 * 4096)
    data[16:18] = struct.pack(">H", 4096)
    data[4096:8192] = page
    data[8192:8196] = struct.pack(">I", 3)
    assert 0 < len(list(Pages(bytes(data)).rows(2))) < 10


def test_a_statement_may_take_as_long_as_the_file_is_large(folder, monkeypatch):
    """A long listing is no runaway: what others have used up before it is allowed again."""
    monkeypatch.setattr(connections, "STEPS", 100_000)
    with Cache(folder) as cache:
        store = cache.store
        for _ in range(300):
            store._read(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 500) SELECT max(i) FROM n", ()
            )
        with pytest.raises(StoreUnavailable, match="lead back to themselves"):
            store._read("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n", ())
        assert asker(cache)("a") == "answer a"


def test_lanes_that_go_too_far_are_not_walked_over(folder):
    """A planted position of a lane does not have a draw count up to it under the lock."""
    with closing(sqlite3.connect(folder / "memollm.db")) as connection, connection:
        connection.execute("INSERT INTO lane (name) VALUES ('l')")
        connection.execute(
            "INSERT INTO recorded (recorder, call, position, lane, nth) VALUES (1, 1, ?, 1, 0)", (1 << 60,)
        )
        connection.execute("UPDATE cursor SET next = ? WHERE call = 2", (1 << 60,))
    with Cache(folder) as cache:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MemollmWarning)
            with lane("l"):
                assert asker(cache)("a") == "answer a"
                assert asker(cache).with_options(mode="readonly")("a") == "answer a"
        with replay("n"), pytest.raises(StoreUnavailable, match="too many to walk over"):
            asker(cache)("b")
        assert {fault.where for fault in cache.verify().faults} == {"table recorded", "table cursor"}
        assert cache.verify(repair=True).ok
        with replay("n", then="draw"), lane("l"):
            assert asker(cache)("a") == "answer a"


# Files to load.


def export_lines(folder):
    with Cache(folder) as cache:
        cache.export(folder.parent / "e.jsonl")
    return (folder.parent / "e.jsonl").read_bytes().splitlines()


LOADING = """
import resource, sys
from memollm import Cache, OptionError
limit = 700 << 20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    Cache("memory:").load(sys.argv[1])
except OptionError as error:
    print(error)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of memory")
@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_line_that_fills_the_memory_is_refused(tmp_path, suffix):
    """Two thousand million bytes in one line of a small file are not read, and are no `MemoryError`."""
    file = tmp_path / f"bomb.jsonl{suffix}"
    megabyte = b'"' + b"0" * (1 << 20)
    if suffix == ".gz":
        with gzip.open(file, "wb", compresslevel=1) as packed:
            for _ in range(2000):
                packed.write(megabyte)
    else:
        with file.open("wb") as plain, zstandard.ZstdCompressor().stream_writer(plain) as packed:
            for _ in range(2000):
                packed.write(megabyte)
    ran = subprocess.run([sys.executable, "-c", LOADING, file], capture_output=True, text=True, timeout=100, check=True)
    assert "holds a line of more than" in ran.stdout


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        (b'"slot":0', b'"slot":4611686018427387903', "slot"),
        (b'"slot":0', b'"slot":1e400', "line"),
        (b'"slot":0', b'"slot":' + b"9" * 100_000, "line"),
        (b'"next":1', b'"next":4611686018427387903', "next"),
        (b'"stored":', b'"seconds":1e308,"stored":', "seconds"),
        (b'"content":{', b'"content":{"x":' + b"[" * 90_000 + b"]" * 90_000 + b",", "line"),
    ],
)
def test_absurd_numbers_and_depths_are_refused(tmp_path, folder, old, new, why):
    """A file with counts that nobody counts to is refused on its line, before anything of it is loaded."""
    text = b"\n".join(export_lines(folder))
    assert old in text
    (tmp_path / "changed.jsonl").write_bytes(text.replace(old, new, 1) + b"\n")
    with Cache("memory:") as cache:
        with pytest.raises(OptionError, match=why):
            cache.load(tmp_path / "changed.jsonl")
        assert not cache.namespaces()


def test_a_pipe_is_no_export(tmp_path):
    """Nobody waits for what may come through a pipe."""
    os.mkfifo(tmp_path / "pipe.jsonl")
    with Cache("memory:") as cache, pytest.raises(OptionError, match="is no file"):
        cache.load(tmp_path / "pipe.jsonl")


# What a project may say.


@pytest.mark.parametrize("place", ["/elsewhere", "../elsewhere", "~/elsewhere", "redis://host", "link/cache"])
def test_a_projects_settings_stay_inside_of_it(tmp_path, monkeypatch, place):
    """A cloned project's settings cannot have prompts written elsewhere or sent away."""
    folder = tmp_path / "cloned"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path)
    (folder / "pyproject.toml").write_text(f'[tool.memollm]\ncache = "{place}"\n')
    monkeypatch.chdir(folder)
    with pytest.raises(OptionError, match=r"outside of the project.*MEMOLLM_CACHE"):
        Configuration().get("cache")
    (folder / "pyproject.toml").write_text('[tool.memollm]\ncache = "inside/cache"\n')
    assert Configuration().get("cache") == str(folder / "inside" / "cache")


def test_a_project_does_not_say_that_all_is_paid_again(tmp_path, monkeypatch):
    """Mode refresh replaces what is stored, so that it is said by who runs the program."""
    (tmp_path / "pyproject.toml").write_text('[tool.memollm]\nmode = "refresh"\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="MEMOLLM_MODE=refresh"):
        Configuration().get("mode")


def test_a_projects_limits_are_for_its_own_cache(tmp_path, monkeypatch):
    """What a cloned project says of limits evicts nothing from a cache that the user has elsewhere."""
    (tmp_path / "cloned").mkdir()
    (tmp_path / "cloned" / "pyproject.toml").write_text("[tool.memollm]\nmax_samples = 1\n")
    monkeypatch.chdir(tmp_path / "cloned")
    monkeypatch.setattr(engines, "configuration", Configuration())
    for place, left in ((tmp_path / "mine", 3), (tmp_path / "cloned" / "cache", 1)):
        with Cache(place) as cache:
            ask = asker(cache)
            assert [ask(x) for x in "abc"]
        with Cache(place) as cache:
            assert sum(item.samples for item in cache.store.looking.inventory()) == left


def test_a_table_of_which_nothing_can_be_said_in_text_is_told_as_lost():
    """Where SQLite's own message is no text, a repair notes the table and goes on."""

    class Unreadable:
        def execute(self, *_):
            b"\xff".decode()

    lost = []
    assert list(salvage._numbered_rows(Unreadable(), salvage.Salvaged("call", ("key",)), lost)) == []
    assert len(lost) == 1
    assert lost[0].startswith("table call: what stood between row -1 and its end could not be read")


def test_every_column_of_the_counts_is_checked(folder):
    """What `verify` calls absurd is looked for in each column that holds counts, also in one that is added later."""
    with closing(sqlite3.connect(folder / "memollm.db")) as connection:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(tally)")]
    assert [name for name in columns if f"typeof({name})" not in statements()["absurd_tally"]] == []
