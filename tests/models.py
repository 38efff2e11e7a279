"""Functions under test, and models whose every call waits at a gate of its own until the test lets it go."""

from __future__ import annotations

import asyncio
import itertools
import queue
import time

from memollm._spending.shared_clock import shared_clock

PATIENCE = 30.0
"""Seconds after which something has hung."""


def asking(cache, model, **options):
    """Decorate a fake model's plain form."""
    return cache.cached_llm(model.__call__, **{"ignore": "self", "name": "ask", "version": 1, **options})


def asking_async(cache, model, **options):
    """Decorate a fake model's asynchronous form: it has the samples of the plain one."""
    return cache.cached_llm(model.answer, **{"ignore": "self", "name": "ask", "version": 1, **options})


def numbering(cache, start=1, **options):
    """Decorate a function whose answers are numbered over all calls: "x 1", then "y 2"."""
    numbers = itertools.count(start)
    return cache.cached_llm(lambda prompt: f"{prompt} {next(numbers)}", **{"name": "ask", "version": 1, **options})


class Gates:
    """Calls of a plain function: `begun` hands the test each call's gate, into which it puts the answer or an error."""

    def __init__(self):
        self.made = 0
        self._begun = queue.SimpleQueue()

    def fly(self):
        self.made += 1
        gate = queue.SimpleQueue()
        self._begun.put(gate)
        answer = gate.get(timeout=PATIENCE)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def begun(self):
        """Wait for the next call to begin and return its gate."""
        return self._begun.get(timeout=PATIENCE)


class AsyncGates:
    """Calls of a coroutine function: `begun` hands the test each call's future."""

    def __init__(self):
        self.made = 0
        self._begun = []

    async def fly(self):
        self.made += 1
        gate = asyncio.get_running_loop().create_future()
        self._begun.append(gate)
        return await gate

    async def begun(self):
        """Wait for the next call to begin and return its future."""
        await until_in_loop(lambda: self._begun)
        return self._begun.pop(0)


def run(main):
    """Run a coroutine in a new event loop, within the deadline."""
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


async def until_in_loop(condition):
    """Let the other tasks run until something holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0)


def until(condition):
    """Let the other threads run until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def show_time(monkeypatch, now):
    """Let a test say how long calls take, whatever other tests have left in flight."""
    shared_clock.renew()
    monkeypatch.setattr(shared_clock, "now", now)


def ours(caplog):
    """Return what memollm has logged; asyncio may log that it collects a task of a loop that another test closed."""
    return [record for record in caplog.records if record.name.startswith("memollm")]


def waiting(cache):
    """Count who waits, in this process, for a slot that another of its draws is filling."""
    aloft = list(cache.store.flights.under_way.values())
    return sum(len(signal._callbacks) for places in aloft for signal in list(places.values()))
