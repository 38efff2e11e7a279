"""`used`: what a call says of itself while it runs, where the function returns text."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import pytest
from models import run

import memollm
from memollm import BudgetExceeded, Gather, OptionError, UnknownCost, Usage

PRICES = {"m": (1_000.0, 10_000.0)}


def response(into=100, out=10, **more):
    """Return what a provider answers, as OpenAI's chats do."""
    return {"text": "answer", "model": "m", "usage": {"prompt_tokens": into, "completion_tokens": out}, **more}


@pytest.fixture(autouse=True)
def prices():
    """Give the model a price: a tenth of a dollar for what goes in, a tenth for what comes out."""
    memollm.configure(prices=PRICES)


def figures(tracked):
    """Return what a track says was spent, without the time."""
    return tracked.paid, tracked.spent.tokens, round(tracked.spent.cost, 6), tracked.spent.unpriced


def test_a_budget_holds_where_the_function_returns_text(cache):
    """P14: the first program of the README, under a budget of dollars, spends no more than that."""

    @cache.cached_llm(name="ask", version=1)
    def ask(prompt):
        return memollm.used(response())["text"]

    with memollm.track() as tracked, memollm.budget(cost=1.0) as budget:
        for _ in range(5):
            ask("x")
        with pytest.raises(BudgetExceeded, match=r"\$1\.00 of \$1\.00 are spent"):
            ask("x")
        assert figures(tracked) == (5, 550, 1.0, 0)
    assert str(budget) == "$1.00 of $1.00"
    with memollm.namespace("again"), memollm.track() as again:
        ask.draw(5, "x")
    assert (again.paid, again.saved.tokens, round(again.saved.cost, 6), again.saved.unpriced) == (0, 550, 1.0, 0)


def test_several_in_one_call_add_up_and_one_counts_once(cache):
    """An agent's loop asks many times; what is noted twice of one response counts once."""

    @cache.cached_llm(name="solve", version=1)
    def solve(task):
        for step in range(3):
            answer = memollm.used(response(out=step))
            memollm.used(answer)
        memollm.used(tokens=(1, 2), model="m")
        memollm.used(cost=0.5)
        return "done"

    with memollm.track() as tracked:
        solve("x")
    assert figures(tracked) == (1, 306, round(0.3 + 0.03 + 0.001 + 0.02 + 0.5, 6), 0)


def test_a_part_of_unknown_cost_makes_the_whole_unknown(cache):
    """P14: a sum of which nobody knows a part is not given as if it were all."""

    @cache.cached_llm(name="solve", version=1)
    def solve(task):
        memollm.used(response())
        return memollm.used(response(model="nobody's"))["text"]

    with memollm.track() as tracked:
        solve("x")
    assert figures(tracked) == (1, 220, 0.0, 1)


def test_in_coroutines_and_threads_of_the_call(cache):
    """The context carries it: tasks that the function begins, and threads that are given its context."""

    @cache.cached_llm(name="ask", version=1)
    async def ask(prompt):
        async def part():
            memollm.used(response())

        await asyncio.gather(part(), part(), asyncio.to_thread(memollm.used, response()))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(copy_context().run, memollm.used, response()).result()
        return "text"

    async def main():
        with memollm.track() as tracked:
            await asyncio.gather(ask("x"), ask("y"))
        return figures(tracked)

    assert run(main()) == (2, 880, 1.6, 0)


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_in_streams(cache, kind):
    """The last chunk tells usage; what the reader notes between chunks is not the stream's."""
    chunks = [{"id": "1", "text": "a"}, {"id": "1", "text": "b"}, response(id="1")]

    @cache.cached_llm(name="tell", version=1)
    def tell(prompt):
        for chunk in chunks:
            yield memollm.used(chunk)["text"]

    @cache.cached_llm(name="tell", version=1)
    async def tell_async(prompt):
        for chunk in chunks:
            yield memollm.used(chunk)["text"]

    async def read():
        async for text in tell_async("x"):
            memollm.used(cost=100.0)
            heard.append(text)

    heard = []
    with memollm.track() as tracked:
        if kind == "async":
            run(read())
        else:
            for text in tell("x"):
                memollm.used(cost=100.0)
                heard.append(text)
    assert (heard, figures(tracked)) == (["a", "b", "answer"], (1, 110, 0.2, 0))


def test_count_and_batch_divide_what_the_call_took(cache):
    """Each sample bears its part, and the parts add up."""

    @cache.cached_llm(name="several", version=1, count="k")
    def several(prompt, k=1):
        memollm.used(response(into=90, out=9))
        return ["a"] * k

    @cache.cached_llm(name="each", version=1, batch="texts")
    def each(texts):
        memollm.used(response(into=90, out=9))
        return list(texts)

    for ask in (lambda: several.draw(3, "x"), lambda: each(["p", "q", "r"])):
        with memollm.track() as tracked:
            ask()
        assert figures(tracked) == (1, 99, 0.18, 0)
        assert [draw.input_tokens for draw in tracked.draws] == [30, 30, 30]


def test_gathered_items_divide_their_common_call(cache):
    """Tasks whose items are served by one call bear a part of it each."""

    @cache.cached_llm(name="each", version=1, batch="texts", gather=Gather(max_size=4))
    async def each(texts):
        memollm.used(response(into=80, out=8))
        return list(texts)

    async def main():
        with memollm.track() as tracked:
            await asyncio.gather(*(each.one(text) for text in "pqrs"))
        return figures(tracked)

    assert run(main()) == (1, 88, 0.16, 0)


def test_a_draw_served_by_several_requests_is_of_unknown_cost_if_one_of_them_is(cache):
    """P14: none of its samples is stored with a part of the cost as if that were all, and a budget learns of it."""
    costs = iter([0.3, None, 0.3])

    @cache.cached_llm(name="several", version=1, count="k", gather=Gather(max_size=2, max_wait=0))
    async def several(prompt, k=1):
        if (cost := next(costs)) is not None:
            memollm.used(cost=cost)
        return ["a"] * k

    async def main():
        with memollm.track() as tracked, memollm.budget(cost=10.0) as budget:
            await several.draw(6, "x")
            with pytest.raises(UnknownCost):
                await several.draw(1, "y")
        return [draw.cost for draw in tracked.draws], tracked.spent.unpriced, budget.unpriced

    assert run(main()) == ([None] * 6, 3, 3)


def test_a_memoized_function_inside_counts_for_itself(cache):
    """What the inner call notes is the inner call's, also when it is given from the store."""

    @cache.cached_llm(name="inner", version=1, pool=1)
    def inner(prompt):
        return memollm.used(response())["text"]

    @cache.cached_llm(name="outer", version=1)
    def outer(prompt):
        memollm.used(cost=0.5)
        return inner(prompt)

    outer.draw(2, "x")
    stats = cache.stats()
    assert (stats["inner"].paid, round(stats["inner"].spent.cost, 6)) == (1, 0.2)
    assert (stats["outer"].paid, stats["outer"].spent.cost) == (2, 1.0)


def test_usage_by_the_decorator_comes_first(cache):
    """`usage=` is asked first; where it knows nothing, what was noted counts."""
    asked = []

    @cache.cached_llm(
        name="ask", version=1, usage=lambda answer: asked.append(answer) or (1.0 if answer == "x" else None)
    )
    def ask(prompt):
        memollm.used(response())
        return prompt

    with memollm.track() as tracked:
        ask("x")
        ask("y")
    assert (asked, round(tracked.spent.cost, 6)) == (["x", "y"], 1.2)


def test_outside_nothing_is_noted():
    """Where nothing is memoized it hands the response back, whatever it is."""
    for thing in (None, "text", response(), Usage(1, 2)):
        assert memollm.used(thing) is thing
    assert memollm.used(cost=1.0) is None


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"tokens": 5}, r"tokens=5\): it must be how many went in and how many came out, as \(1200, 80\)"),
        ({"tokens": (1, 2, 3)}, "how many went in and how many came out"),
        ({"tokens": (1, -2)}, "output_tokens=-2: it must be a whole number"),
        ({"cost": "1"}, "cost='1': it must be dollars"),
        ({"model": 5}, "model=5: it must be the model's name"),
    ],
)
def test_what_is_said_by_hand_is_checked(said, message):
    """A slip is told at once, with what was given."""
    with pytest.raises(OptionError, match=message):
        memollm.used(**said)
