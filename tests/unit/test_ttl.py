"""Time to live: a sample that is too old counts as missing, for whoever says so, and is made anew in its place."""

from __future__ import annotations

import asyncio
import itertools
import threading
from datetime import timedelta

import pytest
from models import AsyncGates, Gates, run, until, waiting

import memollm
from memollm import Cache, OptionError
from memollm.testing import FakeClock

HOUR = 3600.0


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture(params=["memory", "sqlite"])
def cache(request, tmp_path, clock):
    with Cache("memory:" if request.param == "memory" else tmp_path / "cache", clock=clock) as made:
        yield made


def asking(cache, **options):
    """Return a function whose answers are numbered over all calls."""
    numbers = itertools.count(1)
    return cache.cached_llm(lambda prompt: next(numbers), **{"name": "ask", "version": 1, "ttl": "1h", **options})


@pytest.mark.parametrize("ttl", [HOUR, 3600, timedelta(hours=1), "1h", "60m", "3600s", " 3600 s "])
def test_a_memoized_sample_counts_for_as_long(cache, clock, ttl):
    """P4: it is remembered until the moment that its time is over, and then made anew once."""
    ask = asking(cache, pool=1, ttl=ttl)
    assert [ask("x"), ask("x")] == [1, 1]
    clock.advance(HOUR - 1)
    assert ask("x") == 1
    clock.advance(1)
    assert [ask("x"), ask("x")] == [2, 2]
    clock.advance(HOUR - 1)
    assert ask("x") == 2


def test_days_and_weeks(cache, clock):
    """Longer times are said in days and weeks."""
    day, week = asking(cache, pool=1, ttl="1.5d"), asking(cache, pool=1, ttl="1w", name="again")
    assert (day("x"), week("x")) == (1, 1)
    clock.advance(36 * HOUR)
    assert (day("x"), week("x")) == (2, 1)
    clock.advance(132 * HOUR)
    assert week("x") == 2


def test_each_function_says_how_long_for_itself(cache, clock):
    """The same sample may be too old for one and not for another."""
    ask = asking(cache, pool=1, ttl=None)
    short = ask.with_options(ttl="1h")
    assert (ask("x"), short("x")) == (1, 1)
    clock.advance(HOUR)
    assert ask("x") == 1
    assert short("x") == 2
    assert ask("x") == 2


def test_an_expired_slot_is_vacant_for_every_namespace(cache, clock):
    """P2: what has been drawn stays drawn; a slot that is drawn too late is made anew, once for all."""
    ask = asking(cache, namespace="a")
    assert ask.draw(2, "x") == [1, 2]
    clock.advance(HOUR)
    assert ask("x") == 3
    with memollm.namespace("b"):
        assert ask.draw(3, "x") == [4, 5, 3]
    with memollm.namespace("c"):
        assert ask.draw(4, "x") == [4, 5, 3, 6]
    assert ask.peek("x") == [4, 5, 3, 6]


def test_some_of_a_draw_have_expired(cache, clock):
    """P4: only what is too old is called for."""
    ask = asking(cache, n=2, namespace="a")
    ask("x")
    clock.advance(HOUR / 2)
    ask("x")
    clock.advance(HOUR / 2)
    with memollm.namespace("b"):
        assert ask.draw(4, "x") == [5, 6, 3, 4]


def test_a_batch_asks_for_the_items_that_expired(cache, clock):
    """P4: each item has an age of its own."""
    called = []

    @cache.cached_llm(batch="prompts", pool=1, ttl="1h", name="generate", version=1)
    def generate(prompts):
        called.append(prompts)
        return [f"{prompt} {len(called)}" for prompt in prompts]

    generate(["x", "y"])
    clock.advance(HOUR / 2)
    assert generate(["x", "z"]) == ["x 1", "z 2"]
    clock.advance(HOUR / 2)
    assert generate(["x", "y", "z"]) == ["x 3", "y 3", "z 2"]
    assert called == [["x", "y"], ["z"], ["x", "y"]]
    assert generate.one("y") == "y 3"


def test_streams_and_coroutine_functions_expire(cache, clock):
    """The same for every kind of function."""
    numbers = itertools.count(1)

    @cache.cached_llm(pool=1, ttl="1h", name="ask", version=1)
    async def ask(prompt):
        return next(numbers)

    @cache.cached_llm(pool=1, ttl="1h", name="tell", version=1)
    def tell(prompt):
        yield next(numbers)

    assert (run(ask("x")), [*tell("x")]) == (1, [2])
    assert (run(ask("x")), [*tell("x")]) == (1, [2])
    clock.advance(HOUR)
    assert (run(ask("x")), [*tell("x")]) == (3, [4])
    assert (run(ask("x")), [*tell("x")]) == (3, [4])


def test_offline_what_expired_is_a_miss(cache, clock):
    """Too old is as good as missing where nothing may be called."""
    ask = asking(cache, pool=1)
    ask("x")
    with memollm.mode("offline"):
        assert ask("x") == 1
        clock.advance(HOUR)
        with pytest.raises(memollm.CacheMiss, match=r"Slot 0 .* is stored .* older than ttl= allows"):
            ask("x")
        assert ask.with_options(ttl="2h")("x") == 1


def test_a_failed_renewal_keeps_the_old_sample(cache, clock):
    """P7: what is too old for one is not thrown away before there is another."""
    answers = iter(["old", ConnectionError("no answer")])

    @cache.cached_llm(pool=1, ttl="1h", name="ask", version=1)
    def ask(prompt):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    ask("x")
    clock.advance(HOUR)
    with pytest.raises(ConnectionError):
        ask("x")
    assert ask.peek("x") == ["old"]


def test_threads_that_find_a_slot_expired_share_one_flight(cache, clock):
    """P5: one of many renews it, the others wait for the new sample and get it."""
    gates = Gates()
    ask = cache.cached_llm(lambda prompt: gates.fly(), pool=1, ttl="1h", name="ask", version=1)
    threads = [threading.Thread(target=lambda: got.append(ask("x"))) for _ in range(6)]
    got = []
    first = threading.Thread(target=ask, args=("x",))
    first.start()
    gates.begun().put("old")
    first.join()
    clock.advance(HOUR)
    for thread in threads:
        thread.start()
    gate = gates.begun()
    until(lambda: waiting(cache) == 5)
    gate.put("new")
    for thread in threads:
        thread.join()
    assert got == ["new"] * 6
    assert gates.made == 2


def test_tasks_whose_wait_outlasts_the_time_to_live(cache, clock):
    """P5: who waited gets what was made meanwhile, however long the call took."""
    gates = AsyncGates()

    @cache.cached_llm(pool=1, ttl="1h", name="ask", version=1)
    async def ask(prompt):
        return await gates.fly()

    async def main():
        tasks = [asyncio.create_task(ask("x")) for _ in range(5)]
        gate = await gates.begun()
        while waiting(cache) < 4:
            await asyncio.sleep(0)
        clock.advance(10 * HOUR)
        gate.set_result("answer")
        return await asyncio.gather(*tasks)

    assert run(main()) == ["answer"] * 5
    assert gates.made == 1


def test_a_pool_renews_slot_by_slot(cache, clock):
    """Each slot of a pool has an age of its own."""
    ask = asking(cache, pool=2, namespace="a")
    assert [ask("x"), ask("x"), ask("x")] == [1, 2, 1]
    clock.advance(HOUR)
    assert [ask("x"), ask("x"), ask("x")] == [3, 4, 3]


def test_in_lanes_a_renewed_sample_is_the_lanes_own(cache, clock):
    """Which slot a lane draws stays as recorded; what stands in it is new."""
    ask = asking(cache)

    def draw(*names):
        drawn = {}
        with memollm.run():
            for name in names:
                with memollm.lane(name):
                    drawn[name] = ask("x")
        return drawn

    assert draw("one", "two") == {"one": 1, "two": 2}
    clock.advance(HOUR)
    assert draw("two", "one") == {"two": 3, "one": 4}
    assert draw("one", "two") == {"one": 4, "two": 3}


@pytest.mark.parametrize(
    "ttl", [0, -1, "0s", timedelta(0), "7", "7 days", "d", True, float("nan"), float("inf"), b"7d"]
)
def test_what_is_no_time_to_live(cache, ttl):
    """What is no duration, or none that anything could live for, is an error."""
    with pytest.raises(OptionError, match="ttl="):
        cache.cached_llm(ttl=ttl)
