"""Moving and checking through the command line: real processes, real files, and what they say to wrong input."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing

import diskcache
import pytest
from sqlitedict import SqliteDict

DEADLINE = 60
STUDY = """
from memollm import cached_llm

@cached_llm(version="1")
def ask(prompt, *, model="m", temperature=1.0):
    raise RuntimeError("nothing is to be paid for")

@cached_llm(version="1")
def by_place(prompt, model="m", temperature=1.0):
    raise RuntimeError("nothing is to be paid for")

def by_key(key, value):
    return None if key == "leave out" else (ask, (key,), {})

def by_prompt(key, value):
    return ask, (key[0],), {"model": key[1]}

def with_value(key, value):
    return ask, (key,), {}, value[0]

def wrong(key, value):
    return key

def undecorated(key, value):
    return print, (key,), {}
"""


@pytest.fixture
def study(project):
    (project / "takeover.py").write_text(STUDY, encoding="utf-8")
    return project


def is_one_line(ran, *parts, code=2):
    assert (ran.code, ran.out) == (code, "")
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    for part in parts:
        assert part in ran.err
    return True


def answers(memollm):
    return {each["key"]: each["samples"] for each in json.loads(memollm("ls", "--json").out)}


# Export and load.


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "jsonl.zst"])
def test_export_and_load_go_round(memollm, stocked, project, suffix):
    """A cache that was loaded from a file is exported as the same file, and holds the same calls and namespaces."""
    exported = memollm("export", f"one.{suffix}")
    assert exported.code == 0, exported.err
    assert memollm("load", f"one.{suffix}", "--cache", "other").code == 0
    assert memollm("export", f"two.{suffix}", "--cache", "other").code == 0
    assert (project / f"two.{suffix}").read_bytes() == (project / f"one.{suffix}").read_bytes()
    here, there = (json.loads(memollm("namespaces", "--json", "--cache", at).out) for at in (".memollm", "other"))
    assert here == there
    assert memollm("load", f"one.{suffix}", "--cache", "other").out.startswith("0 samples added")


def test_parts_are_exported(memollm, stocked, stock):
    """A function, a namespace, the last run."""
    program = "import study; study.ask('What is 17 x 23?')"
    environment = {**os.environ, "PYTHONPATH": str(stock)}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=DEADLINE, check=True)
    parts = [("--function", "study.embed"), ("--namespace", "ablation"), ("--run", "last")]
    for which, samples in zip(parts, (2, 2, 1), strict=True):
        ran = memollm("export", "x.jsonl", *which, "--json")
        assert ran.code == 0, ran.err
        assert json.loads(ran.out)["samples"] == samples


def test_wrong_input_to_export_is_told(memollm, stocked, project):
    """One line each, and no file."""
    assert is_one_line(memollm("export", "x.txt"), ".jsonl")
    assert is_one_line(memollm("export", "nowhere/x.jsonl"), "Choose a folder that exists")
    assert is_one_line(memollm("export", "x.jsonl", "--function", "study.embedd"), "Did you mean 'study.embed'")
    assert is_one_line(memollm("export", "x.jsonl", "--namespace", "nobody"), "baseline")
    assert is_one_line(memollm("export", "x.jsonl", "--run", "nobody"), "knows no run")
    assert is_one_line(memollm("export", "x.jsonl", "--cache", "nowhere"), "there is no cache")
    assert not (project / "x.jsonl").exists()


def test_copying(memollm, stocked):
    """What is copied is there with its namespaces, once; a cache that is not there, and --cache, are told."""
    assert memollm("copy", ".memollm", "other").out.startswith("8 samples added, 0 there already")
    here, there = (json.loads(memollm("namespaces", "--json", "--cache", at).out) for at in (".memollm", "other"))
    assert here == there
    assert json.loads(memollm("copy", ".memollm", "other", "--json").out)["added"] == 0
    assert is_one_line(memollm("copy", "nowhere", "other"), "there is no cache", "FROM")
    assert is_one_line(memollm("copy", ".memollm", "other", "--cache", "x"), "without --cache")
    assert is_one_line(memollm("copy", ".memollm", "memory:"), "inside one program")


def test_wrong_input_to_load_is_told(memollm, stocked, project):
    """A missing, a foreign, a cut and a packed file that was cut."""
    memollm("export", "x.jsonl")
    whole = (project / "x.jsonl").read_bytes()
    (project / "foreign.jsonl").write_text("{}\n")
    (project / "cut.jsonl").write_bytes(whole[: len(whole) // 2])
    (project / "cut.jsonl.gz").write_bytes(gzip.compress(whole)[:-20])
    before = answers(memollm)
    assert is_one_line(memollm("load", "nowhere.jsonl"), "There is no file")
    assert is_one_line(memollm("load", "foreign.jsonl"), "is no export of memollm")
    assert is_one_line(memollm("load", "cut.jsonl"), "line ", "nothing of it was loaded")
    assert is_one_line(memollm("load", "cut.jsonl.gz"), "cut short or damaged")
    assert is_one_line(memollm("load", "."), "cannot be read")
    assert answers(memollm) == before


@pytest.mark.skipif(os.name != "posix" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_an_unreadable_file_is_told(memollm, project):
    """It says whose fault it is not."""
    (project / "x.jsonl").touch(mode=0)
    assert is_one_line(memollm("load", "x.jsonl"), "Make it readable")


LOADING = """
import sys
from memollm._upkeep.transfer import loading
loading.BATCH = 2
original = loading.Load.put

def put(self, batch):
    original(self, batch)
    print("loaded a batch", flush=True)
    sys.stdin.readline()

loading.Load.put = put
from memollm.__main__ import main
sys.argv = ["memollm", "load", "x.jsonl", "--cache", "other"]
main()
"""


def test_ctrl_c_in_a_load_loses_nothing(memollm, stocked, project):
    """Between two batches the cache is whole; loading again completes it."""
    memollm("export", "x.jsonl")
    process = subprocess.Popen(
        [sys.executable, "-c", LOADING], cwd=project, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        for _ in range(4):
            assert process.stdout.readline() == "loaded a batch\n"
            process.stdin.write("\n")
            process.stdin.flush()
        assert process.stdout.readline() == "loaded a batch\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
    finally:
        process.kill()
        process.stdin.close()
        process.stdout.close()
        process.wait(DEADLINE)
    assert memollm("verify", "--cache", "other").code == 0
    assert memollm("load", "x.jsonl", "--cache", "other").code == 0
    memollm("export", "y.jsonl", "--cache", "other")
    assert (project / "y.jsonl").read_bytes() == (project / "x.jsonl").read_bytes()


# Verify.


def test_verify_says_how_much_was_checked(memollm, stocked):
    """With signed and pickled records, namespaces and pools, nothing is wrong."""
    ran = memollm("verify")
    assert ran.code == 0, ran.out
    assert "checked 6 calls" in ran.out
    assert "no fault" in ran.out
    assert json.loads(memollm("verify", "--json").out)["ok"]


def test_verify_finds_and_repairs(memollm, stocked):
    """The exit code is 1 where something is wrong, and 0 when it was repaired; what was there is in a copy."""
    with closing(sqlite3.connect(stocked / "memollm.db")) as connection, connection:
        connection.execute("DELETE FROM call WHERE id = 1")
    found = memollm("verify")
    assert (found.code, "orphan" in found.out) == (1, True)
    repaired = memollm("verify", "--repair")
    assert repaired.code == 0, repaired.out
    assert "copied everything as it was to" in repaired.out
    assert len(list(stocked.glob("memollm.db.backup-*"))) == len(list(stocked.glob("memollm.db.aside-*"))) == 1
    assert memollm("verify").code == 0


def test_verify_salvages_a_file_that_was_cut(memollm, stocked):
    """A malformed file is one that the command can open, and its rest goes on being used."""
    database = stocked / "memollm.db"
    os.truncate(database, database.stat().st_size - 3 * 4096)
    assert memollm("verify").code == 1
    assert memollm("verify", "--repair").code == 0
    assert memollm("verify").code == 0
    assert memollm("ls").code == 0


def test_wrong_input_to_verify_is_told(memollm, project):
    """No cache, and a file of another program."""
    (project / "foreign.db").write_text("no database")
    assert is_one_line(memollm("verify", "--cache", "nowhere"), "there is no cache")
    assert is_one_line(memollm("verify", "--cache", "foreign.db"), "is not a memollm cache")


# Import.


@pytest.mark.parametrize("name", ["../secret.txt", "link.txt", "gone.txt"])
def test_a_value_outside_of_the_folder_is_not_read(memollm, study, project, name):
    """A folder from elsewhere brings in only its own files."""
    (project / "secret.txt").write_text("secret")
    with diskcache.Cache("plain", disk_min_file_size=0) as plain:
        plain.set("q", "a long value")
        plain._sql("UPDATE Cache SET filename = ?", (name,))
    (project / "plain" / "link.txt").symlink_to(project / "secret.txt")
    told = "is not there" if name == "gone.txt" else "outside of its folder"
    assert is_one_line(memollm("import-from", "diskcache", "plain", "--map", "takeover:by_key"), told)


@pytest.mark.parametrize("module", ["broken", "..", "."])
def test_a_module_that_cannot_be_imported_is_told(memollm, study, project, module):
    """Whatever the user's own module raises."""
    (project / "broken.py").write_text("1 / 0")
    ran = memollm("import-from", "diskcache", "plain", "--map", f"{module}:call")
    assert is_one_line(ran, f"'{module}:call'", "cannot be imported")


def test_diskcache_needs_trust_only_for_pickles(memollm, study):
    """Plain keys and values are read as they are; old pickles only if they are trusted."""
    with diskcache.Cache("plain") as plain, diskcache.Cache("pickled") as pickled:
        plain["p1"], plain["leave out"], plain["p2"] = "one", "two", "long " * 20_000
        pickled["p1"], pickled["p3"] = "one", {"answer": 3}
    ran = memollm("import-from", "diskcache", "plain", "--map", "takeover:by_key")
    assert ran.out == "2 samples added, 0 here already, of 3 entries (1 skipped, 0 refused).\n", ran.err
    refused = memollm("import-from", "diskcache", "pickled", "--map", "takeover:by_key")
    assert is_one_line(refused, "pickles, which can run code", "--trust")
    for told in ("2 samples added, 0 here already", "0 samples added, 2 here already"):
        ran = memollm("import-from", "diskcache", "pickled", "--map", "takeover:by_key", "--trust")
        assert ran.out.startswith(told), ran.err
    assert memollm("verify").code == 0


def test_untrusted_pickles_are_not_run(memollm, study):
    """A refusal loads nothing (P10)."""

    class Bomb:
        def __reduce__(self):
            return (open, (str(study / "exploded"), "w"))

    with diskcache.Cache("bomb") as bomb:
        bomb["p"] = Bomb()
    assert is_one_line(memollm("import-from", "diskcache", "bomb", "--map", "takeover:by_key"), "--trust")
    assert not (study / "exploded").exists()


def test_memoized_keys_go_by_position(memollm, study):
    """What `diskcache.memoize` wrote becomes calls of the decorated function; each entry is a sample of its own."""
    with diskcache.Cache("memoized") as old:

        def ask(prompt, *, model="m", temperature=1.0):
            return prompt.upper()

        for typed in (False, True):
            memoized = old.memoize(typed=typed)(ask)
            memoized("x", model="q", temperature=0.5)
            memoized("y")
    ran = memollm("import-from", "diskcache", "memoized", "--function", "takeover:ask", "--trust")
    assert ran.out.startswith("4 samples added"), ran.err
    assert list(answers(memollm).values()) == [2, 2]
    assert 'model="q", prompt="x", temperature=0.5' in memollm("ls").out


def test_a_memoized_key_of_a_renamed_function_is_refused(memollm, study):
    """A key under another name may be positional arguments as well, so it is counted as refused (P8)."""
    with diskcache.Cache("memoized") as old:

        def asked(prompt, model="m"):
            return prompt.upper()

        old.memoize()(asked)("x")
        old["plain", "positional"] = "taken over"
    ran = memollm("import-from", "diskcache", "memoized", "--function", "takeover:by_place", "--trust")
    assert "1 sample added" in ran.out, ran.err
    assert "1 refused" in ran.out
    assert "asked" in ran.err + ran.out


def test_cachesaver_lists_become_slots(memollm, study):
    """Equal samples in a list are samples of their own, and importing again adds none."""
    with diskcache.Cache("cachesaver") as old:
        old["hash"] = ["yes", "yes", "no"]
    for added in (3, 0):
        ran = memollm("import-from", "cachesaver", "cachesaver", "--map", "takeover:by_key", "--trust")
        assert ran.out.startswith(f"{added} samples added"), ran.err
    assert list(answers(memollm).values()) == [3]


def test_langchain_is_read_without_trust(memollm, study):
    """Its table holds JSON; several generations of a prompt are samples of one call."""
    with closing(sqlite3.connect("langchain.db")) as connection, connection:
        connection.execute(
            "CREATE TABLE full_llm_cache (prompt VARCHAR NOT NULL, llm VARCHAR NOT NULL, idx INTEGER NOT NULL, "
            "response VARCHAR, PRIMARY KEY (prompt, llm, idx))"
        )
        generation = {"lc": 1, "type": "constructor", "id": ["langchain", "schema", "output", "Generation"]}
        rows = [
            ("q1", "gpt", 0, json.dumps({**generation, "kwargs": {"text": "one"}})),
            ("q1", "gpt", 1, json.dumps({**generation, "kwargs": {"text": "two"}})),
            ("q2", "gpt", 0, json.dumps({**generation, "kwargs": {"message": {"kwargs": {"content": "three"}}}})),
            ("q3", "gpt", 0, "old plain text"),
        ]
        connection.executemany("INSERT INTO full_llm_cache VALUES (?, ?, ?, ?)", rows)
    ran = memollm("import-from", "langchain", "langchain.db", "--map", "takeover:by_prompt")
    assert ran.out.startswith("4 samples added"), ran.err
    memollm("export", "x.jsonl")
    lines = [json.loads(line) for line in (study / "x.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["value"] for line in lines if "value" in line] == ["one", "two", "three", "old plain text"]


def test_lm_eval_values_are_pickles_with_hashed_keys(memollm, study):
    """The user's function knows the keys, and may say what the value is to be."""
    with SqliteDict("lm.db", autocommit=True) as old:
        old["hash"] = (-1.5, True)
    assert is_one_line(memollm("import-from", "lm-eval", "lm.db", "--function", "takeover:ask", "--trust"), "hashes")
    assert is_one_line(memollm("import-from", "lm-eval", "lm.db", "--map", "takeover:with_value"), "--trust")
    ran = memollm("import-from", "lm-eval", "lm.db", "--map", "takeover:with_value", "--trust")
    assert ran.out.startswith("1 sample added"), ran.err


def test_wrong_input_to_import_is_told(memollm, study):
    """Missing, foreign and unmappable things get one line each."""
    with diskcache.Cache("plain") as plain:
        plain["p1"] = "one"
    (study / "foreign.db").write_text("no database " * 100)
    with closing(sqlite3.connect("empty.db")) as connection, connection:
        connection.execute("CREATE TABLE other (x)")
    take = ("import-from", "diskcache")
    named = ("--map", "takeover:by_key")
    assert is_one_line(memollm("import-from", "nothing", "x", *named), "is not one of")
    assert is_one_line(memollm(*take, "nowhere", *named), "There is no diskcache cache")
    assert is_one_line(memollm(*take, "takeover.py", *named), "There is no diskcache cache")
    for kind in ("langchain", "lm-eval"):
        assert is_one_line(memollm("import-from", kind, "foreign.db", *named), "Look at the path")
        assert is_one_line(memollm("import-from", kind, "empty.db", *named), "Look at the path")
    assert is_one_line(memollm(*take, "plain"), "--map", "--function")
    assert is_one_line(memollm(*take, "plain", "--map", "takeover"), "MODULE:FUNCTION")
    assert is_one_line(memollm(*take, "plain", "--map", "takeover:nothing"), "cannot be found")
    assert is_one_line(memollm(*take, "plain", "--map", "takeover:wrong"), "must return (function, args, kwargs)")
    assert is_one_line(memollm(*take, "plain", "--map", "takeover:undecorated"), "is not decorated with cached_llm")
    assert is_one_line(memollm("import-from", "cachesaver", "plain", *named), "no CacheSaver folder")


def test_a_damaged_pickle_is_told(memollm, study):
    """It is no traceback."""
    with SqliteDict("lm.db", autocommit=True, encode=lambda _: pickle.dumps(1)[:-1] + b"x") as old:
        old["hash"] = 1
    ran = memollm("import-from", "lm-eval", "lm.db", "--map", "takeover:by_key", "--trust")
    assert is_one_line(ran, "a pickle that cannot be loaded")
