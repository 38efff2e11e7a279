"""A call that has begun is finished, whoever stopped waiting for it: what is kept, who joins it, when it is stopped."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType

import pytest
from models import PATIENCE, AsyncGates, run, until_in_loop
from simulated import simulated

import memollm
from memollm import Cache, Gather, OptionError
from memollm._draws import engine
from memollm._types.calls import Call, Place
from memollm._types.samples import Busy
from memollm.testing import NOON, FakeClock


class Slow:
    """A model in simulated time: the n-th call takes so many seconds and answers its number, or hangs."""

    def __init__(self, *seconds):
        self.seconds = seconds
        self.calls = 0
        self.under_way = self.busiest = self.stopped = 0

    async def answer(self):
        number, self.calls = self.calls, self.calls + 1
        self.under_way += 1
        self.busiest = max(self.busiest, self.under_way)
        try:
            await asyncio.sleep(self.seconds[number] if number < len(self.seconds) else 1)
        except asyncio.CancelledError:
            self.stopped += 1
            raise
        finally:
            self.under_way -= 1
        return number


def asking(cache, model, **options):
    """Decorate a function that asks a slow model."""

    @cache.cached_llm(**{"namespace": "a", "name": "ask", "version": 1, **options})
    async def ask(prompt):
        return await model.answer()

    return ask


async def given_up(draw, seconds):
    """Draw with a time-out."""
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(draw, seconds)


# Who stops waiting.


def test_the_answer_of_a_draw_that_timed_out_is_kept(cache):
    """P13: it fills the slot that it was asked for, and the next draw gets it, which calls nothing."""
    model = Slow(10, 1)
    ask = asking(cache, model)

    async def main():
        await given_up(ask("x"), 2)
        assert ask.peek("x") == []
        await asyncio.sleep(20)
        assert ask.peek("x") == [0]
        return [await ask("x"), await ask("x")]

    assert simulated(cache, main())[0] == [0, 1]
    assert (model.calls, model.stopped) == (2, 0)
    assert cache.namespaces() == [memollm.Namespace("a", 1, 2)]


def test_a_retry_joins_the_call(cache):
    """P5, P13: the next draw takes the position, and waits for the call that is under way."""
    model = Slow(10)
    ask = asking(cache, model)

    async def main():
        await given_up(ask("x"), 2)
        await given_up(ask("x"), 3)
        return await ask("x")

    assert simulated(cache, main()) == (0, 10)
    assert model.calls == 1


def test_another_namespace_joins_the_call(cache):
    """P2, P13: whoever wants that slot gets that answer."""
    model = Slow(10, 1)
    ask = asking(cache, model)

    async def main():
        await given_up(ask("x"), 2)
        with memollm.namespace("b"):
            return await asyncio.gather(ask("x"), ask("x"))

    assert simulated(cache, main())[0] == [0, 1]
    assert model.calls == 2


def test_the_loser_of_a_race_keeps_its_slot(cache):
    """P13: of two draws at once the faster one is taken; the slow one is not lost, and is the next."""
    model = Slow(10, 1, 1)
    ask = asking(cache, model)

    async def main():
        both = [asyncio.create_task(ask("x")) for _ in range(2)]
        done, losers = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for loser in losers:
            loser.cancel()
        await asyncio.wait(losers)
        return [task.result() for task in done], await ask("x"), await ask("x")

    assert simulated(cache, main()) == (([1], 0, 2), 11)


def test_a_failing_sibling_leaves_the_others_alone(cache):
    """P13: a task group that cancels what is slower loses nothing of it."""
    model = Slow(10)
    ask = asking(cache, model)

    async def fails():
        await asyncio.sleep(1)
        raise ConnectionError

    async def both():
        async with asyncio.TaskGroup() as group:
            group.create_task(ask("x"))
            group.create_task(fails())

    async def main():
        with pytest.raises(ExceptionGroup):
            await both()
        return await ask("x")

    assert simulated(cache, main()) == (0, 10)


def test_of_a_draw_of_several_what_has_begun_is_finished(cache):
    """P4, P13: with a limit on calls the rest is never begun; what had arrived and what arrives later is kept."""
    model = Slow(1, 10, 10, 1)
    ask = asking(cache, model, concurrency=2, n=4)

    async def main():
        await given_up(ask("x"), 5)
        assert model.calls == 3
        await asyncio.sleep(20)
        assert ask.peek("x") == [0, 1, 2]
        return await ask("x")

    assert simulated(cache, main())[0] == [0, 1, 2, 3]
    assert model.calls == 4


def test_a_map_that_is_left_early_keeps_what_it_asked_for(cache):
    """P13: what had begun is finished, and a rerun pays for it no more."""
    model = Slow(10, 1, 10, 1)
    ask = asking(cache, model)

    async def main():
        given = ask.map(list("abcd"), as_completed=True)
        first = await anext(given)
        await given.aclose()
        again = await ask.map(list("abcd"))
        return first, again

    (first, again), seconds = simulated(cache, main())
    assert (first.at, first.result) == (1, 1)
    # The one that was delivered is drawn anew.
    assert again == [0, 4, 2, 3]
    assert (model.calls, seconds) == (5, 10)


@pytest.mark.parametrize("option", [{"count": "n"}, {"batch": "prompts"}])
def test_calls_that_make_several_are_finished(cache, option):
    """P13: what one call makes for several slots is kept, whoever left."""
    calls = []

    async def made(number):
        calls.append(number)
        await asyncio.sleep(10)
        return list(range(number))

    if "count" in option:

        @cache.cached_llm(namespace="a", **option)
        async def ask(prompt, n=3):
            return await made(n)

        args = ("x",)
    else:

        @cache.cached_llm(namespace="a", **option)
        async def ask(prompts):
            return await made(len(prompts))

        args = (["x", "y", "z"],)

    async def main():
        await given_up(ask(*args), 2)
        return await ask(*args)

    assert simulated(cache, main()) == ([0, 1, 2], 10)
    assert calls == [3]


def test_gathered_items_are_kept_whoever_left(cache):
    """P13: a call that serves many is finished and kept for all, also if all have gone."""
    calls = []

    @cache.cached_llm(namespace="a", batch="prompts", gather=Gather(max_size=4, max_wait=0.1))
    async def ask(prompts):
        calls.append(list(prompts))
        await asyncio.sleep(10)
        return [prompt.upper() for prompt in prompts]

    async def main():
        draws = [asyncio.create_task(ask.one(prompt)) for prompt in "abcd"]
        await asyncio.sleep(1)
        for draw in draws:
            draw.cancel()
        await asyncio.wait(draws)
        assert await memollm.settle() == 0
        return await asyncio.gather(*map(ask.one, "abcd"))

    assert simulated(cache, main())[0] == list("ABCD")
    assert calls == [list("abcd")]


# What is told.


def test_a_call_that_was_left_counts_where_it_was_begun(cache):
    """P13: the budget, the track and the statistics of its draw have it, as paid for and given to nobody."""
    model = Slow(10)
    ask = asking(cache, model)

    async def main():
        with memollm.budget(calls=1) as budget, memollm.track() as tracked:
            await given_up(ask("x"), 2)
            with pytest.raises(memollm.BudgetExceeded, match="1 more under way"):
                await ask("y")
        await memollm.settle()
        assert (budget.calls, tracked.paid, tracked.failed, tracked.draws) == (1, 1, 0, [])
        with memollm.track() as tracked:
            await ask("x")
        assert (tracked.paid, tracked.hits) == (0, 1)

    simulated(cache, main())
    (counted,) = cache.stats()
    assert (counted.draws, counted.paid) == (1, 1)


def test_a_call_that_was_left_and_fails_is_told_quietly(cache, caplog):
    """P13: nobody raises it; the log has it at DEBUG, and the next draw calls again."""
    calls = 0

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        nonlocal calls
        calls += 1
        await asyncio.sleep(10)
        if calls == 1:
            raise ConnectionError("no answer")
        return calls

    async def main():
        with memollm.track() as tracked:
            await given_up(ask("x"), 2)
            assert await ask("x") == 2
        return tracked.failed

    with caplog.at_level(logging.DEBUG, "memollm"):
        assert simulated(cache, main()) == (1, 20)
    assert [r.levelname for r in caplog.records if "no answer" in r.getMessage()] == ["DEBUG"]


def test_a_refused_answer_that_nobody_waits_for_leaves_the_slot_vacant(cache):
    """What `accept` refuses is not kept, as ever, and who waits for the slot calls at once."""
    model = Slow(10, 1)
    ask = asking(cache, model, accept=lambda answer: answer > 0)

    async def main():
        await given_up(ask("x"), 2)
        return await ask("x")

    assert simulated(cache, main()) == (1, 11)


def test_an_accept_that_raises_for_a_call_that_was_left_loses_no_answer(cache):
    """What it cannot judge is kept, as ever, and the next draw gets it."""
    model = Slow(10, 1)
    ask = asking(cache, model, accept=lambda answer: 1 // answer)

    async def main():
        await given_up(ask("x"), 2)
        return await ask("x")

    assert simulated(cache, main()) == (0, 10)


# How long.


def test_a_call_that_hangs_is_stopped_after_its_grace(cache, caplog):
    """P13: grace counts from when the first asker left, and a draw that has joined calls at once."""
    model = Slow(10_000, 1)
    ask = asking(cache, model, grace="60s")

    async def main():
        await given_up(ask("x"), 10)
        await given_up(ask("x"), 30)
        return await ask("x")

    with caplog.at_level(logging.DEBUG, "memollm"):
        assert simulated(cache, main()) == (1, 71)
    assert (model.calls, model.stopped, model.busiest) == (2, 1, 1)
    assert any("stopped" in record.getMessage() for record in caplog.records)


def test_the_grace_is_two_minutes_where_nobody_says(cache):
    """A hung connection holds its slot for no longer."""
    model = Slow(10_000)
    ask = asking(cache, model)

    async def main():
        await given_up(ask("x"), 10)
        assert await memollm.settle(timeout=119) == 1
        assert await memollm.settle() == 0

    assert simulated(cache, main())[1] == 130


def test_on_cancel_stop_stops_at_once(cache):
    """Who asks for it has the call cancelled, and its slot is vacant."""
    model = Slow(10, 1)
    ask = asking(cache, model, on_cancel="stop")

    async def main():
        await given_up(ask("x"), 2)
        assert (model.stopped, ask.peek("x")) == (1, [])
        return await ask("x")

    assert simulated(cache, main()) == (1, 3)


def test_the_bare_function_stops_with_its_caller(cache):
    """With `mode="off"` there is nothing that an answer could be kept in."""
    model = Slow(10)
    ask = asking(cache, model, mode="off")

    async def main():
        await given_up(ask("x"), 2)

    simulated(cache, main())
    assert model.stopped == 1


def test_the_end_of_the_loop_stops_what_is_under_way(cache, caplog):
    """What was left when its loop ends is stopped and told at DEBUG; the slot is vacant for the next loop."""
    model = Slow(1000, 0)
    ask = asking(cache, model)

    async def first():
        task = asyncio.create_task(ask("x"))
        await until_in_loop(lambda: model.calls)
        task.cancel()
        await asyncio.wait([task])

    with caplog.at_level(logging.DEBUG, "memollm"):
        asyncio.run(first())
    assert model.stopped == 1
    assert any("stopped" in record.getMessage() for record in caplog.records)
    assert run(ask("x")) == 1


def test_settling_waits_for_what_was_left(cache):
    """P13: who awaits it before the end of the loop loses nothing; it tells how much is under way still."""
    model = Slow(10, 20)
    ask = asking(cache, model)

    async def main():
        await given_up(ask.draw(2, "x"), 2)
        assert await memollm.settle(timeout=1) == 2
        assert await memollm.settle(timeout=10) == 1
        assert await memollm.settle() == 0
        return ask.peek("x")

    assert simulated(cache, main()) == ([0, 1], 20)


def test_settling_waits_for_what_was_cancelled_just_before(cache):
    """P13: who cancels draws and settles in one pass of the loop, awaiting none of them, keeps their answers, too."""

    @cache.cached_llm(name="ask", version=1, namespace="a")
    async def ask(prompt):
        await asyncio.sleep(5)
        return prompt

    async def main():
        draws = [asyncio.ensure_future(ask(prompt)) for prompt in "xy"]
        await asyncio.sleep(1)
        for draw in draws:
            draw.cancel()
        return await memollm.settle()

    assert simulated(cache, main())[0] == 0
    assert [ask.peek(prompt) for prompt in "xy"] == [["x"], ["y"]]


def test_settling_inside_a_call_does_not_wait_for_that_call(cache):
    """A function that settles is under way itself."""

    @cache.cached_llm(namespace="a")
    async def ask(prompt):
        await asyncio.sleep(5)
        return await memollm.settle()

    async def main():
        await given_up(ask("x"), 2)
        return await ask("x")

    assert simulated(cache, main()) == (0, 5)


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_cache_may_be_closed_when_all_is_kept(tmp_path, kind):
    """The end of `async with` waits for what was left, also where a time-out is what ends it."""
    place = "memory:" if kind == "memory" else tmp_path / "cache"
    model, kept = Slow(0.05), []

    async def block(cache):
        async with cache:
            ask = asking(cache, model, accept=lambda answer: not kept.append(answer))
            task = asyncio.create_task(ask("x"))
            await until_in_loop(lambda: model.calls)
            await asyncio.wait_for(task, 0.01)

    async def main():
        cache = Cache(place)
        with pytest.raises(TimeoutError):
            await block(cache)
        return cache

    cache = run(main())
    assert (kept, model.stopped) == ([0], 0)
    assert cache._engine.closed


def test_who_is_cancelled_does_not_wait_for_a_cache_to_close(tmp_path):
    """The end of `async with` stops what was left, where the block itself was cancelled."""
    gates = AsyncGates()

    async def main():
        async def block():
            async with Cache(tmp_path / "cache") as cache:

                @cache.cached_llm(namespace="a")
                async def ask(prompt):
                    return await gates.fly()

                await ask("x")

        task = asyncio.create_task(block())
        gate = await gates.begun()
        task.cancel()
        await asyncio.wait([task])
        await until_in_loop(gate.cancelled)
        return task.cancelled()

    assert run(main())


# As in a task of the caller's own.


def test_a_call_sees_the_caller_s_context_and_keeps_its_own(cache):
    """Context variables are copied for it; what it sets there is its own."""
    variable = contextvars.ContextVar("variable", default="nothing")

    @cache.cached_llm(namespace="a")
    async def ask(prompt):
        seen = variable.get()
        variable.set("changed")
        return seen

    async def main():
        variable.set("set")
        return await ask("x"), variable.get()

    assert run(main()) == ("set", "set")


def test_a_time_out_inside_the_function_is_the_function_s(cache):
    """It ends what it is around, and the draw goes on."""

    @cache.cached_llm(namespace="a")
    async def ask(prompt):
        try:
            async with asyncio.timeout(1):
                await asyncio.sleep(10)
        except TimeoutError:
            return "too slow"

    assert simulated(cache, ask("x")) == ("too slow", 1)


def test_what_a_call_raises_reaches_its_draw(cache):
    """An error, and a cancellation of its own, are the draw's; the position goes back."""
    answers = iter([ConnectionError("no answer"), asyncio.CancelledError(), "answer"])

    @cache.cached_llm(namespace="a")
    async def ask(prompt):
        answer = next(answers)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    async def main():
        with pytest.raises(ConnectionError, match="no answer"):
            await ask("x")
        with pytest.raises(asyncio.CancelledError):
            await ask("x")
        return await ask("x")

    assert run(main()) == "answer"
    assert ask.peek("x") == ["answer"]


# Loops that stand still.


def test_a_call_whose_loop_stands_still_holds_nobody_up(cache):
    """P5: who wants its slot in another loop does not wait for a loop that does not run."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask(prompt):
        return await gates.fly()

    async def left():
        task = asyncio.create_task(ask("x"))
        gate = await gates.begun()
        task.cancel()
        await asyncio.wait([task])
        return gate

    async def answered():
        task = asyncio.create_task(ask("x"))
        (await gates.begun()).set_result("second")
        return await task

    loop = asyncio.new_event_loop()
    gate = loop.run_until_complete(left())
    assert run(answered()) == "second"
    # Had it gone on, its answer would have come second.
    gate.set_result("first")
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    del gate
    gc.collect()
    assert ask.peek("x") == ["second"]


def test_what_does_not_end_after_its_grace_is_given_up(cache, monkeypatch):
    """A function that does not let itself be cancelled holds its slot no longer than a moment after its grace."""
    monkeypatch.setattr("memollm._draws.left.SLACK", 0.0)
    gates, may_end = AsyncGates(), asyncio.Event()

    @cache.cached_llm(namespace="a", name="ask", version=1, grace=0.01)
    async def ask(prompt):
        gate = asyncio.ensure_future(gates.fly())
        while True:
            try:
                return await asyncio.shield(gate)
            except asyncio.CancelledError:
                await may_end.wait()

    async def main():
        first = asyncio.create_task(ask("x"))
        late = await gates.begun()
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.create_task(ask("x"))
        (await gates.begun()).set_result("second")
        assert await second == "second"
        late.set_result("first")
        may_end.set()
        await asyncio.sleep(0)
        return ask.peek("x")

    assert run(main()) == ["second"]


# Ages.


def test_ages_count_from_the_asking(cache):
    """P13: what took long is as old as what was fast and asked for at the same time."""
    clock = FakeClock()
    cache._engine.clock = clock

    @cache.cached_llm(namespace="a", name="ask", version=1, ttl=60)
    async def ask(prompt):
        clock.advance(50)
        return clock()

    async def main():
        first = await ask("x")
        clock.advance(11)
        with memollm.namespace("b"):
            return first, await ask("x")

    assert run(main()) == (NOON + 50, NOON + 111)


# Options.


@pytest.mark.parametrize("options", [{"on_cancel": "finish"}, {"grace": 1}])
def test_only_coroutine_functions_are_cancelled(cache, options):
    """A plain function has no cancellation, so options about it are a mistake."""
    with pytest.raises(OptionError, match="coroutine"):

        @cache.cached_llm(**options)
        def ask(prompt):
            return prompt


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"on_cancel": "finnish"}, "finish"),
        ({"grace": 0}, "length of time"),
        ({"grace": 10, "on_cancel": "stop"}, "Leave one out"),
    ],
)
def test_options_that_cannot_be(cache, options, reason):
    """A value that says nothing is an error that names the way out."""
    with pytest.raises(OptionError, match=reason):
        asking(cache, Slow(), **options)


# Notebooks.


@pytest.fixture
def cell(monkeypatch):
    """Run a coroutine as a notebook's kernel does: an interrupt cancels its task, and the loop goes on."""
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))

    async def run_cell(main):
        task, loop = asyncio.ensure_future(main), asyncio.get_running_loop()
        before = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(task.cancel))
        try:
            await asyncio.wait([task])
        finally:
            signal.signal(signal.SIGINT, before)
        return task

    return run_cell


def test_a_notebook_s_interrupt_stops_calls(cache, cell):
    """Ctrl-C in a cell cancels its calls and those that were left before; a time-out in the next cell does not."""
    model = Slow(10, 10, 10)
    ask = asking(cache, model)

    async def interrupted():
        await given_up(ask("left"), 2)
        waits = asyncio.create_task(ask("waits"))
        await until_in_loop(lambda: model.calls == 2)
        signal.raise_signal(signal.SIGINT)
        await waits

    async def main():
        assert (await cell(interrupted())).cancelled()
        await asyncio.sleep(1)
        assert (model.stopped, ask.peek("left"), ask.peek("waits")) == (2, [], [])
        await cell(given_up(ask("next"), 2))
        assert await memollm.settle() == 0
        return ask.peek("next")

    before = signal.getsignal(signal.SIGINT)
    assert simulated(cache, main())[0] == [2]
    assert signal.getsignal(signal.SIGINT) is before


def test_threads_that_begin_to_wait_at_one_moment_wait_for_one_signal(cache, monkeypatch):
    """P5: of a slot that another process fills, none of them waits for what nobody will tell."""
    both = threading.Barrier(2)

    class Slow(engine.Signal):
        __slots__ = ()

        def __init__(self):
            both.wait(PATIENCE)
            super().__init__()

    watched = []
    monkeypatch.setattr(engine, "Signal", Slow)
    monkeypatch.setattr(cache.store, "watch", lambda places, _: watched.append(places))
    place, busy = Place(Call(b"k" * 16, "{}", "ask"), 0), Busy(None)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: cache._engine.settling(place, busy), range(2))
    assert first is second
    assert watched == [(place,)]
