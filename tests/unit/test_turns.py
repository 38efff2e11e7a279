"""The turns of an event loop: whatever is asked for at once, the loop goes on between the draws (P12)."""

from __future__ import annotations

import asyncio

import pytest
from models import run

from memollm._drive.introduction import Introduction
from memollm._drive.turns import FIRST_SOME, turns
from memollm.stores.flights import Signal


async def passes_until(done):
    """Count the passes of the loop until something is done."""
    passes = 0
    while not done():
        passes += 1
        await asyncio.sleep(0)
    return passes


def test_who_waits_for_one_event_goes_on_some_at_a_time():
    """A thousand tasks that a single answer wakes do not hold the loop in one piece."""

    async def main():
        signal, tasks = Signal(), 10 * FIRST_SOME
        woken = [turns().until(signal) for _ in range(tasks)]
        signal.set()
        most = before = 0
        while before < tasks:
            await asyncio.sleep(0)
            now = sum(future.done() for future in woken)
            most, before = max(most, now - before), now
        return most

    # After a quick pass twice as many may go on.
    assert run(main()) <= 4 * FIRST_SOME


@pytest.mark.parametrize("stored", ["remembered", "in the store"])
def test_a_burst_of_hits_lets_the_loop_go_on(cache, monkeypatch, stored):
    """Where a pass has had its share, hits wait for a later one, and other tasks run in between."""
    monkeypatch.setattr("memollm._drive.turns.A_PASS", 0.0)
    options = {"pool": 1} if stored == "remembered" else {}

    @cache.cached_llm(name="ask", version=1, **options)
    async def ask(prompt):
        return [prompt]

    async def main():
        await ask("x")
        burst = asyncio.gather(*(ask("x") for _ in range(50)))
        return await passes_until(burst.done), await burst

    passes, answers = run(main())
    assert passes > 50
    assert answers == [["x"]] * 50


def test_a_burst_that_comes_first_waits_for_one_introduction(cache, monkeypatch):
    """A thousand tasks that ask before a function is known make nothing each but what they wait by."""
    made = []

    class Counted(Introduction):
        def __init__(self, *given):
            made.append(1)
            super().__init__(*given)

    monkeypatch.setattr("memollm._calls.invocation.Introduction", Counted)

    @cache.cached_llm(name="ask", version=1)
    async def ask(prompt):
        return prompt

    async def main():
        return await asyncio.gather(*(ask(f"{nth}") for nth in range(50)))

    assert run(main()) == [f"{nth}" for nth in range(50)]
    assert len(made) == 1
