"""Equal asks at one moment are one request: draws of one call of a function with `count`."""

from __future__ import annotations

import asyncio

import pytest
from models import run, until_in_loop
from simulated import simulated

import memollm
from memollm import BudgetExceeded, Gather, OptionError, WrongNumber


class Provider:
    """Makes numbered samples, a second after it was asked; it knows how many each request asked for."""

    def __init__(self, *, failing=(), short=()):
        self.failing, self.short = failing, short
        self.asked = []
        self.made = 0

    async def samples(self, n):
        number, _ = len(self.asked), self.asked.append(n)
        made = range(self.made, self.made + n - (number in self.short))
        self.made += 0 if number in self.failing else len(made)
        await asyncio.sleep(1)
        if number in self.failing:
            raise ConnectionError(f"request {number}")
        return list(made)


def asking(cache, provider, **options):
    """Decorate a function that takes how many samples to make."""

    @cache.cached_llm(**{"count": "n", "namespace": "a", "name": "ask", "version": 1, **options})
    async def ask(prompt, n=1):
        return await provider.samples(n)

    return ask


def passed(cache, main):
    """Run it in simulated time, and return what it returns."""
    return simulated(cache, main)[0]


async def together(*draws):
    """Await draws at once."""
    return await asyncio.gather(*draws, return_exceptions=True)


def test_draws_of_one_moment_share_a_request(cache):
    """P4: single asks of one call in one pass of the loop are one request, for which nobody waits."""
    provider = Provider()
    ask = asking(cache, provider)
    given, seconds = simulated(cache, together(*(ask("x") for _ in range(5))))
    # In a burst it waits until that is taken in, which is no time at all for a model.
    assert (sorted(given), round(seconds, 1)) == ([[0], [1], [2], [3], [4]], 1)
    assert provider.asked == [5]


def test_a_request_is_for_eight_at_most(cache):
    """More are divided in the order of asking, since providers limit how many samples a request may be for."""
    provider = Provider()
    ask = asking(cache, provider)
    given, seconds = simulated(cache, together(*(ask("x", n=n) for n in (3, 3, 3, 8, 1, 1))))
    assert (given, round(seconds, 1)) == ([[0, 1, 2], [3, 4, 5], [6, 7, 8], [*range(9, 17)], [17], [18]], 1)
    assert provider.asked == [6, 3, 8, 2]


def test_a_draw_of_more_is_one_request_where_nobody_says(cache):
    """P4: who asks for twelve at once asks for twelve; with `max_size` no request is for more."""
    provider = Provider()
    ask = asking(cache, provider)
    assert passed(cache, ask("x", n=12)) == list(range(12))
    assert passed(cache, ask.with_options(gather=Gather(max_size=5))("y", n=12)) == list(range(12, 24))
    assert provider.asked == [12, 5, 5, 2]


def test_other_calls_have_requests_of_their_own(cache):
    """What differs in anything but the number is another request."""
    provider = Provider()
    ask = asking(cache, provider)
    assert round(simulated(cache, together(ask("x"), ask("y"), ask("x")))[1], 1) == 1
    assert sorted(provider.asked) == [1, 2]


def test_clients_are_not_mixed(cache):
    """What is no part of the key is still what the function is called with."""
    used = []

    @cache.cached_llm(count="n", namespace="a", ignore="client")
    async def ask(prompt, client, n=1):
        used.append((client, n))
        return [client] * n

    one, other = object(), object()
    passed(cache, together(ask("x", one), ask("x", other), ask("x", one)))
    assert dict(used) == {one: 2, other: 1}


def test_only_what_is_missing_is_asked_for(cache):
    """P2, P4: what is stored comes without a request; namespaces that want the same slots share them."""
    provider = Provider()
    ask = asking(cache, provider)
    other = ask.with_options(namespace="b")

    async def main():
        await ask("x", n=2)
        return await together(ask("x"), other("x", n=3), other("x"), ask("x"))

    assert passed(cache, main()) == [[2], [0, 1, 2], [3], [3]]
    assert provider.asked == [2, 2]


def derived(ask, argument="x"):
    """Derive functions that the store knows already: what they are asked for begins in one pass."""
    some = [ask.with_options(n=3) for _ in range(5)]
    for each in some:
        each.key(argument)
    return some


def test_derived_functions_share_requests(cache):
    """`with_options` makes no other function: what is asked at one moment is put together."""
    provider = Provider()
    ask = asking(cache, provider, gather=Gather(max_size=100))
    given = passed(cache, together(*(three("x") for three in derived(ask))))
    assert sorted(sample for some in given for sample in some) == list(range(15))
    assert provider.asked == [15]


def test_derived_batch_functions_share_calls(cache):
    """The same holds for items of a batch."""
    sizes = []

    @cache.cached_llm(batch="prompts", gather=Gather(max_size=300), namespace="a")
    async def ask(prompts):
        sizes.append(len(prompts))
        return prompts

    passed(cache, together(*(three.one("x") for three in derived(ask, ["x"]))))
    assert sizes == [15]


def test_what_one_request_made_for_a_draw_is_kept_though_another_failed(cache):
    """P7, P14: a draw that two requests serve fails with one of them; the other is kept and counted."""
    asked, made = [], []

    @cache.cached_llm(count="n", version="1", namespace="a", gather=Gather(max_size=4), usage=lambda _: 1.0)
    async def think(state, n=1):
        asked.append(n)
        if len(asked) == 1:
            await asyncio.sleep(0)
            raise ValueError("overloaded")
        samples = [f"{len(asked)}.{number}" for number in range(n)]
        made.extend(samples)
        return samples

    async def main():
        return await asyncio.gather(think("s", n=3), think("s", n=3), return_exceptions=True)

    with memollm.track() as tracked:
        assert [type(each) for each in passed(cache, main())] == [ValueError, ValueError]
    assert asked == [4, 2]
    assert (tracked.paid, tracked.spent.cost) == (1, 1.0)
    assert think.peek("s") == made


def test_a_request_that_fails_fails_the_draws_that_it_served(cache):
    """P3: and no other; none is asked for again, and their positions go back."""
    provider = Provider(failing=[0])
    ask = asking(cache, provider, gather=Gather(max_size=2))

    async def main():
        return await together(*(ask("x") for _ in range(4))), await ask("x", n=2)

    given, again = passed(cache, main())
    assert [type(one) for one in given] == [ConnectionError, ConnectionError, list, list]
    assert provider.asked == [2, 2, 2]
    assert sorted(ask.peek("x")) == sorted([*given[2], *given[3], *again])


def test_too_few_are_kept_and_told(cache):
    """What came is kept, in the order of asking, and every draw of the request is told both numbers."""
    provider = Provider(short=[0])
    ask = asking(cache, provider)
    given = passed(cache, together(*(ask("x") for _ in range(3))))
    assert all(isinstance(one, WrongNumber) and "3 samples and returned 2" in str(one) for one in given)
    assert ask.peek("x") == [0, 1]


def test_what_too_few_took_adds_up(cache):
    """P14: the samples that came have all that their request took, and so has whoever paid."""
    ask = asking(cache, Provider(short=[0]), usage=lambda _: memollm.Usage(12, 8, 3.0))
    with memollm.track() as tracked:
        given = passed(cache, together(ask("x"), ask("x", n=3)))
    assert [type(one) for one in given] == [WrongNumber, WrongNumber]
    assert (tracked.paid, tracked.spent.cost, tracked.spent.unpriced) == (1, pytest.approx(3.0), 0)
    with memollm.namespace("b"), memollm.track() as again:
        passed(cache, together(ask("x", n=3)))
    assert again.saved.cost == pytest.approx(3.0)


def test_a_shared_request_is_one_call(cache):
    """Budgets and statistics count it once, and what it took is divided so that it adds up."""
    provider = Provider()
    ask = asking(cache, provider, usage=lambda _: memollm.Usage(10, 7, 0.3))

    async def main():
        with memollm.budget(calls=4) as budget, memollm.track() as tracked:
            await together(*(ask("x") for _ in range(4)))
            assert (budget.calls, tracked.paid) == (1, 1)
            assert tracked.spent.cost == pytest.approx(0.3)
            await together(*(ask("y", n=2) for _ in range(3)))
            with pytest.raises(BudgetExceeded):
                await asyncio.gather(*(ask("z") for _ in range(3)))

    passed(cache, main())
    assert provider.asked[:2] == [4, 6]


def test_who_leaves_a_shared_request_disturbs_nobody(cache):
    """P13: before the request it is left out; later what was made for it is kept."""
    provider = Provider()
    ask = asking(cache, provider, gather=Gather(max_wait=1))

    async def main():
        draws = [asyncio.create_task(ask("x")) for _ in range(4)]
        await asyncio.sleep(0.5)
        draws[1].cancel()
        await asyncio.sleep(1)
        draws[2].cancel()
        return await together(*draws)

    first, *gone, last = simulated(cache, main())[0]
    assert all(isinstance(one, asyncio.CancelledError) for one in gone)
    assert provider.asked == [3]
    assert (first, last) == ([0], [2])
    assert sorted(ask.peek("x")) == [0, 1, 2]


def test_who_comes_during_a_request_joins_the_next(cache):
    """With `joins`, draws that come while one is in flight wait for its end and share one request."""
    provider = Provider()
    ask = asking(cache, provider, gather=Gather(joins=True))

    async def main():
        draws = []
        for _ in range(5):
            draws.append(asyncio.create_task(ask("x")))
            await asyncio.sleep(0.3)
        return await together(*draws)

    given, seconds = simulated(cache, main())
    assert given == [[0], [1], [2], [3], [4]]
    assert (provider.asked, seconds) == ([1, 3, 1], 3)


def test_waves_go_out_when_the_last_has_landed(cache):
    """With `waves`, what is wanted while anything is in flight goes together: also of calls that nobody has asked."""
    provider = Provider()
    ask = asking(cache, provider, gather=Gather(waves=True))

    async def twice(prompt):
        return [*await ask(prompt), *await ask("x")]

    async def main():
        draws = [asyncio.create_task(twice(prompt)) for prompt in "ab"]
        for prompt in "xyx":
            await asyncio.sleep(0.3)
            draws.append(asyncio.create_task(ask(prompt)))
        return await together(*draws)

    given, seconds = simulated(cache, main())
    # In the first wave "a" and "b", in the second the others, with what those wanted that had just got an answer.
    assert sorted(provider.asked) == [1, 1, 1, 4]
    assert 2 < seconds < 2.1
    assert sorted(sample for each in given for sample in each) == [*range(7)]


@pytest.mark.parametrize("gather", [Gather(joins=True), Gather(waves=True)])
def test_a_call_that_asks_for_itself_does_not_wait_to_land(cache, gather):
    """What a call in flight wants of the same function goes at once, or it would wait for itself for ever."""
    depth = []

    @cache.cached_llm(name="ask", version=1, namespace="a", count="n", gather=gather)
    async def ask(prompt, n=1):
        depth.append(prompt)
        others = [] if len(depth) > 2 else await together(ask("x"), ask("y"))
        return [f"{prompt} {len(others)}"] * n

    async def main():
        async with asyncio.timeout(60):
            return await ask("x")

    assert simulated(cache, main())[0] == ["x 2"]


@pytest.mark.parametrize("gather", [Gather(joins=True), Gather(waves=True)])
def test_inside_another_function_samples_are_gathered_too(cache, gather):
    """Only a call that serves oneself is not waited for: neither one of another function nor a stream that was read."""
    provider = Provider()
    ask = asking(cache, provider, gather=gather)

    @cache.cached_llm(name="stream", version=1)
    def stream():
        yield "chunk"

    @cache.cached_llm(name="agent", version=1, namespace="a")
    async def agent():
        first = asyncio.create_task(ask("x"))
        await asyncio.sleep(0.5)
        return await together(first, *(ask("x") for _ in range(3)))

    assert list(stream()) == ["chunk"]
    given, seconds = simulated(cache, agent())
    assert given == [[0], [1], [2], [3]]
    assert provider.asked == [1, 3]
    # The three have waited for the first.
    assert 2 <= seconds < 2.1


def test_a_full_request_does_not_wait_to_join(cache):
    """As many as fit go at once."""
    provider = Provider()
    ask = asking(cache, provider, gather=Gather(joins=True, max_size=2))

    async def main():
        first = asyncio.create_task(ask("x"))
        await until_in_loop(lambda: provider.asked)
        return await together(first, ask("x"), ask("x"), ask("x"))

    assert simulated(cache, main())[1] == 2
    assert provider.asked == [1, 2, 1]


def test_gathering_needs_something_to_gather(cache):
    """A function that makes one sample a call has nothing to put together."""
    with pytest.raises(OptionError, match="gather without batch or count"):
        asking(cache, Provider(), count=None, gather=Gather())


@pytest.mark.parametrize("passes", range(6))
@pytest.mark.parametrize("kind", ["count", "batch"])
def test_an_answer_that_has_come_as_the_loop_ends_is_kept(cache, kind, passes):
    """P7: a program that ends when the function has returned loses nothing of a request that several may share."""
    returned = []

    @cache.cached_llm(name="ask", version=1, namespace="a", count="n")
    async def ask(prompt, n=1):
        await asyncio.sleep(0)
        returned.append(prompt)
        return [prompt] * n

    @cache.cached_llm(name="each", version=1, namespace="a", batch="texts")
    async def each(texts):
        await asyncio.sleep(0)
        returned.extend(texts)
        return texts

    async def main():
        _ = asyncio.ensure_future(ask("x") if kind == "count" else each.one("x"))
        await until_in_loop(lambda: returned)
        for _ in range(passes):
            await asyncio.sleep(0)

    run(main())
    assert (ask if kind == "count" else each).peek("x" if kind == "count" else ["x"]) == ["x"]
    assert cache.stats().total.paid == 1
