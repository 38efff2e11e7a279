"""Maps that are interrupted, that are long, and whose items fail."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import PATIENCE, run

from memollm import Cache, Namespace
from memollm.testing import FakeModel, ModelDown

DEADLINE = 60

MODEL = """
    import asyncio, os, sys, threading
    from memollm import cached_llm

    HALF, ALL = 100, 200
    PROMPTS = [f"p{i}" for i in range(ALL)]
    held = threading.Lock()
    go = threading.Event()

    def pay(prompt):
        log = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, (prompt + "\\n").encode())
        os.close(log)
        return "answer to " + prompt

    def is_first_held():
        return held.acquire(blocking=False)

    @cached_llm(namespace="e" if "namespace" in sys.argv else None)
    def ask(prompt):
        if "hold" in sys.argv and int(prompt[1:]) >= HALF:
            if is_first_held():
                print("half", flush=True)
                sys.stdin.readline()
                go.set()
            go.wait()
        return pay(prompt)

    @cached_llm(namespace="e" if "namespace" in sys.argv else None)
    async def ask_later(prompt):
        if "hold" in sys.argv and int(prompt[1:]) >= HALF:
            if is_first_held():
                print("half", flush=True)
            await asyncio.Event().wait()
        return pay(prompt)

    def main():
        if "plain" in sys.argv:
            return ask.map(PROMPTS)
        return asyncio.run(ask_later.map(PROMPTS))

    try:
        print(*main(), sep="\\n")
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.parametrize("reader", ["namespace", "run"])
@pytest.mark.parametrize("colour", ["plain", "coroutine"])
def test_an_interrupted_program_pays_for_no_item_twice(project, colour, reader):
    """P3, P7: Ctrl-C at half way, and a rerun that does the rest; also in a namespace, which is to read on."""
    project.write("mapping.py", MODEL)
    program = project.start("mapping.py", colour, reader, "hold")
    assert program.line() == "half"
    program.signal(signal.SIGINT)
    if colour == "plain":
        # What is under way ends, and is kept.
        program.say()
    assert program.finish() == ["interrupted"]
    paid = len(project.lines("calls"))
    assert 36 <= paid < 200
    assert project.run("mapping.py", colour, reader) == [f"answer to p{i}" for i in range(200)]
    assert sorted(project.lines("calls")) == sorted(f"p{i}" for i in range(200))


def test_a_killed_program_pays_again_for_nothing_that_it_had_stored(project):
    """P7: after kill -9 a fresh run replays what was stored before."""
    project.write("mapping.py", MODEL)
    program = project.start("mapping.py", "plain", "run", "hold")
    assert program.line() == "half"
    program.kill()
    paid = project.lines("calls")
    assert project.run("mapping.py", "plain", "run") == [f"answer to p{i}" for i in range(200)]
    again = project.lines("calls")[len(paid) :]
    # A call may have been made and not yet stored when it died: no more than were under way.
    assert len(set(paid) & set(again)) <= 16


# Many items.

FEW = 1_500
MANY = pytest.param(10_000, marks=pytest.mark.deep)
LAST = 500
"""Of them, those whose memory is traced, which is slow."""


class Item:
    """A prompt of ten thousand characters that counts how many of its kind there are."""

    live = most = 0

    def __init__(self, number):
        self.number = number
        self.text = f"{number}" * 10_000
        Item.live += 1
        Item.most = max(Item.most, Item.live)

    def __del__(self):
        Item.live -= 1

    def __memollm_key__(self):
        return self.number


@pytest.fixture(autouse=True)
def _count_from_zero():
    gc.collect()
    Item.live = Item.most = 0


def decorated(cache, colour, function):
    if colour == "plain":
        return cache.cached_llm(namespace="a", name="ask")(function)

    async def ask(prompt):
        await asyncio.sleep(0)
        return function(prompt)

    return cache.cached_llm(namespace="a", name="ask")(ask)


def in_turn(given):
    if not hasattr(given, "__aiter__"):
        yield from given
        return

    async def step():
        return await asyncio.wait_for(anext(given, None), DEADLINE)

    with asyncio.Runner() as runner:
        while (mapped := runner.run(step())) is not None:
            yield mapped
        runner.run(given.aclose())


@pytest.mark.parametrize("items", [FEW, MANY])
@pytest.mark.parametrize("colour", ["plain", "coroutine"])
def test_memory_stays_flat_over_many_items(tmp_path, colour, items):
    """As they come, only the items that are under way are held, whether their answers are made or stored."""
    with Cache(tmp_path / "cache") as cache:
        ask = decorated(cache, colour, lambda item: {"answer": item.text[:5000]})
        kept = 0
        given = in_turn(ask.map(map(Item, range(items)), as_completed=True, concurrency=16))
        try:
            for done, _ in enumerate(given, 1):
                if done == items - LAST:
                    tracemalloc.start()
            kept = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        assert done == items
        assert Item.most <= 24
        # What a process remembers of each call is a thousand bytes at first, and nothing more once it remembers
        # enough calls; an item was ten thousand and more, and an answer five thousand.
        assert kept < LAST * 4_000


@pytest.mark.parametrize("items", [1_000, MANY])
@pytest.mark.parametrize("on_error", ["raise", "return", "skip"])
@pytest.mark.parametrize("colour", ["plain", "coroutine"])
def test_one_item_in_a_hundred_fails(colour, on_error, items):
    """Each form says the same of all items, in order, and a second map pays for the failed ones only."""
    model = FakeModel(failing=range(100, 10_000_000, 100) if on_error != "raise" else {items // 2})
    with Cache("memory:") as cache:
        ask = decorated(cache, colour, model)
        prompts = [f"p{i}" for i in range(items)]

        def mapped():
            given = ask.map(prompts, on_error=on_error)
            return given if colour == "plain" else asyncio.run(asyncio.wait_for(given, DEADLINE))

        if on_error == "raise":
            with pytest.raises(ModelDown):
                mapped()
            assert items // 2 <= model.calls <= items // 2 + 100
            assert mapped() == [f"{prompt} #1" for prompt in prompts]
            assert model.calls == items + 1
            return
        results = mapped()
        good = [result for result in results if not isinstance(result, ModelDown)]
        assert len(results) == (items if on_error == "return" else items - items // 100)
        assert good == [f"{prompt} #1" for prompt in prompts if prompt in model.answered]
        assert len(good) == items - items // 100
        assert model.calls == items


@pytest.mark.parametrize("colour", ["plain", "coroutine"])
def test_a_million_items_are_read_as_far_as_needed(colour):
    """A reader that leaves after a hundred results has had at most its window read beyond them."""
    model = FakeModel()
    with Cache("memory:") as cache:
        ask = decorated(cache, colour, model)
        items = iter(range(1_000_000))
        given = in_turn(ask.map((f"p{i}" for i in items), as_completed=True, concurrency=8))
        for done, _ in enumerate(given, 1):
            if done == 100:
                break
        given.close()
        assert next(items) <= 108


def test_calls_that_outlive_their_map_are_stored_and_give_their_positions_back():
    """P3, P7: a loop that is left does not wait; what it left under way ends by itself."""
    gate = threading.Event()
    model = FakeModel()

    def answer(prompt):
        if prompt != "p0":
            assert gate.wait(DEADLINE)
        return model(prompt)

    with Cache("memory:") as cache:
        ask = decorated(cache, "plain", answer)
        before = set(threading.enumerate())
        for mapped in ask.map((f"p{i}" for i in range(100)), as_completed=True, concurrency=4):
            assert mapped == (0, "p0 #1")
            break
        left = [thread for thread in threading.enumerate() if thread not in before and "map" in thread.name]
        begun = len(left)
        gate.set()
        for thread in left:
            thread.join(DEADLINE)
            assert not thread.is_alive()
        assert 1 <= begun <= 4
        stored = [i for i in range(100) if ask.peek(f"p{i}")]
        assert stored == list(range(len(stored)))
        assert len(stored) <= 4
        assert cache.namespaces() == [Namespace("a", len(stored), 1)]
        assert ask.map(["p0", "p1"]) == ["p0 #2", "p1 #1"]


def test_a_map_in_the_default_executor_ends(cache):
    """P3, P12: maps that end badly give back what they have, also where the loop's threads all wait for them."""

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        await asyncio.sleep(0)
        if prompt == "bad":
            raise ConnectionError("no answer")
        return prompt

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(executor)

        def mapped():
            return asyncio.run_coroutine_threadsafe(ask.map(["x", "bad"]), loop).result(PATIENCE)

        with pytest.raises(ConnectionError):
            await loop.run_in_executor(None, mapped)
        assert await ask("x") == "x"

    with ThreadPoolExecutor(1) as executor:
        run(main())
    assert {each.name: each.draws for each in cache.namespaces()} == {"a": 1}
