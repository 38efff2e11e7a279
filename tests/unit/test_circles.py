"""Draws that would wait for each other for ever are told so, and whoever merely waits long is not."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from models import PATIENCE, AsyncGates, Gates, ours, run, until, until_in_loop, waiting

import memollm
from memollm import Gather, ReentrantCall
from memollm._draws import waits
from memollm._draws.effects import Calling
from memollm._drive import calls
from memollm._types.calls import Call, Place
from memollm.stores.flights import Signal


@pytest.fixture(autouse=True)
def nothing_is_left():
    """Whatever a test did, nobody is known to wait or to make anything afterwards."""
    yield
    gc.collect()
    assert not waits.calls
    assert not waits.driven
    assert not any(waits._blocked.values())


def in_threads(*asked):
    """Ask in a thread and a namespace each; return what they gave or raised."""

    def one(index, ask):
        with memollm.namespace(f"reader {index}"):
            try:
                return ask()
            except ReentrantCall as error:
                return error

    with ThreadPoolExecutor(len(asked)) as pool:
        return [
            each.result(PATIENCE)
            for each in [*itertools.starmap(pool.submit, [(one, *each) for each in enumerate(asked)])]
        ]


async def in_tasks(*asked):
    async def one(index, ask):
        with memollm.namespace(f"reader {index}"):
            return await ask()

    return await asyncio.gather(*itertools.starmap(one, enumerate(asked)), return_exceptions=True)


def given_up(results):
    """Return the one error, and what the others gave."""
    (error,) = [each for each in results if isinstance(each, ReentrantCall)]
    return str(error), {str(each) for each in results if each is not error}


def asking(cache, several):
    """Return a function whose calls ask for another call when so many have begun."""
    begun = threading.Barrier(several, timeout=PATIENCE)

    @cache.cached_llm(ignore="inner", name="ask", version=1)
    def ask(prompt, inner=None):
        if inner is not None:
            begun.wait()
            inner()
        return prompt

    return ask


def asking_async(cache, several, **options):
    begun = []

    @cache.cached_llm(ignore="inner", name="ask", version=1, **options)
    async def ask(prompt, inner=None):
        if inner is not None:
            begun.append(prompt)
            await until_in_loop(lambda: len(begun) >= several)
            await inner()
        return prompt

    return ask


@pytest.mark.parametrize("several", [2, 3, 5])
def test_threads_whose_calls_wait_in_a_circle_are_told_so(cache, several):
    """One draw is given up with an error that names all calls, and the others get their answers."""
    ask = asking(cache, several)
    prompts = [f"p{number}" for number in range(several)]
    error, answers = given_up(
        in_threads(
            *[
                lambda this=this, other=other: ask(this, lambda: ask(other))
                for this, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True)
            ]
        )
    )
    assert all(f'ask(prompt="{prompt}")' in error for prompt in prompts)
    assert len(answers) == several - 1


@pytest.mark.parametrize("several", [2, 3, 5])
def test_tasks_whose_calls_wait_in_a_circle_are_told_so(cache, several):
    """The same in an event loop."""
    ask = asking_async(cache, several)
    prompts = [f"p{number}" for number in range(several)]

    async def main():
        return await in_tasks(
            *[
                lambda this=this, other=other: ask(this, lambda: ask(other))
                for this, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True)
            ]
        )

    error, answers = given_up(run(main()))
    assert all(f'ask(prompt="{prompt}")' in error for prompt in prompts)
    assert len(answers) == several - 1


@pytest.mark.parametrize("how", ["map", "map as they come", "draw", "thread"])
def test_a_circle_through_other_threads_is_noticed(cache, how):
    """Threads of a map, and threads started with a copy of the context, count as the call."""
    ask = asking(cache, 2)

    def inside(prompt):
        match how:
            case "map":
                ask.map([(prompt,)], concurrency=2)
            case "map as they come":
                list(ask.map([(prompt,)], concurrency=2, as_completed=True))
            case "draw":
                ask.draw(2, prompt)
            case "thread":
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(copy_context().run, ask, prompt).result(PATIENCE)

    results = in_threads(lambda: ask("a", lambda: inside("b")), lambda: ask("b", lambda: inside("a")))
    error, answers = given_up(results)
    assert 'ask(prompt="a") -> ask(prompt="b")' in error
    assert len(answers) == 1


@pytest.mark.parametrize("how", ["gather", "map", "group", "wait_for", "to_thread"])
def test_a_circle_through_other_tasks_is_noticed(cache, how):
    """Tasks that a call starts, and their threads, count as the call."""
    ask = asking_async(cache, 2)
    plain = cache.cached_llm(lambda prompt, inner=None: prompt, ignore="inner", name="ask", version=1)

    async def inside(prompt):
        match how:
            case "gather":
                await asyncio.gather(ask("else"), ask(prompt))
            case "map":
                await ask.map([(prompt,)])
            case "group":
                await asyncio.create_task(ask(prompt))
            case "wait_for":
                await asyncio.wait_for(ask(prompt), PATIENCE)
            case "to_thread":
                await asyncio.to_thread(plain, prompt)

    async def main():
        return await in_tasks(lambda: ask("a", lambda: inside("b")), lambda: ask("b", lambda: inside("a")))

    error, answers = given_up(run(main()))
    assert "ask(prompt=" in error
    assert len(answers) == 1


def test_a_circle_through_a_batch_is_noticed(cache):
    """Items that one call serves are all waited for where one of them is."""
    begun = threading.Barrier(2, timeout=PATIENCE)

    @cache.cached_llm(batch="prompts", ignore="inner", name="ask", version=1)
    def ask(prompts, inner=None):
        if inner is not None:
            begun.wait()
            inner()
        return prompts

    results = in_threads(
        lambda: ask(["a", "b"], lambda: ask(["c", "x"])), lambda: ask(["c", "d"], lambda: ask(["y", "b"]))
    )
    error, answers = given_up(results)
    assert "would wait for each other for ever" in error
    assert answers in ({"['a', 'b']"}, {"['c', 'd']"})


def test_a_circle_through_a_gathered_call_is_noticed(cache):
    """A call that serves the items of many tasks waits for what is asked inside it; who is told so may go on."""
    begun, told = [], []

    @cache.cached_llm(batch="prompts", name="ask", version=1, gather=Gather(max_size=2, max_wait=PATIENCE))
    async def ask(prompts):
        begun.append(prompts)
        await until_in_loop(lambda: len(begun) == 2)
        try:
            await ask.one({"b": "c", "d": "a"}[prompts[1]])
        except ReentrantCall as error:
            told.append(error)
        return prompts

    async def main():
        tasks = []
        for name, prompts in ("m", "ab"), ("n", "cd"):
            with memollm.namespace(name):
                tasks += [asyncio.create_task(ask.one(prompt)) for prompt in prompts]
            await until_in_loop(lambda: prompts in "".join(map("".join, begun)))  # noqa: B023 - awaited here
        return await asyncio.gather(*tasks)

    assert run(main()) == ["a", "b", "c", "d"]
    assert len(told) == 1


@pytest.mark.parametrize("several", [2, 3])
def test_readers_of_streams_that_wait_in_a_circle_are_told_so(cache, several):
    """Whoever asks for another stream between two chunks keeps its own from going on."""
    begun = threading.Barrier(several, timeout=PATIENCE)

    @cache.cached_llm(name="tell", version=1)
    def tell(prompt):
        yield prompt
        yield "more"

    def read(this, other):
        chunks = []
        for chunk in tell(this):
            if not chunks:
                begun.wait()
                list(tell(other))
            chunks.append(chunk)
        return chunks

    prompts = [f"p{number}" for number in range(several)]
    error, answers = given_up(
        in_threads(
            *[
                lambda this=this, other=other: read(this, other)
                for this, other in zip(prompts, [*prompts[1:], prompts[0]], strict=True)
            ]
        )
    )
    assert all(f'tell(prompt="{prompt}")' in error for prompt in prompts)
    assert len(answers) == several - 1


def test_readers_of_async_streams_that_wait_in_a_circle_are_told_so(cache):
    """The same in an event loop."""
    begun = []

    @cache.cached_llm(name="tell", version=1)
    async def tell(prompt):
        yield prompt
        yield "more"

    async def read(this, other):
        chunks = []
        async for chunk in tell(this):
            if not chunks:
                begun.append(this)
                await until_in_loop(lambda: len(begun) >= 2)
                [_ async for _ in tell(other)]
            chunks.append(chunk)
        return chunks

    async def main():
        results = await in_tasks(lambda: read("a", "b"), lambda: read("b", "a"))
        gc.collect()
        return results

    error, answers = given_up(run(main()))
    assert 'tell(prompt="a")' in error
    assert 'tell(prompt="b")' in error
    assert answers <= {"['a', 'more']", "['b', 'more']"}


def test_a_call_beside_those_of_a_circle_keeps_nobody_waiting(cache):
    """The circle is noticed while another call of the same draw is still under way."""
    gates, numbers = Gates(), itertools.count()
    quick = threading.Event()

    @cache.cached_llm(name="pair", version=1, concurrency=2)
    def pair(prompt):
        if next(numbers):
            assert quick.wait(PATIENCE)
            return "quick"
        gates.fly()
        with pytest.raises(ReentrantCall):
            lonely("x")
        return "told"

    @cache.cached_llm(name="lonely", version=1)
    def lonely(prompt):
        return pair("x")

    def ask(name, function, *args):
        with memollm.namespace(name):
            return function(*args)

    with ThreadPoolExecutor(2) as pool:
        both = pool.submit(ask, "a", pair.draw, 2, "x")
        begun = gates.begun()
        until(lambda: next(numbers) > 1)
        inner = pool.submit(ask, "b", lonely, "x")
        until(lambda: waiting(cache) == 1)
        begun.put(None)
        assert inner.result(PATIENCE) == "told"
        quick.set()
        assert sorted(both.result(PATIENCE)) == ["quick", "told"]


def test_what_has_happened_is_waited_for_by_nobody(cache):
    """Whoever has only still to notice that its slot is filled is in no circle."""
    place, happened = Place(Call(b"", "", "ask"), 0), Signal()
    happened.set()
    making = waits.Making(1, [place], lambda gap: gap, None)
    with Calling(making, 0.0), waits.Waiting([waits.Awaited(place, 1, happened)]).here(None) as entered:
        assert entered is None
    waits.ended(1)
    assert 1 not in waits.calls


def test_a_plain_draw_that_would_block_its_own_event_loop_is_told_so(cache):
    """A plain function in a loop's thread that waits for what a task of this loop makes would wait for ever."""
    gates = AsyncGates()
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1)

    async def fly(prompt):
        return await gates.fly()

    ask_async = cache.cached_llm(fly, name="ask", version=1)

    async def main():
        with memollm.namespace("a"):
            task = asyncio.create_task(ask_async("x"))
        gate = await gates.begun()
        with memollm.namespace("b"), pytest.raises(ReentrantCall):
            ask("x")
        gate.set_result("answer")
        return await task

    assert run(main()) == "answer"


def test_a_plain_draw_that_would_keep_an_answer_from_being_stored_is_told_so(cache, monkeypatch):
    """The same where the task's call has returned, and the loop has still to store what it gave."""
    ask = cache.cached_llm(lambda prompt: prompt, name="ask", version=1)
    land, returned, told = calls.land_async, asyncio.Event(), asyncio.Event()

    async def late(*args):
        returned.set()
        await told.wait()
        await land(*args)

    monkeypatch.setattr(calls, "land_async", late)

    async def answer(prompt):
        return prompt

    async def main():
        with memollm.namespace("a"):
            task = asyncio.create_task(cache.cached_llm(answer, name="ask", version=1)("x"))
        await returned.wait()
        with memollm.namespace("b"), pytest.raises(ReentrantCall):
            ask("x")
        told.set()
        return await task

    assert run(main()) == "x"


# Who merely waits long.


def test_whoever_waits_for_a_slow_call_is_not_accused(cache):
    """Draws inside calls that wait for a flight which waits for nobody get its answer."""
    gates = Gates()
    slow = cache.cached_llm(lambda prompt: gates.fly(), name="slow", version=1)

    @cache.cached_llm(name="outer", version=1)
    def outer(prompt):
        return prompt + slow("x")

    with ThreadPoolExecutor(4) as pool:

        def ask(name, function, *args):
            with memollm.namespace(name):
                return function(*args)

        flying = pool.submit(ask, "a", slow, "x")
        gate = gates.begun()
        others = [pool.submit(ask, name, outer, name) for name in "bcd"]
        until(lambda: waiting(cache) == 3)
        gate.put("answer")
        assert flying.result(PATIENCE) == "answer"
        assert [each.result(PATIENCE) for each in others] == ["banswer", "canswer", "danswer"]


def test_only_the_sample_that_is_stuck_is_waited_for_in_vain(cache):
    """Of two calls that fly side by side for one draw, one may wait for somebody who waits for the other."""
    gates, numbers = Gates(), itertools.count()
    quick = threading.Event()

    @cache.cached_llm(name="pair", version=1, concurrency=2)
    def pair(prompt):
        if next(numbers):
            assert quick.wait(PATIENCE)
            return "quick"
        gates.fly()
        return lonely("x")

    @cache.cached_llm(name="lonely", version=1)
    def lonely(prompt):
        return pair("x")

    def ask(name, function, *args):
        with memollm.namespace(name):
            return function(*args)

    with ThreadPoolExecutor(3) as pool:
        both = pool.submit(ask, "a", pair.draw, 2, "x")
        slow = gates.begun()
        until(lambda: next(numbers) > 1)
        first = pool.submit(ask, "b", pair, "x")
        until(lambda: waiting(cache) == 1)
        second = pool.submit(ask, "b", lonely, "x")
        until(lambda: waiting(cache) == 2)
        slow.put(None)
        until(lambda: waiting(cache) == 3)
        quick.set()
        assert [each.result(PATIENCE) for each in (both, first, second)] == [["quick"] * 2, "quick", "quick"]


def test_calls_in_one_order_wait_and_are_not_accused(cache):
    """Many threads whose calls all ask for the same inner call share it."""
    made = itertools.count()
    inner = cache.cached_llm(lambda prompt: next(made), name="inner", version=1, pool=1)
    outer = cache.cached_llm(lambda prompt: inner("x"), name="outer", version=1)

    def ask(number):
        with memollm.namespace(f"{number}"):
            return [outer(f"{each}") for each in range(5)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, range(40))) == [[0] * 5] * 40
    assert next(made) == 1


# Streams that nobody reads.


@pytest.fixture
def collected(monkeypatch):
    """Count the collections that waiting makes; there is no other, and streams are taken for dropped soon."""
    times = []

    def collect():
        times.append(None)
        return gc_collect()

    gc_collect = gc.collect
    monkeypatch.setattr(waits, "UNREAD", 0.01)
    monkeypatch.setattr(waits, "_collected", [])
    monkeypatch.setattr(waits.gc, "collect", collect)
    gc.disable()
    yield times
    gc.enable()


def telling(cache):
    @cache.cached_llm(name="tell", version=1, pool=1)
    def tell(prompt):
        yield prompt
        yield "more"

    return tell


def drop(stream):
    """Begin to read a stream and drop it in a circle of references."""
    circle = [stream]
    circle.append(circle)
    next(stream)


def test_a_stream_that_was_dropped_in_a_circle_of_references_blocks_nobody(cache, collected):
    """P3: a thread that waits for it has it collected."""
    tell = telling(cache)
    drop(tell("x"))
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(list, tell("x")).result(PATIENCE) == ["x", "more"]
    assert len(collected) == 1


def test_an_async_stream_that_was_dropped_in_a_circle_of_references_blocks_nobody(cache, collected):
    """P3: a task that waits for it has it collected, too."""

    @cache.cached_llm(name="tell", version=1, pool=1)
    async def tell(prompt):
        yield prompt
        yield "more"

    async def leave():
        stream = tell("x")
        circle = [stream]
        circle.append(circle)
        await anext(stream)

    async def main():
        await asyncio.create_task(leave())
        return [chunk async for chunk in tell("x")]

    assert run(main()) == ["x", "more"]
    assert len(collected) == 1


def test_who_dropped_a_stream_may_ask_for_it_again(cache, collected):
    """The thread that read it is not told that it would wait for itself."""
    tell = telling(cache)
    drop(tell("x"))
    assert list(tell("x")) == ["x", "more"]
    assert len(collected) == 1


def test_garbage_is_collected_once_a_minute_at_most(cache, collected, monkeypatch):
    """Waiting for streams that somebody has and does not read costs one collection, however many wait."""
    tell = telling(cache)
    streams = [tell(prompt) for prompt in "xyz"]
    for stream in streams:
        next(stream)
    looked, look = [], waits.Waiting.look
    monkeypatch.setattr(waits.Waiting, "look", lambda self: (looked.append(None), look(self))[1])
    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(list, tell(prompt)) for prompt in "xyz"]
        until(lambda: len(looked) > 30)
        assert len(collected) == 1
        assert [list(stream) for stream in streams] == [["more"]] * 3
        assert [each.result(PATIENCE) for each in readers] == [[prompt, "more"] for prompt in "xyz"]


def test_nothing_is_collected_for_whoever_waits_for_anything_else(cache, collected, monkeypatch):
    """A slow function, and a stream whose next chunk is being made, are waited for as they are."""
    gates, looked, look = Gates(), [], waits.Waiting.look
    monkeypatch.setattr(waits.Waiting, "look", lambda self: (looked.append(None), look(self))[1])

    @cache.cached_llm(name="tell", version=1, pool=1)
    def tell(prompt):
        yield gates.fly()

    ask = cache.cached_llm(lambda prompt: gates.fly(), name="ask", version=1, pool=1)
    for function, looks in (ask, 0), (lambda prompt: list(tell(prompt)), 3):
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(function, "x")
            gate = gates.begun()
            second = pool.submit(function, "x")
            until(lambda: waiting(cache) == 1 and len(looked) >= looks)  # noqa: B023 - called here
            gate.put("answer")
            assert first.result(PATIENCE) == second.result(PATIENCE)
    assert collected == []


# Another process.


def test_who_waits_long_inside_a_call_for_another_process_is_named(cache, caplog, monkeypatch):
    """After some seconds the log says which process waits for what, inside which call; nothing is raised."""
    monkeypatch.setattr(waits, "LONG", 0.01)
    place = type("Place", (), {"call": type("Call", (), {"form": '{"arguments":{"x":1}}', "function": "ask"})})
    signal = Signal()
    with Calling(waits.Making(1, [0], lambda _: place, None), 0.0):
        wait = waits.Waiting([waits.Awaited(place, None, signal)])
        with caplog.at_level(logging.WARNING), wait.here(None):
            while (pause := wait.pause()) is not None:
                signal.wait(pause)
                wait.look()
    waits.ended(1)
    (record,) = ours(caplog)
    assert "inside ask(x=1), for ask(x=1), which another process is making" in record.getMessage()
