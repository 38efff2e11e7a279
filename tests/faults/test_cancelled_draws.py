"""Draws are cancelled anywhere and in every way; no call is lost, doubled or left hanging."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
from collections import Counter
from contextlib import suppress

import pytest
from models import run, until

import memollm
from memollm import Gather

pytestmark = pytest.mark.filterwarnings("error")


class Model:
    """Answers with numbers; it knows how many of each prompt's calls have begun, returned and been stopped."""

    def __init__(self, seed=0):
        self.random = random.Random(seed)
        self.begun, self.answered = Counter(), Counter()
        self.numbers = itertools.count()

    async def answer(self, prompt):
        self.begun[prompt] += 1
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(self.random.choice([0, 0, 0.001]))
        self.answered[prompt] += 1
        return f"{prompt} {next(self.numbers)}"


def nothing_is_left(cache):
    """Tell whether no draw is under way and no slot is claimed."""
    cache._engine.desk.flush()
    return not cache.store.flights.under_way and not cache._engine.left.all()


def require_whole(cache, ask, model, prompts):
    """Check that what was called for is stored once, that no slot was passed over, and that nothing hangs."""
    until(lambda: nothing_is_left(cache))
    assert model.begun == model.answered
    for prompt in prompts:
        stored = ask.peek(prompt)
        assert len(stored) == len(set(stored)) == model.begun[prompt]


# Every await.


@pytest.mark.parametrize("n", [1, 3])
def test_a_draw_cancelled_at_any_moment_loses_no_call(cache, n):
    """P3, P13: wherever it is cancelled, what has begun is stored, and the next draw begins at the same position."""
    model = Model()

    @cache.cached_llm(namespace="a", name="ask", version=1, n=n)
    async def ask(prompt):
        return await model.answer(prompt)

    async def main():
        await ask("first")
        for passes in range(30):
            prompt = f"p{passes}"
            task = asyncio.create_task(ask(prompt))
            for _ in range(passes):
                await asyncio.sleep(0)
            was_done = task.done()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled() != was_done
            assert await memollm.settle(timeout=30) == 0
            with memollm.namespace("b"):
                whole = await ask(prompt)
            if not was_done:
                assert await ask(prompt) == whole
            assert model.begun[prompt] == n

    run(main())
    require_whole(cache, ask, model, [f"p{passes}" for passes in range(30)])


# Under load.


async def with_timeout(draw, patience):
    async with asyncio.timeout(patience):
        return await draw


async def with_wait_for(draw, patience):
    return await asyncio.wait_for(draw, patience)


async def with_group(draw, patience):
    async def late():
        await asyncio.sleep(patience)
        raise ConnectionError

    async with asyncio.TaskGroup() as group:
        task = group.create_task(draw)
        other = group.create_task(late())
        task.add_done_callback(lambda _: other.cancel())
    return task.result()


async def with_cancel(draw, patience):
    task = asyncio.ensure_future(draw)
    asyncio.get_running_loop().call_later(patience, task.cancel)
    return await task


WAYS = [with_timeout, with_wait_for, with_group, with_cancel]


@pytest.mark.parametrize("kind", ["single", "several", "count", "gathered", "pool"])
def test_a_storm_of_cancellations_loses_no_call(cache, kind):
    """P1, P5, P13: of many draws that are given up in every way, no sample is lost or given twice."""
    model, chance = Model(1), random.Random(2)
    options = {"namespace": "a", "name": "ask", "version": 1}
    if kind == "count":

        @cache.cached_llm(**options, count="n")
        async def ask(prompt, n=2):
            return [await model.answer(prompt) for _ in range(n)]

    elif kind == "gathered":

        @cache.cached_llm(**options, batch="prompts", gather=Gather(max_size=4, max_wait=0.001))
        async def ask(prompts):
            return [await model.answer(prompt) for prompt in prompts]

    else:
        more = {"single": {}, "several": {"n": 3, "concurrency": 2}, "pool": {"pool": 2}}[kind]

        @cache.cached_llm(**options, **more)
        async def ask(prompt):
            return await model.answer(prompt)

    draw = ask.one if kind == "gathered" else ask
    given = Counter()

    async def drawing(number):
        await asyncio.sleep(chance.random() / 100)
        name = chance.choice("ab")
        with memollm.namespace(name), suppress(TimeoutError, ExceptionGroup, asyncio.CancelledError):
            got = await chance.choice(WAYS)(draw(f"p{number % 5}"), chance.choice([0, 0.001, 0.003, 1]))
            given.update((name, sample) for sample in (got if isinstance(got, list) else [got]))

    async def main():
        await asyncio.gather(*map(drawing, range(150)))
        assert await memollm.settle(timeout=30) == 0

    run(main())
    prompts = [f"p{number}" for number in range(5)]
    until(lambda: nothing_is_left(cache))
    peeked = {prompt: ask.peek([prompt] if kind == "gathered" else prompt) for prompt in prompts}
    assert (
        model.begun == model.answered == Counter({prompt: len(stored) for prompt, stored in peeked.items() if stored})
    )
    assert kind == "pool" or not given or max(given.values()) == 1
    assert {sample for _, sample in given} <= {sample for stored in peeked.values() for sample in stored}


def test_loops_that_end_leave_nothing_hanging(cache):
    """P5, P13: what the end of a loop stops is vacant for the next loop, and nothing is claimed or counted twice."""
    model, chance = Model(3), random.Random(4)

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return await model.answer(prompt)

    async def main():
        tasks = [asyncio.create_task(ask(f"p{number % 4}")) for number in range(12)]
        await asyncio.sleep(chance.choice([0, 0.001, 0.002, 0.005]))
        for task in chance.sample(tasks, 6):
            task.cancel()

    for _ in range(20):
        asyncio.run(main())
        until(lambda: nothing_is_left(cache))

    async def all_of_it():
        return [await ask.draw(model.answered[prompt] + 1, prompt) for prompt in ("p0", "p1")]

    with memollm.namespace("b"):
        for drawn in run(all_of_it()):
            assert len(drawn) == len(set(drawn))
    assert {prompt: len(ask.peek(prompt)) for prompt in model.answered} == model.answered


# Processes.

JOINED = """
    import asyncio, sys
    from memollm import cached_llm

    @cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        print("called")
        await asyncio.to_thread(sys.stdin.readline)
        return sys.argv[1]

    async def main():
        task = asyncio.create_task(ask("x"))
        if sys.argv[1] == "first":
            await asyncio.to_thread(sys.stdin.readline)
            task.cancel()
            await asyncio.wait([task])
            print("left")
            import memollm
            assert await memollm.settle(timeout=60) == 0
        else:
            print("asks")
            print(await task)

    asyncio.run(main())
"""
INTERRUPTED = """
    import asyncio, sys
    from memollm import cached_llm

    @cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        if sys.argv[1] == "again":
            return "answer"
        print("called")
        called.set()
        try:
            await asyncio.Event().wait()
        finally:
            print("stopped")

    async def main():
        global called
        called = asyncio.Event()
        if sys.argv[1] == "left":
            task = asyncio.create_task(ask("x"))
            await called.wait()
            task.cancel()
            await asyncio.wait([task])
            print("left")
            await asyncio.Event().wait()
        return await ask("x")

    try:
        print(asyncio.run(main()))
    except KeyboardInterrupt:
        print("interrupted")
"""


def test_another_process_joins_a_call_that_was_left(project):
    """P5, P13: it gets the position and waits for the answer, which the first process stores."""
    project.write("joined.py", JOINED)
    first = project.start("joined.py", "first")
    assert first.line() == "called"
    first.say()
    assert first.line() == "left"
    second = project.start("joined.py", "second")
    assert second.line() == "asks"
    first.say()
    assert first.finish() == []
    assert second.finish() == ["first"]


@pytest.mark.parametrize("how", ["waiting", "left"])
def test_an_interrupt_stops_calls(project, how):
    """Ctrl-C ends the program at once, with what it had under way, and a rerun calls again."""
    project.write("interrupted.py", INTERRUPTED)
    program = project.start("interrupted.py", how)
    assert program.line() == "called"
    if how == "left":
        assert program.line() == "left"
    program.signal(signal.SIGINT)
    assert program.finish() == ["stopped", "interrupted"]
    assert project.run("interrupted.py", "again") == ["answer"]
