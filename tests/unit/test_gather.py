"""Gathering: single items of a batch function, asked for by many tasks, are served by few calls."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from models import run, until_in_loop

import memollm
from memollm import Gather, OptionError, ReentrantCall, WrongNumber

LONG = 3600.0
"""Seconds that no test waits: what it gathers is served because there are enough."""


class Batches:
    """A batch function's calls, each of which waits at a gate of its own."""

    def __init__(self):
        self.called = []
        self.gates = []

    async def __call__(self, prompts):
        gate = asyncio.get_running_loop().create_future()
        self.called.append(prompts)
        self.gates.append(gate)
        await gate
        return [f"{prompt}!" for prompt in prompts]

    async def begun(self, calls=1):
        """Wait until so many calls have begun."""
        await until_in_loop(lambda: len(self.called) >= calls)


def gathering(cache, function, **options):
    @cache.cached_llm(**{"batch": "prompts", "pool": 1, **options})
    async def generate(prompts, temperature=1.0):
        return await function(prompts)

    return generate


async def at_once(prompts):
    return [f"{prompt}!" for prompt in prompts]


def counting(called):
    async def function(prompts):
        called.append(prompts)
        await asyncio.sleep(0)
        return [f"{prompt}!" for prompt in prompts]

    return function


def test_a_thousand_tasks_over_300_prompts_make_few_calls(cache):
    """P4, P5: each distinct prompt is asked for once, in at most ten calls, and every task gets its own answer."""
    called = []
    generate = gathering(cache, counting(called))
    prompts = [f"p{number * 7 % 300}" for number in range(1000)]

    async def main():
        return await asyncio.gather(*(generate.one(prompt) for prompt in prompts))

    assert run(main()) == [f"{prompt}!" for prompt in prompts]
    assert len(called) <= 10
    assert sorted(prompt for each in called for prompt in each) == sorted(set(prompts))
    assert max(map(len, called)) == 64


def test_a_full_batch_does_not_wait(cache):
    """`max_size` items are served at once; the rest after `max_wait`."""
    called = []
    generate = gathering(cache, counting(called), gather=Gather(max_size=2, max_wait=LONG))

    async def main():
        return await asyncio.gather(*map(generate.one, "abcd"))

    assert run(main()) == ["a!", "b!", "c!", "d!"]
    assert called == [["a", "b"], ["c", "d"]]


def test_another_loop_breaks_no_batch_up(cache):
    """What waits to be joined in one loop is still joined after another thread's loop asked for something."""
    called = []
    generate = gathering(cache, counting(called), gather=Gather(max_size=2, max_wait=LONG))

    async def main():
        first = asyncio.create_task(generate.one("a"))
        await until_in_loop(lambda: any(generate._self_function.gatherer._of_loops.values()))
        await asyncio.to_thread(run, pair("yz"))
        return [await generate.one("b"), await first]

    async def pair(prompts):
        return await asyncio.gather(*map(generate.one, prompts))

    assert run(main()) == ["b!", "a!"]
    assert called == [["y", "z"], ["a", "b"]]


def test_a_single_item_is_served_after_a_while(cache):
    """An item that nobody joins is served alone after `max_wait`."""
    called = []
    generate = gathering(cache, counting(called), gather=Gather(max_wait=0))
    assert run(generate.one("a")) == "a!"
    assert called == [["a"]]


def test_hits_do_not_wait_behind_a_batch(cache):
    """What is stored comes at once, and other batches go on, while one is in flight."""
    batches = Batches()
    generate = gathering(cache, batches, gather=Gather(max_size=1))

    async def main():
        first = asyncio.create_task(generate.one("a"))
        await batches.begun()
        second = asyncio.create_task(generate.one("b"))
        await batches.begun(2)
        batches.gates[1].set_result(None)
        assert await second == "b!"
        assert await generate.one("b") == "b!"
        assert not first.done()
        batches.gates[0].set_result(None)
        return await first

    assert run(main()) == "a!"


def test_lists_and_single_items_share_their_samples(cache):
    """P2: an item is one call, in whichever form it is asked for."""
    called = []
    generate = gathering(cache, counting(called), gather=Gather(max_wait=0))

    async def main():
        return await generate(["a", "b"]), await generate.one("b"), await generate.one("c"), await generate(["c", "a"])

    assert run(main()) == (["a!", "b!"], "b!", "c!", ["c!", "a!"])
    assert called == [["a", "b"], ["c"]]


def test_items_in_a_namespace_are_distinct_draws(cache):
    """P1: the same item from three tasks takes three slots, in one call."""
    called = []
    generate = gathering(cache, counting(called), pool=None, namespace="a", gather=Gather(max_size=3, max_wait=LONG))

    async def main():
        return await asyncio.gather(*(generate.one("a") for _ in range(3)))

    assert run(main()) == ["a!"] * 3
    assert called == [["a"] * 3]
    assert len(generate.peek(["a"])) == 3


def test_several_samples_of_an_item_gather_too(cache):
    """With `n`, an item gathers as often as samples of it are missing."""
    called = []
    generate = gathering(cache, counting(called), pool=None, n=2, gather=Gather(max_size=4, max_wait=LONG))

    async def main():
        return await asyncio.gather(generate.one("a"), generate.one("b"))

    assert run(main()) == [["a!", "a!"], ["b!", "b!"]]
    assert called == [["a", "a", "b", "b"]]


def test_only_items_with_equal_other_arguments_gather(cache):
    """P8: a call of the function has one set of other arguments, so each set gathers by itself."""
    called = []

    @cache.cached_llm(batch="prompts", pool=1, ignore="client", gather=Gather(max_size=2, max_wait=LONG))
    async def generate(prompts, options, client=None):
        called.append((sorted(prompts), type(options["t"]), options, client))
        return [f"{prompt}{options}" for prompt in prompts]

    client = object()

    async def main():
        await asyncio.gather(
            *(generate.one(prompt, {"t": 1}) for prompt in "ab"),
            *(generate.one(prompt, options={"t": 1.0}) for prompt in "ab"),
            *(generate.one(prompt, {"t": 2}, client) for prompt in "ab"),
        )

    run(main())
    # Which set is full first is up to the threads that look for what is stored.
    assert len(called) == 3
    for each in [(int, {"t": 1}, None), (float, {"t": 1.0}, None), (int, {"t": 2}, client)]:
        assert (["a", "b"], *each) in called


def test_methods_gather_for_each_object(cache):
    """P8: items of two objects are served by calls of either."""

    class Model:
        def __init__(self, name):
            self.name = name

        def __memollm_key__(self):
            return self.name

        @cache.cached_llm(batch="prompts", pool=1, gather=Gather(max_size=2, max_wait=LONG))
        async def generate(self, prompts):
            return [f"{self.name} {prompt} of {len(prompts)}" for prompt in prompts]

    one, two = Model("one"), Model("two")

    async def main():
        return await asyncio.gather(*(model.generate.one(prompt) for prompt in "ab" for model in (one, two)))

    assert run(main()) == ["one a of 2", "two a of 2", "one b of 2", "two b of 2"]


def test_a_cancelled_waiter_disturbs_nobody(cache):
    """P3, P13: the call goes on for all; the position of the one that left is free again, and its answer kept."""
    batches = Batches()
    generate = gathering(cache, batches, pool=None, namespace="a", gather=Gather(max_size=3, max_wait=LONG))

    async def cancelled(task):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    async def main():
        early = asyncio.create_task(generate.one("early"))
        late, stays = asyncio.create_task(generate.one("late")), asyncio.create_task(generate.one("stays"))
        await batches.begun()
        await cancelled(late)
        batches.gates[0].set_result(None)
        return await asyncio.gather(early, stays)

    assert run(main()) == ["early!", "stays!"]
    assert batches.called == [["early", "late", "stays"]]
    assert [len(generate.peek([prompt])) for prompt in ("early", "late", "stays")] == [1, 1, 1]


def waiting_items(generate):
    """Count the items that wait for others to join them."""
    of_loops = generate._self_function.gatherer._of_loops
    return sum(len(group.items) for hall in list(of_loops.values()) for group in hall.groups.values())


def test_who_is_cancelled_before_the_call_is_not_asked_for(cache):
    """P4: an item that nobody wants any more is left out, and a batch of none is not called."""
    batches = Batches()
    generate = gathering(cache, batches, gather=Gather(max_size=2, max_wait=LONG))

    async def main():
        gone = asyncio.create_task(generate.one("gone"))
        await until_in_loop(lambda: waiting_items(generate) == 1)
        gone.cancel()
        await asyncio.wait([gone])
        stays = asyncio.create_task(generate.one("stays"))
        await batches.begun()
        batches.gates[0].set_result(None)
        return await stays

    assert run(main()) == "stays!"
    assert batches.called == [["stays"]]


def test_items_that_nobody_wants_any_more_make_no_call(cache, monkeypatch):
    """P4: when all who waited for others to join have gone, the function is not called, and the next item is served."""
    batches = Batches()
    generate = gathering(cache, batches, gather=Gather(max_size=3, max_wait=LONG))

    async def main():
        loop, due = asyncio.get_running_loop(), []
        call_later = loop.call_later

        def note(delay, callback, *args):
            if delay == LONG:
                due.append(lambda: callback(*args))
            return call_later(delay, callback, *args)

        monkeypatch.setattr(loop, "call_later", note)
        gone = [asyncio.create_task(generate.one(prompt)) for prompt in ("gone", "too")]
        await until_in_loop(lambda: waiting_items(generate) == 2)
        for task in gone:
            task.cancel()
        await asyncio.wait(gone)
        due.pop()()
        stays = asyncio.create_task(generate.one("stays"))
        await until_in_loop(lambda: waiting_items(generate) == 1)
        due.pop()()
        await until_in_loop(lambda: ["stays"] in batches.called)
        for gate in batches.gates:
            gate.set_result(None)
        return await stays

    assert run(main()) == "stays!"
    assert batches.called == [["stays"]]


def test_a_call_that_nobody_waits_for_is_cancelled(cache):
    """When all who wait have been cancelled and are to be stopped, so is the call, and the slots are free."""
    batches = Batches()
    generate = gathering(cache, batches, gather=Gather(max_size=2, max_wait=LONG), on_cancel="stop")

    async def main():
        tasks = [asyncio.create_task(generate.one(prompt)) for prompt in "ab"]
        await batches.begun()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await until_in_loop(batches.gates[0].cancelled)
        again = asyncio.gather(*map(generate.one, "ab"))
        await batches.begun(2)
        batches.gates[1].set_result(None)
        return await again

    assert run(main()) == ["a!", "b!"]


def test_an_error_reaches_the_caller_of_each_item(cache):
    """P3: all who wait for a failed call raise its error; nothing is stored, and the next call serves them."""
    fail = True

    async def function(prompts):
        if fail:
            raise ConnectionError("no answer")
        return await at_once(prompts)

    generate = gathering(cache, function, gather=Gather(max_size=3, max_wait=LONG))

    async def main():
        nonlocal fail
        failed = await asyncio.gather(*map(generate.one, "abc"), return_exceptions=True)
        fail = False
        return failed, await asyncio.gather(*map(generate.one, "abc"))

    failed, answers = run(main())
    assert [type(error) for error in failed] == [ConnectionError] * 3
    assert answers == ["a!", "b!", "c!"]


@pytest.mark.parametrize("size", [2, 3, 6])
def test_a_failed_request_counts_once_for_all_who_shared_it(cache, size):
    """P14: `failed` is how many requests raised, whoever waited for them, alone or together."""
    called = []

    async def fails(prompts):
        called.append(prompts)
        await asyncio.sleep(0)
        raise ConnectionError

    generate = gathering(cache, fails, gather=Gather(max_size=size, max_wait=LONG))

    async def main():
        with memollm.track() as tracked:
            await asyncio.gather(*map(generate.one, "abcdef"), return_exceptions=True)
        return tracked.failed

    assert (run(main()), len(called)) == (6 // size, 6 // size)
    assert generate.stats().total.failed == 6 // size


def test_what_one_call_made_of_an_item_is_kept_though_another_failed(cache):
    """P7: samples of one item that two calls were to make; the draw fails, and what there is is stored."""
    called = []

    @cache.cached_llm(batch="prompts", n=3, version="1", namespace="a", gather=Gather(max_size=2, max_wait=0))
    async def generate(prompts):
        called.append(prompts)
        if len(called) == 1:
            raise ConnectionError
        return [f"{len(called)}.{number}" for number in range(len(prompts))]

    async def main():
        with pytest.raises(ConnectionError):
            await generate.one("x")
        assert called == [["x", "x"], ["x"]]
        return await generate.one("x")

    drawn = run(main())
    assert "2.0" in drawn
    assert [len(prompts) for prompts in called] == [2, 1, 2]
    assert sorted(generate.peek(["x"])) == sorted(drawn)


def test_a_wrong_number_of_results_reaches_the_caller_of_each_item(cache):
    """P8: results that cannot be told apart are given to nobody."""

    async def function(prompts):
        return ["only one"]

    generate = gathering(cache, function, gather=Gather(max_size=3, max_wait=LONG))

    async def main():
        return await asyncio.gather(*map(generate.one, "abc"), return_exceptions=True)

    errors = run(main())
    assert [type(error) for error in errors] == [WrongNumber] * 3
    assert "3 items and returned 1 results" in str(errors[0])
    assert generate.peek(["a"]) == []


def test_nobody_else_takes_an_error_for_unseen(cache, caplog):
    """An error that several samples of one item meet is raised once, and not logged as never retrieved."""

    async def function(prompts):
        raise ConnectionError

    generate = gathering(cache, function, pool=None, n=3, gather=Gather(max_size=3, max_wait=LONG))
    with pytest.raises(ConnectionError):
        run(generate.one("a"))
    gc.collect()
    # A task of a loop that another test has closed may be collected here, and asyncio logs that, too.
    assert "never retrieved" not in caplog.text


def test_an_item_that_waits_for_itself_is_told_so(cache):
    """A batch function that asks for an item that it is serving would wait for ever."""

    @cache.cached_llm(batch="prompts", pool=1, gather=Gather(max_size=2, max_wait=LONG))
    async def generate(prompts):
        return [await generate.one(prompts[-1])]

    async def main():
        return await asyncio.gather(*map(generate.one, "ab"), return_exceptions=True)

    assert [type(error) for error in run(main())] == [ReentrantCall] * 2


def test_event_loops_gather_apart(cache):
    """The function may be used in one loop after another."""
    called = []
    generate = gathering(cache, counting(called), gather=Gather(max_wait=0))
    assert [run(generate.one(prompt)) for prompt in "aba"] == ["a!", "b!", "a!"]
    assert called == [["a"], ["b"]]


def test_gathering_is_for_coroutine_functions_with_batch(cache):
    """What cannot be meant is refused at decoration."""
    with pytest.raises(OptionError, match="gather without batch"):
        cache.cached_llm(gather=Gather())(at_once)
    with pytest.raises(OptionError, match="only coroutine functions gather"):
        cache.cached_llm(gather=Gather(), batch="prompts")(lambda prompts: prompts)
    with pytest.raises(OptionError, match=r"must be a memollm\.Gather"):
        cache.cached_llm(gather=64, batch="prompts")(at_once)
    for wrong in (
        {"max_size": 0},
        {"max_size": 2.5},
        {"max_wait": -1},
        {"max_wait": float("nan")},
        {"max_wait": "1"},
        {"joins": 1},
    ):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            Gather(**wrong)
    assert memollm.Gather() == Gather(max_size=None, max_wait=None, joins=False)


@pytest.mark.parametrize("size", [2, 1])
def test_loops_that_ended_are_let_go(cache, size):
    """Items that wait for others, or are being served, when their loop ends do not keep it."""
    batches, loops = Batches(), []
    generate = gathering(cache, batches, gather=Gather(max_size=size, max_wait=LONG))

    def waits(loop):
        return generate._self_function.gatherer._of_loops.get(loop)

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        left = asyncio.create_task(generate.one(f"{len(loops)}"))
        await until_in_loop(lambda: waits(asyncio.get_running_loop()) or len(batches.called) == len(loops))
        assert not left.done()

    for _ in range(4):
        run(main())
    batches.gates.clear()
    gc.collect()
    # The last one stays until another loop asks.
    assert sum(loop() is not None for loop in loops) <= 1
