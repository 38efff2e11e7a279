"""When the store fails, the answer is returned and a warning says that it was not kept; later draws work again."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from models import Gates

from memollm import Cache, NotStoredWarning, StoreRefused
from memollm.stores.sqlite import files as sqlite_files, session as sqlite_session

FULL = """
    import os, resource, sys, threading, warnings
    from memollm import cached_llm

    warnings.simplefilter("always")
    warnings.showwarning = lambda message, kind, *_: print(kind.__name__)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    @cached_llm(pool=int(sys.argv[1]) or None, namespace="e")
    def ask(prompt):
        if prompt == "x" and not full.is_set():
            full.set()
            # From now on no file of this process may grow: its disk is full.
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        return os.getpid()

    full = threading.Event()
    print(ask("first"))
    print(ask("x"))
    print(ask("y"))
    sys.stdin.readline()
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    print(ask("x"))
    print(ask.peek("x"), ask.peek("y"))
"""
OTHER = """
    import os
    from memollm import cached_llm

    @cached_llm(pool=1, namespace="e")
    def ask(prompt):
        return os.getpid()

    print(ask("x"))
"""
UNPRIVILEGED = """
    import os, sys, warnings
    import memollm
    from memollm import Cache

    # The interpreter itself may lie where nobody else may look, so all that is imported on first use is used before.
    with Cache("warm") as warm:
        warm.cached_llm(lambda prompt: "warm", name="warm", version="1")("x")
    os.setgid(65534)
    os.setuid(65534)
    os.chdir("/")

    warnings.simplefilter("always")
    warnings.showwarning = lambda message, kind, *_: print(kind.__name__)
    cache = Cache(sys.argv[2])

    @cache.cached_llm(pool=int(sys.argv[3]) or None, namespace="e", name="ask", version="1")
    def ask(prompt):
        return "fresh"

    for _ in range(3):
        print(ask("x"))
"""

STOPPED = """try:
        ask.with_options(on_store_error="raise")("x")
    except memollm.StoreReadOnly as error:
        print(type(error).__name__)
    draw = ask.with_options(mode="readonly", on_store_error="raise")
    for _"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


def decorated(cache, model, **options):
    @cache.cached_llm(name="ask", version="1", **({"namespace": "e"} | options))
    def ask(prompt):
        return model()

    return ask


# The disk is full.


@pytest.mark.parametrize("pool", [0, 1])
def test_a_full_disk_costs_the_sample_and_not_the_answer(project, pool):
    """P7: answers come back although nothing can be written, with a warning; when there is room, draws go on."""
    project.write("full.py", FULL)
    program = project.start("full.py", pool)
    answer = str(program.pid)
    assert [program.line() for _ in range(3)] == [answer, "NotStoredWarning", answer]
    lines = [program.line()]
    while lines[-1] != answer:
        lines.append(program.line())
    assert set(lines[:-1]) <= {"NotStoredWarning"}
    program.say()
    assert program.finish() == [answer, f"[{answer}] []"]


def test_nobody_waits_for_a_claim_that_could_not_be_settled(project):
    """P5: while the disk of one process is full for it alone, another takes over the slot that it could not fill."""
    project.write(
        "full.py", FULL.replace("os.getpid()", '"answer"').replace('namespace="e"', 'name="ask", version="1"')
    )
    project.write("other.py", OTHER.replace('namespace="e"', 'name="ask", version="1"'))
    program = project.start("full.py", 1)
    assert program.line() == "answer"
    while program.line() != "answer":
        pass
    other = project.start("other.py", deadline=20)
    assert other.finish() == [str(other.pid)]
    program.say()


# The folder vanishes.


@pytest.mark.parametrize("how", ["removed", "renamed"])
@pytest.mark.parametrize("options", [{}, {"pool": 1}, {"n": 3}], ids=str)
def test_a_folder_that_vanishes_during_a_call_costs_the_sample_only(tmp_path, how, options):
    """P7: the answer comes back with a warning; the next draw makes the folder anew and keeps what it gets."""
    folder, answers = tmp_path / "cache", iter(range(100))

    def model():
        if vanishing:
            vanishing.pop()
            shutil.rmtree(folder) if how == "removed" else folder.rename(tmp_path / "elsewhere")
        return next(answers)

    vanishing = []
    with Cache(folder) as cache:
        ask = decorated(cache, model, **options)
        ask("x")
        vanishing.append(True)
        with pytest.warns(NotStoredWarning, match="removed or replaced"):
            lost = ask("y")
        again = ask("y")
        assert again != lost
        kept = again if isinstance(again, list) else [again]
        assert ask.peek("y") == kept


def test_what_was_drawn_from_a_folder_that_vanished_is_not_given_again(tmp_path):
    """P1: of two draws under way when the folder vanishes neither leaves its answer for the namespace to draw again."""
    model = Gates()
    with Cache(tmp_path / "cache") as cache, ThreadPoolExecutor(2) as pool:
        ask = decorated(cache, model.fly)
        asked = [pool.submit(ask, "x") for _ in range(2)]
        gates = [model.begun() for _ in asked]
        shutil.rmtree(tmp_path / "cache")
        with pytest.warns(NotStoredWarning):
            for number, gate in enumerate(gates):
                gate.put(number)
            drawn = [one.result(30) for one in asked]
        last = pool.submit(ask, "x")
        model.begun().put(2)
        assert sorted([*drawn, last.result(30)]) == [0, 1, 2]
        assert ask.peek("x") == [2]


@pytest.mark.parametrize("how", ["os.truncate(path, 0)", "os.truncate(path, 3)", "os.unlink(path)"])
def test_an_epoch_that_is_cut_short_costs_nothing(project, how):
    """P7: whoever cuts the file short by which processes learn of changes kills none of them, and all still learn."""
    project.write(
        "epoch.py",
        f"""
        import itertools
        import os
        from memollm import Cache

        made = itertools.count()
        one, other = Cache("cache"), Cache("cache")
        ask, same = [each.cached_llm(pool=1, name="ask", version=1)(lambda prompt: next(made)) for each in (one, other)]
        assert [ask("x"), same("x"), ask("x"), same("x")] == [0, 0, 0, 0]
        path = "cache/memollm.db.epoch"
        {how}
        assert [ask("x"), same("x")] == [0, 0]
        if os.path.exists(path):
            same.forget("x")
            assert [ask("x"), same("x")] == [1, 1]
        one.close(), other.close()
        """,
    )
    project.run("epoch.py")


@pytest.mark.parametrize("place", ["", "Cache(os.path.abspath('cache'))", "Cache('cache')"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_working_directory_that_is_gone_costs_no_answer(project, when, place):
    """P7: where nobody can tell which folder a program is in, its calls are answered."""
    project.write(
        "gone.py",
        f"""
        import os, warnings
        from memollm import Cache, NotStoredWarning, cached_llm

        warnings.simplefilter("ignore", NotStoredWarning)
        os.mkdir("here")
        os.chdir("here")
        place = {place or None}
        if "{when}" == "before":
            os.rmdir("../here")
        decorate = cached_llm if place is None else place.cached_llm
        ask = decorate(namespace="n", name="ask", version=1)(lambda prompt: prompt)
        late = decorate(pool=1, name="late", version=1)(lambda prompt: prompt)
        if "{when}" == "after":
            assert ask("x") == "x"
            __import__("shutil").rmtree("../here")
        assert (ask("x"), ask("y"), late("x"), late("x")) == ("x", "y", "x", "x")
        """,
    )
    project.run("gone.py", XDG_DATA_HOME=str(project.folder / "data"))


# It cannot be written or read.


@as_root
@pytest.mark.parametrize("pool", [0, 1])
@pytest.mark.parametrize("what", ["file", "folder", "closed"])
def test_a_cache_that_cannot_be_written_answers_with_one_warning(project, stack, what, pool):
    """P7: with a read-only file, a folder that cannot be written or one that cannot be entered, answers come back."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    home.chmod(0o755)
    with Cache(home / "cache") as cache:
        decorated(cache, lambda: "stored")("other")
    mode = {"file": 0o777, "folder": 0o555, "closed": 0o700}[what]
    for path in [home / "cache", *(home / "cache").rglob("*")]:
        path.chmod(mode if path.is_dir() else 0o666)
    if what != "closed":
        (home / "cache" / "memollm.db").chmod(0o444)
    project.write("unprivileged.py", UNPRIVILEGED)
    assert project.run("unprivileged.py", "", home / "cache", pool) == ["NotStoredWarning", "fresh", "fresh", "fresh"]


@as_root
@pytest.mark.parametrize("pool", [0, 1])
def test_a_cache_that_cannot_be_written_fails_where_that_is_asked_for(project, stack, pool):
    """Who would rather stop is stopped by the first draw, before anything is paid for; to read it, a mode says so."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    home.chmod(0o755)
    with Cache(home / "cache") as cache:
        decorated(cache, lambda: "stored")("x")
    (home / "cache").chmod(0o555)
    (home / "cache" / "memollm.db").chmod(0o444)
    project.write("unprivileged.py", UNPRIVILEGED.replace("print(ask", "print(draw").replace("for _", STOPPED))
    # The namespace has drawn what is stored already.
    expected = ["StoreReadOnly", *["stored" if pool else "fresh"] * 3]
    assert project.run("unprivileged.py", "", home / "cache", pool) == expected


# Files that are not ours.


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    """A file of another kind is refused with a clear error, and not a byte of it or beside it changes."""
    path = tmp_path / "notes.db"
    path.write_bytes(b"dear diary" * 1000)
    refused(path, "not a memollm cache")


def test_a_database_of_another_program_is_left_alone(tmp_path):
    """Another program's SQLite database, in either journal mode, is refused and stays as it is."""
    for mode in ("delete", "wal"):
        path = tmp_path / mode / "theirs.db"
        path.parent.mkdir()
        make_database(path, f"PRAGMA journal_mode = {mode}", "CREATE TABLE t (x)")
        refused(path, "another program")


def test_a_foreign_database_that_is_busy_is_left_alone(tmp_path, monkeypatch):
    """A foreign database that could not be read at first is recognized before anything is written into it."""
    path = tmp_path / "theirs.db"
    make_database(path, "CREATE TABLE t (x)")
    before = path.read_bytes()
    monkeypatch.setattr(sqlite_session, "refuse_foreign", lambda _: None)
    with pytest.raises(StoreRefused, match="another program"), Cache(path) as cache:
        decorated(cache, lambda: 1)("x")
    assert path.read_bytes() == before


def test_a_newer_schema_is_left_alone(tmp_path):
    """A cache of a newer memollm is refused with the advice to upgrade."""
    path = tmp_path / "memollm.db"
    make_database(path, f"PRAGMA application_id = {sqlite_files.APPLICATION_ID}", "PRAGMA user_version = 99")
    refused(path, "newer memollm")


def test_a_network_filesystem_is_refused(tmp_path, monkeypatch):
    """A folder on NFS is refused before anything is made there, unless the user insists."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"1 1 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / {tmp_path} rw - nfs4 server:/x rw\n")
    monkeypatch.setattr(sqlite_files, "MOUNTS", mounts)
    with Cache(tmp_path / "cache") as cache, pytest.raises(StoreRefused, match="network filesystem"):
        decorated(cache, lambda: 1)("x")
    assert not (tmp_path / "cache").exists()
    with Cache(tmp_path / "cache", allow_network=True) as cache:
        assert decorated(cache, lambda: 1)("x") == 1


def make_database(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def refused(path, reason):
    before, beside = path.read_bytes(), sorted(path.parent.iterdir())
    with Cache(path) as cache, pytest.raises(StoreRefused, match=reason):
        decorated(cache, lambda: 1)("x")
    assert path.read_bytes() == before
    assert sorted(path.parent.iterdir()) == beside
