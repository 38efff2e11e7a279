"""Budgets: so many calls, or so many dollars, and not one call more, however many draw at once."""

from __future__ import annotations

import asyncio
import gc
import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from models import AsyncGates, Gates, asking, asking_async, run, until, until_in_loop, waiting

import memollm
from memollm import BudgetExceeded, NotCountedWarning, OptionError, UnknownCost, WrongNumber
from memollm.testing import FakeModel, ModelDown

AGENTS = 5
PROMPTS = 20
AT_ONCE = 20


def paying(cache, costs, **options):
    """Return a function whose calls cost what is given, one after the other."""
    costs = iter(costs)
    options = {"namespace": "a", "name": "ask", "version": 1, **options}
    return cache.cached_llm(lambda prompt: next(costs), usage=lambda cost: memollm.Usage(cost=cost), **options)


GRID = [(agent, f"p{number}") for number in range(PROMPTS) for agent in range(AGENTS)]


def test_a_grid_of_agents_in_threads_makes_exactly_the_calls_of_its_budget(cache):
    """P4: 100 cells, 20 at a time, 50 calls: just 50 are made and paid, and a rerun makes the other 50."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")

    def cell(agent, prompt):
        with memollm.namespace(f"agent-{agent}"):
            return ask(f"{agent} {prompt}")

    def grid():
        with ThreadPoolExecutor(AT_ONCE) as pool:
            futures = [pool.submit(copy_context().run, cell, *each) for each in GRID]
        return [future.exception() or future.result() for future in futures]

    with memollm.budget(calls=50) as budget:
        first = grid()
    assert model.calls == budget.calls == 50
    assert sum(isinstance(each, BudgetExceeded) for each in first) == 50
    for agent in range(AGENTS):
        cache.rewind(f"agent-{agent}")
    with memollm.budget(calls=50) as budget:
        assert not [each for each in grid() if isinstance(each, Exception)]
    assert (budget.calls, model.calls) == (50, 100)


def test_a_grid_of_agents_in_tasks_makes_exactly_the_calls_of_its_budget(cache):
    """P4: the same in one event loop, with calls that overlap."""
    model = FakeModel()

    @cache.cached_llm(name="ask", version=1)
    async def ask(prompt):
        for _ in range(3):
            await asyncio.sleep(0)
        return await model.answer(prompt)

    async def cell(agent, prompt, room):
        async with room:
            with memollm.namespace(f"agent-{agent}"):
                return await ask(f"{agent} {prompt}")

    async def grid():
        room = asyncio.Semaphore(AT_ONCE)
        return await asyncio.gather(*(cell(*each, room) for each in GRID), return_exceptions=True)

    with memollm.budget(calls=50) as budget:
        first = run(grid())
    assert model.calls == budget.calls == 50
    assert sum(isinstance(each, BudgetExceeded) for each in first) == 50


def test_agents_that_want_the_same_samples_pay_for_them_once(cache):
    """P5: of many draws of one slot one is charged; the others wait and get it for nothing."""
    gates = Gates()
    ask = cache.cached_llm(lambda prompt: gates.fly(), pool=1, name="ask", version=1)
    got = []
    with memollm.budget(calls=1) as budget:
        threads = [
            threading.Thread(target=copy_context().run, args=(lambda: got.append(ask("x")),)) for _ in range(AT_ONCE)
        ]
        for thread in threads:
            thread.start()
        gate = gates.begun()
        until(lambda: waiting(cache) == AT_ONCE - 1)
        gate.put("answer")
        for thread in threads:
            thread.join()
        assert (got, budget.calls) == (["answer"] * AT_ONCE, 1)


def test_what_is_stored_is_free(cache):
    """With nothing left, hits go on, and a draw that would call is refused and stays open."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=2) as budget:
        ask.draw(2, "x")
        for name in ("b", "c"):
            with memollm.namespace(name):
                assert ask.draw(2, "x") == ["x #1", "x #2"]
        with pytest.raises(BudgetExceeded, match=r"1 call of ask would exceed the budget: 2 of 2 calls are spent"):
            ask("x")
    assert (budget.calls, model.calls) == (2, 2)
    assert ask("x") == "x #3"


def test_a_draw_of_several_is_made_whole_or_not_at_all(cache):
    """P3: four missing samples do not fit into three calls, so none is made; three do."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=4):
        ask("x")
        with memollm.namespace("b"), pytest.raises(BudgetExceeded, match="4 calls of ask"):
            ask.draw(5, "x")
        assert model.calls == 1
        with memollm.namespace("b"):
            assert ask.draw(4, "x") == ["x #1", "x #2", "x #3", "x #4"]


def test_failed_calls_are_not_counted(cache):
    """What raised was no answer, so it may be tried again."""
    model = FakeModel(failing={1, 3})
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=2) as budget:
        for _ in range(2):
            with pytest.raises(ModelDown):
                ask("x")
            ask("x")
        with pytest.raises(BudgetExceeded):
            ask("x")
    assert (budget.calls, model.calls) == (2, 4)


def test_a_draw_that_fails_in_its_middle_sets_nothing_aside_for_ever(cache):
    """P3: of three calls the second fails, the third is never made; what is left of the budget can be spent."""
    model = FakeModel(failing={2})
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=3) as budget:
        with pytest.raises(ModelDown):
            ask.draw(3, "x")
        assert budget.calls == 1
        assert ask.draw(3, "x") == ["x #1", "x #2", "x #3"]
    assert budget.calls == 3


def test_a_draw_that_fails_in_its_middle_opens_no_more_than_what_is_left(cache):
    """P14: what was called before the failure is spent; the rest of the limit holds to the call."""
    model = FakeModel(failing={2})
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=3) as budget:
        with pytest.raises(ModelDown):
            ask.draw(3, "x")
        with pytest.raises(BudgetExceeded, match="1 of 3 calls are spent"):
            ask.draw(3, "y")
        assert ask.draw(2, "y") == ["y #1", "y #2"]
    assert budget.calls == 3


def test_concurrent_calls_of_a_failing_draw(cache):
    """P3: the same for draws whose calls overlap, in threads and in tasks."""
    model = FakeModel(failing={2})
    ask = asking(cache, model, namespace="a", concurrency=3)
    with memollm.budget(calls=3) as budget:
        with pytest.raises(ModelDown):
            ask.draw(3, "x")
        assert len(ask.draw(3, "x")) == 3
    assert budget.calls == 3
    model = FakeModel(failing={2})
    ask = asking_async(cache, model, namespace="a", version=2)
    with memollm.budget(calls=3) as budget:
        with pytest.raises(ModelDown):
            run(ask.draw(3, "x"))
        assert len(run(ask.draw(3, "x"))) == 3
    assert budget.calls == 3


def test_budgets_nest(cache):
    """A call must fit into every budget around it; what an inner one refuses costs the outer one nothing."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=3) as outer:
        with memollm.budget(calls=1) as inner:
            ask("x")
            with pytest.raises(BudgetExceeded, match="1 of 1 calls"):
                ask("x")
        ask("x")
        with memollm.budget(calls=9) as wide:
            ask("x")
            with pytest.raises(BudgetExceeded, match="3 of 3 calls"):
                ask("x")
    assert (outer.calls, inner.calls, wide.calls, model.calls) == (3, 1, 1, 3)
    with memollm.budget(calls=1) as again:
        ask("x")
    assert again.calls == 1


def test_an_outer_budget_is_not_charged_for_what_an_inner_one_refuses(cache):
    """Calls that were set aside in one budget and refused by another are free again."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=2) as outer:
        with memollm.budget(calls=0):
            for _ in range(5):
                with pytest.raises(BudgetExceeded):
                    ask("x")
        assert ask.draw(2, "x") == ["x #1", "x #2"]
    assert outer.calls == 2


def test_calls_of_count_and_batch_count_once(cache):
    """A budget counts calls of the function, not samples."""
    several = cache.cached_llm(lambda prompt, n: [prompt] * n, count="n", name="several", version=1)
    generate = cache.cached_llm(lambda prompts: prompts, batch="prompts", name="generate", version=1)
    with memollm.budget(calls=2) as budget:
        assert len(several("x", 10)) == 10
        assert len(generate([*"abcdefgh"])) == 8
        with pytest.raises(BudgetExceeded):
            generate(["y"])
    assert budget.calls == 2


def test_a_call_that_returned_the_wrong_thing_is_spent(cache):
    """A call that returned is a call, whatever it returned: a function that never returns a list spends its budget."""
    returned = []
    ask = cache.cached_llm(lambda prompt, n: returned.append(n) or "text", count="n", name="ask", version=1)
    with memollm.budget(calls=2) as budget, memollm.track() as tracked:
        for _ in range(2):
            with pytest.raises(WrongNumber, match="returned one str"):
                ask("x", 3)
        with pytest.raises(BudgetExceeded):
            ask("x", 3)
    assert (len(returned), budget.calls, tracked.paid, tracked.failed) == (2, 2, 2, 0)


def test_items_that_gather_are_set_aside_one_by_one_and_counted_once(cache):
    """Until their common call returns, each may become a call; then it was one."""

    @cache.cached_llm(batch="prompts", gather=memollm.Gather(max_size=3, max_wait=3600), name="generate", version=1)
    async def generate(prompts):
        await asyncio.sleep(0)
        return [*map(str.upper, prompts)]

    async def main():
        with memollm.budget(calls=3) as budget:
            answers = await asyncio.gather(*map(generate.one, "wxyz"), return_exceptions=True)
            assert answers[:3] == ["W", "X", "Y"]
            assert isinstance(answers[3], BudgetExceeded)
            assert await generate(["z"]) == ["Z"]
        return budget.calls

    assert run(main()) == 2


def test_what_is_refused_or_not_stored_is_paid_all_the_same(cache):
    """An answer that `accept` refuses, and one that no store keeps, was paid for."""
    ask = cache.cached_llm(str.upper, namespace="a", accept=lambda _: False, name="ask", version=1)
    with memollm.budget(calls=2) as budget:
        ask("x")
        with memollm.mode("off"):
            ask("x")
        with pytest.raises(BudgetExceeded):
            ask("x")
        with memollm.mode("off"), pytest.raises(BudgetExceeded):
            ask("x")
    assert budget.calls == 2


# Money.


def test_a_budget_of_dollars_foresees_what_the_dearest_call_cost(cache):
    """The first call is made, and each further one only if as dear a one as before would fit."""
    ask = paying(cache, [0.25, 0.5, 0.25, 0.5])
    with memollm.budget(cost=1.25) as budget:
        assert [ask("x"), ask("x"), ask("x")] == [0.25, 0.5, 0.25]
        with pytest.raises(BudgetExceeded, match=r"\$1\.00 of \$1\.25 are spent"):
            ask("x")
    assert (budget.cost, budget.calls) == (1.0, 3)


def test_with_nothing_left_no_call_is_made(cache):
    """Not even one of a function whose cost nobody knows; what is stored is free."""
    ask, other = paying(cache, [2.0]), cache.cached_llm(str.upper, pool=1, name="other", version=1)
    other("stored")
    with memollm.budget(cost=1.0, unknown="ignore") as budget:
        other("x")
        ask("x")
        with pytest.raises(BudgetExceeded):
            other("y")
        assert other("stored") == "STORED"
    assert budget.cost == 2.0
    with memollm.budget(cost=0), pytest.raises(BudgetExceeded):
        ask("x")


def test_a_limit_of_dollars_ends_where_the_cost_is_not_known(cache):
    """P14: the answer of unknown cost is given and kept; the next draw that would call says why it does not."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(cost=2.5) as budget:
        answer = ask("x")
        with pytest.raises(UnknownCost, match=r"a call of ask cost is not known.*memollm\.used.*unknown="):
            ask("y")
        with memollm.namespace("b"):
            assert ask("x") == answer
    assert (model.calls, budget.cost, budget.unpriced) == (1, 0.0, 1)
    assert str(budget) == "1 call of unknown cost of $2.50"
    with memollm.budget(calls=2):
        ask.draw(2, "z")


def test_a_limit_of_dollars_may_go_on_without_knowing(cache):
    """P14: with "warn" it says once that it cannot hold, with "ignore" nothing."""
    ask = asking(cache, FakeModel(), namespace="a")
    with memollm.budget(cost=2.5, unknown="warn") as budget:
        ask("x")
        with pytest.warns(NotCountedWarning, match="a call of ask cost is not known") as told:
            ask.draw(3, "x")
            ask("x")
    assert (len(told), budget.unpriced) == (1, 5)
    with memollm.budget(cost=2.5, unknown="ignore"):
        ask.draw(3, "x")
    with pytest.raises(OptionError, match="Did you mean 'warn'"), memollm.budget(cost=1, unknown="warm"):
        pass


def test_a_price_of_nothing_is_known(cache):
    """P14: where the table says that every model is free, calls that tell no tokens cost nothing, and are known to."""
    ask = asking(cache, FakeModel(), namespace="a")
    memollm.configure(prices={"*": (0, 0)})
    with memollm.budget(cost=1) as budget, memollm.track() as tracked:
        ask.draw(3, "x")
    assert (budget.unpriced, tracked.spent.unpriced, tracked.spent.cost) == (0, 0, 0.0)
    memollm.configure(prices={"*": (1, 1)})
    with memollm.budget(cost=1) as budget:
        ask("x")
    assert budget.unpriced == 1


def test_calls_under_way_are_foreseen(cache):
    """Twenty tasks that ask at once: once a call's cost is known, no more fly than would fit."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", usage=lambda cost: cost, name="ask", version=1)
    async def ask(prompt):
        return await gates.fly()

    async def main():
        with memollm.budget(cost=1.0) as budget:
            first = asyncio.create_task(ask("x"))
            (await gates.begun()).set_result(0.25)
            await first
            tasks = [asyncio.create_task(ask("x")) for _ in range(AT_ONCE)]
            await until_in_loop(lambda: sum(task.done() for task in tasks) == AT_ONCE - 3)
            for _ in range(3):
                (await gates.begun()).set_result(0.25)
            results = await asyncio.gather(*tasks, return_exceptions=True)
        refused = [str(each) for each in results if isinstance(each, BudgetExceeded)]
        assert len(refused) == AT_ONCE - 3
        assert "$0.25 of $1.00 are spent, 3 more under way" in refused[-1]
        return budget

    assert run(main()).cost == 1.0


def test_both_limits_hold(cache):
    """Whichever is reached first."""
    ask = paying(cache, itertools.repeat(0.25))
    with memollm.budget(cost=10, calls=2) as budget:
        ask.draw(2, "x")
        with pytest.raises(BudgetExceeded):
            ask("x")
    assert str(budget) == "2 of 2 calls, $0.50 of $10.00"
    assert repr(budget) == f"<budget {budget}>"


# What was set aside is released.


def test_an_abandoned_stream_is_not_charged(cache):
    """Left in its middle, closed or collected, it has not been paid."""

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        yield from prompt

    with memollm.budget(calls=1) as budget:
        for _ in range(3):
            stream = tell("xyz")
            assert next(stream) == "x"
            stream.close()
            stream = tell("xyz")
            assert next(stream) == "x"
            del stream
            gc.collect()
        assert list(tell("xyz")) == ["x", "y", "z"]
        with pytest.raises(BudgetExceeded):
            list(tell("xyz"))
    assert budget.calls == 1


def test_an_abandoned_async_stream_is_not_charged(cache):
    """The same for async generator functions."""

    @cache.cached_llm(namespace="a", name="tell", version=1)
    async def tell(prompt):
        for chunk in prompt:
            await asyncio.sleep(0)
            yield chunk

    async def main():
        with memollm.budget(calls=1) as budget:
            for _ in range(3):
                stream = tell("xyz")
                assert await anext(stream) == "x"
                await stream.aclose()
            assert [chunk async for chunk in tell("xyz")] == ["x", "y", "z"]
            with pytest.raises(BudgetExceeded):
                await anext(tell("xyz"))
        return budget.calls

    assert run(main()) == 1


def test_a_cancelled_task_is_not_charged(cache):
    """What is stopped while it flies is open again, for the budget too."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", name="ask", version=1, on_cancel="stop")
    async def ask(prompt):
        return await gates.fly()

    async def main():
        with memollm.budget(calls=2) as budget:
            for _ in range(3):
                task = asyncio.create_task(ask.draw(2, "x"))
                await gates.begun()
                await gates.begun()
                with pytest.raises(BudgetExceeded, match="2 more under way"):
                    await ask("x")
                task.cancel()
                await asyncio.wait([task])
            task = asyncio.create_task(ask.draw(2, "x"))
            for answer in ("one", "two"):
                (await gates.begun()).set_result(answer)
            assert await task == ["one", "two"]
        return budget.calls

    assert run(main()) == 2


def test_calls_that_end_with_their_loop_are_given_back_once(cache):
    """What a draw of several had under way when its loop went away is set aside no more, and frees nothing besides."""
    gates = AsyncGates()

    @cache.cached_llm(namespace="a", name="ask", version=1)
    async def ask():
        return await gates.fly()

    with memollm.budget(calls=3) as budget:
        loop = asyncio.new_event_loop()
        loop.set_exception_handler(lambda *_: None)
        task = loop.create_task(ask.draw(3))
        loop.run_until_complete(until_in_loop(lambda: gates.made == 3))
        loop.close()
        gates._begun.clear()
        del task
        gc.collect()
        assert cache.cached_llm(lambda: "x", namespace="a", name="other", version=1).draw(3) == ["x"] * 3
        with pytest.raises(BudgetExceeded):
            cache.cached_llm(lambda: "x", namespace="a", name="third", version=1)()
    assert budget.calls == 3


def test_what_a_collection_in_the_middle_of_a_promise_releases(cache):
    """A stream that is collected while a budget is being asked waits for nothing that this very thread holds."""
    from memollm._spending.budget import Budget

    class Collecting(dict):
        """Where promises are written down, a stream is collected."""

        def __setitem__(self, function, calls):
            streams.clear()
            super().__setitem__(function, calls)

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        yield from prompt

    with memollm.budget(calls=2) as budget:
        assert isinstance(budget, Budget)
        streams = [tell("xyz")]
        next(streams[0])
        budget._promised = Collecting(budget._promised)
        thread = threading.Thread(target=copy_context().run, args=(list, tell("xyz")), daemon=True)
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
        assert list(tell("xyz")) == ["x", "y", "z"]


def test_a_budget_follows_tasks_and_threads_with_their_context(cache):
    """What the block starts spends its budget; what others do does not."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")

    async def main():
        with memollm.budget(calls=1) as budget:
            await asyncio.create_task(asyncio.to_thread(ask, "x"))
            bare = threading.Thread(target=ask, args=("x",))
            bare.start()
            await asyncio.get_running_loop().run_in_executor(None, bare.join)
            with pytest.raises(BudgetExceeded):
                await asyncio.to_thread(ask, "x")
        return budget.calls

    assert run(main()) == 1
    assert model.calls == 2


def test_maps_and_replays_spend_it(cache):
    """A map ends at its budget; a replay spends nothing until it goes on."""
    model = FakeModel()
    ask = asking(cache, model, namespace="a")
    with memollm.budget(calls=3):
        answers = ask.map([f"p{number}" for number in range(6)], concurrency=1, on_error="return")
        assert [isinstance(each, BudgetExceeded) for each in answers] == [False] * 3 + [True] * 3
        with memollm.replay("a", then="draw"):
            assert ask("p0") == "p0 #1"
            with pytest.raises(BudgetExceeded):
                ask("p0")
    with memollm.replay("a", then="draw"), memollm.budget(calls=1):
        assert ask.draw(2, "p0") == ["p0 #1", "p0 #2"]


@pytest.mark.parametrize(
    "limits", [{}, {"cost": -1}, {"cost": "1"}, {"cost": True}, {"cost": float("nan")}, {"calls": -1}, {"calls": 1.5}]
)
def test_what_is_no_budget(limits):
    """It must limit something, by a number that can be."""
    with pytest.raises(OptionError, match=r"budget\("), memollm.budget(**limits):
        pass
