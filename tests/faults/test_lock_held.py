"""While somebody else holds the write lock, a draw waits and the event loop goes on."""

from __future__ import annotations

import asyncio

import pytest
from models import run

import memollm
from memollm import Cache

TICKS = 50

HOLDER = """
    import sys
    from memollm.stores.sqlite.filelocks import lock_descriptor
    lock = open(sys.argv[1] + ".lock", "r+")
    while not lock_descriptor(lock.fileno(), blocking=False):
        pass
    print("held")
    sys.stdin.readline()
"""
STRANGER = """
    import sqlite3, sys
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    print("held")
    sys.stdin.readline()
    connection.execute("COMMIT")
    connection.close()
"""


@pytest.fixture(params=[HOLDER, STRANGER], ids=["our-lock", "foreign-transaction"])
def holder(request, project):
    project.write("holder.py", request.param)
    return lambda: project.start("holder.py", project.database)


@pytest.fixture
def cache(project):
    with Cache(project.database) as cache:
        yield cache


def decorated(cache, namespace):
    @cache.cached_llm(namespace=namespace, name="ask", version="1")
    async def ask(prompt):
        return prompt

    return ask


async def begun_while_held(holder, ask):
    """Begin a draw while a program holds the lock, and let the loop come round for other tasks."""
    program = holder()
    assert program.line() == "held"
    hit = asyncio.create_task(ask("x"))
    for _ in range(TICKS):
        await asyncio.sleep(0.001)
    return program, hit


def test_a_hit_waits_for_the_lock_without_stopping_other_tasks(cache, holder):
    """P12: a ticker keeps its beat while a hit waits for a lock held elsewhere; let go, the hit comes through."""

    async def main():
        await decorated(cache, "a")("x")
        program, hit = await begun_while_held(holder, decorated(cache, "b"))
        assert not hit.done()
        program.say()
        return await hit

    assert run(main()) == "x"


def test_the_first_use_waits_for_the_lock_without_stopping_other_tasks(cache, project, holder):
    """P12: the same when the file has yet to be opened."""
    with Cache(project.database) as other:
        run(decorated(other, "a")("x"))

    async def main():
        program, hit = await begun_while_held(holder, decorated(cache, "b"))
        assert not hit.done()
        program.say()
        return await hit

    assert run(main()) == "x"


def test_a_draw_cancelled_while_it_waits_for_the_lock_gives_its_position_back(cache, holder):
    """P3: cancelled before it got the lock, a draw leaves its position to the next one."""

    async def main():
        await decorated(cache, "a")("x")
        program, hit = await begun_while_held(holder, decorated(cache, "b"))
        hit.cancel()
        await asyncio.sleep(0)
        program.say()
        with pytest.raises(asyncio.CancelledError):
            await hit
        await decorated(cache, "b")("x")
        return {one.name: one.draws for one in cache.namespaces()}

    assert run(main()) == {"a": 1, "b": 1}


def test_a_replay_waits_for_nobody_who_writes(cache, holder):
    """P12: what a namespace drew is read while a lock is held elsewhere."""

    async def main():
        ask = decorated(cache, "a")
        await ask("x")
        program = holder()
        assert program.line() == "held"
        with memollm.replay("a"):
            assert await asyncio.wait_for(ask("x"), 10) == "x"
        program.say()

    run(main())


def test_the_first_replay_waits_for_the_lock_without_stopping_other_tasks(cache, project, holder):
    """P12: the same when the file has yet to be opened: whatever waits, the ticker keeps its beat."""
    with Cache(project.database) as other:
        run(decorated(other, "a")("x"))

    async def main():
        with memollm.replay("a"):
            program, replayed = await begun_while_held(holder, decorated(cache, "b"))
        program.say()
        return await replayed

    assert run(main()) == "x"
