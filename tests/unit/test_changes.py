"""What happens when a function's code changes, and how its samples are explained and adopted (P8, P9)."""

from __future__ import annotations

import asyncio
import dataclasses
import importlib.util
import inspect
import itertools
import linecache
import os
import re
import sqlite3
import sys
import warnings

import pytest
from models import PATIENCE, run

import memollm
from memollm import Cache, CodeChanged, CodeChangedWarning, OptionError, StoreUnavailable
from memollm._calls.context import current_run
from memollm._keys import keyer
from memollm._types.calls import Want
from memollm._types.samples import MINE
from memollm.stores.looking import looking
from memollm.testing._bench import Hand


@dataclasses.dataclass
class Thing:
    size: int


moments = itertools.count(1)
PROGRAM = """
SYSTEM = "Be brief."

def shorten(text):
    return text.strip()

def ask(prompt, temperature=1.0):
    return SYSTEM + shorten(prompt)
"""


@pytest.fixture
def load(tmp_path):
    """Load a program's text as the module `program`, as a new run of the edited file would."""

    def load(text):
        path = tmp_path / "program.py"
        path.write_text(text)
        os.utime(path, (next(moments), next(moments)))
        spec = importlib.util.spec_from_file_location("program", path)
        module = importlib.util.module_from_spec(spec)
        sys.modules["program"] = module
        linecache.checkcache()
        spec.loader.exec_module(module)
        return module

    yield load
    sys.modules.pop("program", None)


@pytest.fixture
def reopen(tmp_path):
    """Open the same cache as another process would: with nothing remembered."""
    opened = []

    def reopen():
        opened.append(Cache(tmp_path / "cache"))
        return opened[-1]

    yield reopen
    for cache in opened:
        cache.close()


def asked(cache, module, **options):
    return cache.cached_llm(module.ask, namespace="a", **options)


def test_an_edit_that_changes_nothing_keeps_the_samples(load, reopen):
    """Comments, docstrings, hints and layout are no change of code."""
    first = asked(reopen(), load(PROGRAM)).key("x")
    edited = PROGRAM.replace("prompt, temp", "prompt: str, temp").replace("    return S", "    # ask\n\n    return   S")
    assert asked(reopen(), load(edited)).key("x") == first


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Be brief.", "Be very brief.", ["SYSTEM", "Be brief.", "Be very brief."]),
        (".strip()", ".lower()", ["shorten"]),
        ("temperature=1.0", "temperature=0.5", ["temperature"]),
        ("SYSTEM + shorten(prompt)", "shorten(prompt) + SYSTEM", ["shorten(prompt) + SYSTEM"]),
    ],
)
def test_a_changed_function_draws_new_samples_and_says_what_changed(load, reopen, old, new, told):
    """The warning names the constant with both values, the helper, or shows the body; it comes once."""
    asked(reopen(), load(PROGRAM))("x")
    changed = load(PROGRAM.replace(old, new))
    with pytest.warns(CodeChangedWarning, match="draws new samples") as caught:
        assert asked(reopen(), changed).peek("x") == []
    assert all(text in str(caught[0].message) for text in told)
    assert re.search(r"`memollm adopt program.ask --cache /\S+/cache` or memollm.Cache\('", str(caught[0].message))
    assert ".adopt('program.ask');" in str(caught[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asked(reopen(), changed)("x")


def test_on_change_warn_and_ignore_use_the_old_samples(load, reopen):
    """The user may say that an edit does not matter; it is told once, and not by every run."""
    old = asked(reopen(), load(PROGRAM))("x")
    changed = load(PROGRAM.replace("brief", "quick"))
    with pytest.warns(CodeChangedWarning, match="used all the same"):
        assert asked(reopen(), changed, on_change="warn").peek("x") == [old]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert asked(reopen(), changed, on_change="warn").peek("x") == [old]
        assert asked(reopen(), load(PROGRAM.replace("brief", "kind")), on_change="ignore").peek("x") == [old]


def test_a_cache_in_memory_is_adopted_in_the_program(load):
    """Where the command line cannot reach, the advice names the method alone."""
    with Cache("memory:") as cache:
        asked(cache, load(PROGRAM)).key("x")
        asked(cache, load(PROGRAM))("x")
        with pytest.warns(CodeChangedWarning) as caught:
            asked(cache, load(PROGRAM.replace("brief", "quick")))("x")
    assert "for the new code: memollm.Cache('memory:').adopt('program.ask');" in str(caught[0].message)


def test_on_change_error_forbids_a_change(load, reopen):
    """The error says what changed and how to go on; it comes at every call."""
    asked(reopen(), load(PROGRAM))("x")
    strict = asked(reopen(), load(PROGRAM.replace("brief", "quick")), on_change="error")
    for _ in range(2):
        with pytest.raises(CodeChanged, match=r"SYSTEM(.|\n)*Be quick(.|\n)*`memollm adopt program.ask --cache "):
            strict("x")


def test_with_a_version_code_is_not_looked_at(load, reopen):
    """The user owns the identity; another version is another function."""
    first = asked(reopen(), load(PROGRAM), version=1).key("x")
    assert asked(reopen(), load(PROGRAM.replace("brief", "quick")), version=1).key("x") == first
    assert asked(reopen(), load(PROGRAM), version=2).key("x") != first


def test_adopting_keeps_the_old_samples_for_the_new_code(load, reopen):
    """After `adopt` the edited function draws what was paid for; cursors move along (P1)."""
    ask = asked(reopen(), load(PROGRAM))
    old = ask.draw(2, "x")
    ask.with_options(namespace="b").draw(1, "x")
    changed = load(PROGRAM.replace("brief", "quick"))
    cache = reopen()
    with pytest.warns(CodeChangedWarning):
        new = asked(cache, changed)
        assert new.peek("x") == []
    assert cache.adopt("program.ask") == 2
    assert new.peek("x") == old
    assert {space.name: space.draws for space in cache.namespaces()} == {"a": 2, "b": 1}
    with pytest.raises(OptionError, match="nothing to adopt, as it has no version 'zz'"):
        cache.adopt("program.ask", version="zz")
    with pytest.raises(OptionError, match="nothing to adopt"):
        cache.adopt("program.ask")


def test_adopting_after_a_rename(load, reopen):
    """Samples of one name become those of another; an unknown name is told with the nearest known one."""
    old = asked(reopen(), load(PROGRAM)).draw(2, "x")
    cache = reopen()
    renamed = load(PROGRAM.replace("def ask(", "def ask_model("))
    new = cache.cached_llm(renamed.ask_model, namespace="b")
    assert new.peek("x") == []
    with pytest.raises(OptionError, match=r"no function 'program\.aks'. Did you mean 'program\.ask'"):
        cache.adopt("program.aks", to="program.ask_model")
    assert cache.adopt("program.ask", to="program.ask_model") == 2
    assert new.peek("x") == old
    assert new.draw(2, "x") == old


def test_signed_samples_are_adopted_too(cache):
    """P10: a record that names a class is signed for its call, and signed anew where it goes."""
    one = cache.cached_llm(lambda _: {1, 2}, name="ask", version=1, namespace="a")
    thing = cache.cached_llm(lambda _: Thing(3), name="thing", version=1, namespace="a")
    one("x"), thing("x")
    for name, ask in (("ask", one), ("thing", thing)):
        newer = ask.with_options(version=2)
        newer.key("x")
        assert cache.adopt(name) == 1
        assert newer.peek("x") == [ask.__wrapped__("x")]


def test_merging_keeps_every_sample_and_what_was_drawn(cache):
    """P1: where both sides have samples the adopted come after; each namespace goes on with what it has not drawn."""
    numbers = itertools.count()

    def ask(prompt):
        return next(numbers)

    one = cache.cached_llm(ask, name="ask", version=1, namespace="a")
    two = cache.cached_llm(ask, name="ask", version=2, namespace="a")
    assert one.draw(3, "x") == [0, 1, 2]
    assert one.with_options(namespace="b").draw(2, "x") == [0, 1]
    assert two.draw(1, "x") == [3]
    assert two.with_options(namespace="c").draw(2, "x") == [3, 4]
    assert cache.adopt("ask", version="version:1") == 3
    assert two.peek("x") == [3, 4, 0, 1, 2]
    # a had drawn 0, 1, 2 and 3; b 0 and 1; c 3 and 4. Each gets the rest, then new ones.
    assert two.draw(2, "x") == [4, 5]
    assert two.with_options(namespace="b").draw(4, "x") == [3, 4, 2, 5]
    assert two.with_options(namespace="c").draw(4, "x") == [0, 1, 2, 5]


def test_a_version_to_adopt_is_named_as_it_was_given(cache):
    """`version="1"` of `adopt` is the `version="1"` of `cached_llm`."""
    one = cache.cached_llm(lambda x: x, name="ask", version="1", namespace="a")
    two = cache.cached_llm(lambda x: x, name="ask", version="2", namespace="a")
    one.draw(2, "x"), two("y")
    assert cache.adopt("ask", version="1") == 2
    assert two.peek("x") == ["x", "x"]


def test_adopting_is_refused_while_samples_are_being_made(cache):
    """All or nothing: a call in flight stops the move, and nothing has changed."""
    one = cache.cached_llm(lambda x: x, name="ask", version=1, namespace="a")
    two = cache.cached_llm(lambda x: x, name="ask", version=2, namespace="a")
    one.draw(2, "x"), one.draw(1, "y"), two("x")
    store = cache.store
    (call,) = [stored.call for stored in looking(store).calls("ask") if '"y"' in stored.call.form]
    hand = Hand(store, Want(call, "namespace:a", 1, None))
    assert hand.states == [MINE]
    with pytest.raises(StoreUnavailable, match="Nothing was changed"):
        cache.adopt("ask", version="version:1")
    assert one.peek("x") == ["x", "x"]
    hand.abandon()
    assert cache.adopt("ask", version="version:1") == 3


def test_calls_with_one_hash_never_share(cache, monkeypatch):
    """P8: with every key forced to be equal, each call still has samples of its own, also across openings."""
    monkeypatch.setattr(keyer, "hash_of", lambda form: bytes(16))
    ask = cache.cached_llm(lambda prompt: prompt, namespace="a")
    once = cache.cached_llm(lambda prompt: prompt, pool=1)
    for prompt in ("x", "y", "z", "x", "y", "z"):
        assert ask(prompt) == once(prompt) == prompt
    assert ask.key("x") == ask.key("y")
    assert ask.peek("x") == ["x", "x"]
    assert ask.forget("x") == 2
    assert ask.peek("y") == ["y", "y"]


@pytest.mark.parametrize("no", [False, 0, "no"])
def test_arguments_need_not_lie_on_disk(tmp_path, no, capsys):
    """With `keep_arguments=False` no file holds the prompt; explaining and adopting say why they cannot."""
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(lambda prompt: "ok", name="ask", version=1, namespace="a", keep_arguments=no)
        assert ask("a secret prompt") == "ok"
        assert ask.peek("a secret prompt") == ["ok"]
        assert "1 stored calls cannot be compared" in str(ask.explain("another"))
        ask.with_options(version=2)("x")
        with pytest.raises(OptionError, match="keep_arguments=False"):
            cache.adopt("ask", version="version:1")
    files = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert files
    assert not any(b"secret" in path.read_bytes() for path in files)


def test_explaining_a_miss_shows_the_nearest_stored_call(cache, capsys):
    """The path and both values of each difference, the nearest call first."""
    ask = cache.cached_llm(lambda messages, temperature=1.0: "ok", name="ask", version=1, namespace="a")
    ask([{"role": "user", "content": "hi"}], 0.5)
    ask([{"role": "user", "content": "a quite different question"}, {"role": "user", "content": "more"}], 0.1)
    explanation = ask.explain([{"role": "user", "content": "ho"}], 0.5)
    assert not explanation.hit
    (difference,) = explanation.nearest[0].differences
    assert (difference.path, difference.here, difference.stored) == ("messages[0].content", '"ho"', '"hi"')
    printed = capsys.readouterr().out
    assert 'messages[0].content: "ho" here, "hi" stored' in printed
    assert "miss" in printed
    assert ask.explain([{"role": "user", "content": "hi"}], 0.5).hit


def test_the_catalog_is_readable_by_anyone(tmp_path):
    """Functions, namespaces and runs are documents in tables of the same file."""
    with Cache(tmp_path / "cache") as cache:
        ask = cache.cached_llm(lambda x: x, name="ask", version=1)
        ask.with_options(namespace="exp")(1)
        with memollm.run("run-7"):
            ask(1)
        assert set(looking(cache.store).notes("namespace")) == {"exp"}
        assert set(looking(cache.store).notes("run")) == {"run-7", current_run()}
        assert looking(cache.store).notes("function")["ask"]["latest"] == "version:1"
    connection = sqlite3.connect(tmp_path / "cache" / "memollm.db")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE name LIKE 'catalog_%'").fetchone()
    connection.close()
    assert tables == 3


ASYNC = """
async def ask(prompt):
    return prompt.strip()

async def tell(prompt):
    yield prompt.strip()
"""


async def awaited(ask, _tell):
    await ask("x")  # here


async def in_a_task(ask, _tell):
    await asyncio.gather(ask("x"))  # here


async def in_time(ask, _tell):
    await asyncio.wait_for(ask("x"), PATIENCE)  # here


async def mapped(ask, _tell):
    await ask.map(["x", "y"])  # here


async def streamed(_ask, tell):
    async for _ in tell("x"):  # here
        pass


@pytest.mark.parametrize("use", [awaited, in_a_task, in_time, mapped, streamed])
def test_a_warning_about_a_coroutine_function_points_at_the_line_that_asked(load, reopen, use):
    """Although it is another thread that looks at the code, and whoever asks may do so from a task or by a map."""
    for text in (ASYNC, ASYNC.replace("strip", "lower")):
        module, cache = load(text), reopen()
        ask, tell = (cache.cached_llm(function) for function in (module.ask, module.tell))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            run(use(ask, tell))
    lines, first = inspect.getsourcelines(use)
    here = next(first + number for number, line in enumerate(lines) if "# here" in line)
    assert [(each.filename, each.lineno) for each in caught] == [(__file__, here)]
