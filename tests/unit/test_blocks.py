"""Threads and blocks: a new thread is outside of them, is told so once, and a function carries them there."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import asking, run

import memollm
from memollm import BudgetExceeded, OptionError, OutsideBlockWarning
from memollm._calls import blocks
from memollm.testing import FakeModel

DEADLINE = 60


@pytest.fixture(autouse=True)
def unwarned():
    """Nothing was told of any line yet."""
    blocks._warned.clear()
    yield
    assert not blocks.blocks


def in_thread(work, name="worker"):
    """Do something in a thread that has no context; return what it warned of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        thread = threading.Thread(target=work, name=name)
        thread.start()
        thread.join(DEADLINE)
    return [each for each in told if each.category is OutsideBlockWarning]


def test_a_thread_pool_is_told_and_cured(cache):
    """A pool under `with namespace(...), budget(...)` is told that it is outside; carried, it is inside and limited."""
    model = FakeModel()
    ask = asking(cache, model)
    with (
        memollm.namespace("a"),
        memollm.budget(calls=3) as budget,
        ThreadPoolExecutor(4, thread_name_prefix="pool") as pool,
        warnings.catch_warnings(record=True) as told,
    ):
        warnings.simplefilter("always")
        assert len(list(pool.map(ask, "uvwxyz"))) == 6
        assert budget.calls == 0
        found = [str(each.message) for each in told if each.category is OutsideBlockWarning]
        assert len(found) == 1
        for part in ("The thread 'pool_", "`with memollm.", "test_blocks.py, line ", "memollm.carry(f)"):
            assert part in found[0]
        done = [pool.submit(memollm.carry(ask), prompt) for prompt in "abcdef"]
        raised = [each.exception() for each in done]
    assert sum(isinstance(each, BudgetExceeded) for each in raised) == 3
    assert (budget.calls, model.calls) == (3, 9)
    assert [namespace.draws for namespace in cache.namespaces()] == [3]


@pytest.mark.parametrize("name", ["namespace", "run", "mode", "lane", "replay", "budget", "track"])
def test_every_block_is_named(cache, name):
    """Whichever block is open in the main thread, the warning says which, and where."""
    ask = asking(cache, FakeModel())
    opened = {"budget": lambda: memollm.budget(calls=9), "track": memollm.track, "run": memollm.run}
    opened |= {
        each: lambda each=each: getattr(memollm, each)("off") for each in ("namespace", "mode", "lane", "replay")
    }
    with opened[name]():
        (told,) = in_thread(lambda: [ask("x"), ask("y")])
        assert f"`with memollm.{name}(" in str(told.message)
        assert in_thread(lambda: ask("z")) == []
    assert in_thread(lambda: ask("z")) == []


def test_who_draws_nothing_is_not_told(cache):
    """A thread that looks up, asks for a key, counts or forgets draws as nobody, so it misses no block."""
    ask = asking(cache, FakeModel())
    ask("x")

    def look():
        assert ask.key("x")
        assert len(ask.peek("x")) == ask.stats().total.draws == 1
        ask.explain("x")
        assert ask.forget("x") == 1
        assert ask.forget_all() == 0

    with memollm.namespace("a"):
        assert in_thread(look) == []
        assert len(in_thread(lambda: ask("x"))) == 1


@pytest.mark.parametrize("what", ["batch", "one", "stream", "draw"])
def test_whatever_draws_is_told(cache, what):
    """Items, streams and draws of several begin with a look at the blocks, too."""

    def items(prompts):
        return prompts

    def stream(prompt):
        yield prompt

    batched = cache.cached_llm(items, batch="prompts", version="1")
    streamed = cache.cached_llm(stream, version="1")
    draws = {"batch": lambda: batched(["x"]), "one": lambda: batched.one("x"), "stream": lambda: list(streamed("x"))}
    draws["draw"] = lambda: asking(cache, FakeModel()).draw(2, "x")
    with memollm.namespace("a"):
        assert len(in_thread(draws[what])) == 1


def test_a_thread_with_blocks_of_its_own_or_with_a_context_is_not_told(cache):
    """Who says as whom it draws is inside, and what follows a task into a thread is."""
    ask = asking(cache, FakeModel())

    def own():
        with memollm.namespace("own"):
            ask("x")

    async def follows():
        await asyncio.to_thread(ask, "x")
        with memollm.namespace("b"):
            await asyncio.to_thread(ask, "x")

    with memollm.namespace("a"), warnings.catch_warnings():
        warnings.simplefilter("error")
        run(follows())
        ask.map(["x", "y"])
        assert in_thread(own) == []

    async def beside():
        # A task that is outside of a block, beside one that is inside.
        inside, done = asyncio.Event(), asyncio.Event()

        async def other():
            with memollm.namespace("c"):
                inside.set()
                await done.wait()

        task = asyncio.create_task(other())
        await inside.wait()
        await asyncio.to_thread(ask, "x")
        done.set()
        await task

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(beside())


def test_a_thread_that_waits_for_its_own_threads_is_seen_too(cache):
    """A block in a thread that is not the main one counts for threads that it starts and waits for."""
    ask = asking(cache, FakeModel())

    def outer():
        with memollm.namespace("a"), ThreadPoolExecutor(1, thread_name_prefix="inner") as pool:
            list(pool.map(ask, "xy"))

    (told,) = in_thread(outer)
    assert "The thread 'inner" in str(told.message)


def test_a_thread_that_works_beside_a_block_is_not_told(cache):
    """What another thread than the main one has opened, and does not wait in, is nobody else's."""
    ask, inside, done = asking(cache, FakeModel()), threading.Event(), threading.Semaphore(0)

    def other():
        with memollm.namespace("a"):
            inside.set()
            # It waits in a module of its user's, here.
            while not done.acquire(blocking=False):
                pass

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(DEADLINE)
    try:
        assert in_thread(lambda: ask("x")) == []
    finally:
        done.release()
        thread.join(DEADLINE)


def test_a_carried_function_is_what_it_was(cache):
    """It keeps its name and signature, takes what was open where it was carried from, and many threads may be in it."""
    ask = asking(cache, FakeModel(), name="ask")
    with memollm.namespace("a"), memollm.lane("one"):
        carried = memollm.carry(ask)
    assert inspect.signature(carried) == inspect.signature(ask)
    with memollm.namespace("b"), ThreadPoolExecutor(8) as pool:
        list(pool.map(carried, "x" * 50))
    assert [(each.name, each.draws) for each in cache.namespaces()] == [("a", 50)]


def test_a_block_that_says_what_holds_everywhere_is_not_told(cache, monkeypatch):
    """Nobody is outside of a run or a mode that the environment or the configuration says, too."""
    ask = asking(cache, FakeModel(), namespace=None)
    monkeypatch.setenv("MEMOLLM_RUN", "one")
    memollm.configure(mode="readonly")
    with memollm.run("one"), memollm.mode("readonly"):
        assert in_thread(lambda: ask("x")) == []
        with memollm.mode("auto"):
            assert len(in_thread(lambda: ask("x"))) == 1


def test_what_cannot_carry_is_refused():
    """A coroutine or generator function does nothing where it is called, and a number is no function."""

    async def later():
        pass

    def stream():
        yield

    for given, match in ((later, "a coroutine function"), (stream, "a generator function"), (3, r"carry\(3\)")):
        with pytest.raises(OptionError, match=match):
            memollm.carry(given)


def test_into_another_process_it_takes_what_is_data():
    """The namespace and the lane go along; a budget and a track hold within one process, and say so."""
    with memollm.namespace("a"), memollm.lane("one"):
        carried = pickle.loads(pickle.dumps(memollm.carry(where)))
    assert carried() == ("a", "one")
    with memollm.budget(calls=1), pytest.raises(TypeError, match="MEMOLLM_BUDGET"):
        pickle.dumps(memollm.carry(where))


def where():
    from memollm._draws.scope import scope

    return scope.get().role.namespace, scope.get().lane


def test_a_warning_that_is_an_error_is_raised_in_the_thread(tmp_path):
    """With `-W error` the draw outside of the block fails, in a program of its own."""
    program = tmp_path / "program.py"
    program.write_text(
        "from concurrent.futures import ThreadPoolExecutor\nimport memollm\n\n"
        "@memollm.cached_llm(cache='memory:')\ndef ask(prompt):\n    return prompt\n\n"
        "with memollm.namespace('a'), ThreadPoolExecutor() as pool:\n    print(list(pool.map(ask, ['x'])))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", str(program)],
        capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "OutsideBlockWarning" in done.stderr
    assert "program.py, line 8" in done.stderr
