"""Time that a clock on the wall would show: what calls in flight at once took is shared among them (P14)."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import threading
from contextvars import copy_context

import pytest
from models import PATIENCE, AsyncGates, Gates, run, show_time
from simulated import simulated

import memollm
from memollm import Cache
from memollm._spending.shared_clock import SharedClock
from memollm._views.report import collect
from memollm.testing import FakeClock, ModelDown

PROMPTS, SAMPLES, AT_ONCE, LATENCY = 15, 20, 10, 0.6
"""A pass@k run whose function waits for a semaphore inside: on the wall it takes 300 calls / 10 at once * 0.6 s."""
WALL = PROMPTS * SAMPLES / AT_ONCE * LATENCY


class Each:
    """A call in flight."""


@pytest.fixture
def clock(monkeypatch):
    """Let the process's clock stand, until the test moves it."""
    made = FakeClock()
    show_time(monkeypatch, made)
    return made


@pytest.mark.parametrize("seed", range(20))
def test_what_all_calls_took_adds_up_to_the_time_in_which_any_was_in_flight(seed):
    """Whoever begins and ends when: the shares are that time, no more and no less."""
    chance = random.Random(seed)
    steps = [(chance.randrange(8), chance.randrange(6)) for _ in range(chance.randrange(60))]
    now, wall, shares, begun = [0.0], 0.0, 0.0, {}
    clock = SharedClock(lambda: now[0])
    for number, passed in [*steps, *((number, 1) for number in range(8))]:
        now[0] += passed
        wall += passed if begun else 0
        if number in begun:
            who, before = begun.pop(number)
            shares += clock.end(who) - before
        else:
            who = Each()
            begun[number] = who, clock.begin(who)
    for who, before in begun.values():
        shares += clock.end(who) - before
    assert shares == pytest.approx(wall)


def test_what_began_in_another_process_takes_no_time_here():
    """A forked child leaves what was in flight to its parent."""
    clock, who = SharedClock(FakeClock()), Each()
    clock.begin(who)
    clock.renew()
    assert clock.end(who) is None


def test_a_pass_at_k_run_says_what_the_clock_on_the_wall_says(tmp_path, monkeypatch):
    """The semaphore is inside the function, and still 300 calls spend 18 s, and their rerun saves as much."""
    shown = {}

    async def experiment(ask, name):
        told = []
        with memollm.track() as tracked, memollm.namespace(name):
            await ask.map([*range(PROMPTS)], concurrency=PROMPTS, progress=told.append)
        shown[name] = tracked, told[-1]

    with Cache(tmp_path / "cache") as cache:
        room = []

        @cache.cached_llm(name="ask", version=1, n=SAMPLES)
        async def ask(prompt):
            async with room[0]:
                await asyncio.sleep(LATENCY)
            return f"answer {prompt}"

        async def main():
            room.append(asyncio.Semaphore(AT_ONCE))
            show_time(monkeypatch, asyncio.get_running_loop().time)
            await experiment(ask, "first")
            await experiment(ask, "again")

        _, wall = simulated(cache, main())
        stats = cache.stats()
        report = collect(cache, place="", made=0.0, show=())
    command = [sys.executable, "-m", "memollm", "--cache", str(tmp_path / "cache"), "stats"]
    listed = subprocess.check_output(command, encoding="utf-8", timeout=PATIENCE)
    assert wall == pytest.approx(WALL, abs=0.5)
    tracked, bar = shown["first"]
    assert tracked.spent.seconds == pytest.approx(wall, rel=0.01)
    assert bar.spent == tracked.spent
    assert " 0:18 spent, 0:00 saved" in str(bar)
    assert max(draw.latency for draw in tracked.draws) > 10
    tracked, bar = shown["again"]
    assert tracked.saved.seconds == pytest.approx(wall, rel=0.01)
    assert bar.saved == tracked.saved
    assert " 0:00 spent, 0:18 saved" in str(bar)
    assert (stats.total.spent.seconds, stats.total.saved.seconds) == pytest.approx((wall, wall), rel=0.01)
    assert "18 s" in str(stats)
    assert (report.total.spent_seconds, report.total.saved_seconds) == pytest.approx((wall, wall), rel=0.01)
    assert listed.count("18 s") >= 2


def test_two_in_flight_at_once_share_the_time(cache, clock):
    """One that is alone takes all of it; each keeps its own latency."""
    gates = Gates()
    ask = cache.cached_llm(lambda prompt: gates.fly(), namespace="a", name="ask", version=1)
    with memollm.track() as tracked:
        threads = [threading.Thread(target=copy_context().run, args=(ask, prompt)) for prompt in "xy"]
        threads[0].start()
        first = gates.begun()
        clock.advance(1)
        threads[1].start()
        second = gates.begun()
        clock.advance(4)
        first.put("one")
        threads[0].join()
        clock.advance(2)
        second.put("two")
        threads[1].join()
    assert [(draw.seconds, draw.latency) for draw in tracked.draws] == [(3, 5), (4, 6)]
    assert tracked.spent.seconds == 7


def test_a_function_that_calls_another_shares_with_it(cache, clock):
    """Both are in flight while the inner one runs, and the sum is no more than passed."""

    @cache.cached_llm(namespace="a", name="inner", version=1)
    def inner(prompt):
        clock.advance(4)
        return prompt

    @cache.cached_llm(namespace="a", name="outer", version=1)
    def outer(prompt):
        clock.advance(1)
        return inner(prompt)

    outer("x")
    stats = cache.stats()
    assert [(line.name, line.spent.seconds) for line in stats] == [("inner", 2), ("outer", 3)]


def test_a_call_that_failed_took_its_time(cache, clock):
    """What was waited for in vain was waited for; it saves nothing."""

    @cache.cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        clock.advance(3)
        raise ModelDown

    with memollm.track() as tracked, pytest.raises(ModelDown):
        ask("x")
    assert (tracked.failed, tracked.paid, tracked.spent.seconds, tracked.draws) == (1, 0, 3, [])


@pytest.mark.parametrize("fails", [False, True])
def test_items_that_gather_take_the_time_of_their_common_call(cache, clock, fails):
    """What waits to be served together with others is not in flight."""
    gates = AsyncGates()

    @cache.cached_llm(batch="prompts", gather=memollm.Gather(max_size=3, max_wait=3600), name="each", version=1)
    async def each(prompts):
        return await gates.fly()

    async def main():
        with memollm.track() as tracked:
            tasks = [asyncio.create_task(each.one(prompt)) for prompt in "xyz"]
            gate = await gates.begun()
            clock.advance(6)
            if fails:
                gate.set_exception(ModelDown())
            else:
                gate.set_result(["X", "Y", "Z"])
            await asyncio.wait(tasks)
            assert all((task.exception() is not None) == fails for task in tasks)
        return tracked

    tracked = run(main())
    assert tracked.spent.seconds == pytest.approx(6)
    assert [(draw.seconds, draw.latency) for draw in tracked.draws] == ([] if fails else [(2, 6)] * 3)


def test_a_stream_takes_time_while_it_makes_chunks(cache, clock):
    """What its reader takes between them is the reader's."""

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        for word in ("one", "two"):
            clock.advance(2)
            yield word

    with memollm.track() as tracked:
        for _ in tell("x"):
            clock.advance(10)
    assert (tracked.spent.seconds, tracked.draws[0].latency) == (4, 4)
