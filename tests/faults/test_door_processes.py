"""The lower door in real processes: threads and tasks look up, update and walk away; nothing is lost or repeated."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import NamedTuple

import pytest

WORKER = """
    import asyncio, os, random, sys, threading, uuid
    import memollm
    from memollm import Cache

    number, rounds = map(int, sys.argv[1:])
    cache = Cache()
    doors = {name: cache.door("judge", version="1", namespace=name) for name in "ef"}
    memo = cache.door("memo", version="1", pool=1)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    made = os.open("made", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def tell(*words):
        os.write(log, (" ".join(words) + "\\n").encode())

    def plan(choose):
        # A batch of lookups, and for each what becomes of a miss.
        reader = choose.choice("ef")
        batch = [f"p{choose.randrange(6)}" for _ in range(choose.choice([1, 1, 1, 2, 3]))]
        return reader, [(prompt, choose.random() < 0.7) for prompt in batch], choose.random() < 0.3

    def round_of(choose):
        reader, batch, gives_up = plan(choose)
        door, missed = doors[reader], []
        for prompt, is_updated in batch:
            found = door.lookup(prompt)
            if found is not None:
                tell(reader, prompt, found)
            elif is_updated:
                missed.append(prompt)
            else:
                missed.append(None)
        # Of one material the first lookup is the first to be updated, so that what fails is what comes last.
        for prompt in {p for p in missed if p is not None}:
            for _ in range(missed.count(prompt)):
                answer = uuid.uuid4().hex
                door.update(prompt, answer)
                tell(reader, prompt, answer)
        if gives_up:
            door.abandon()

    async def round_of_task(choose):
        reader, batch, gives_up = plan(choose)
        door, missed = doors[reader], []
        for prompt, is_updated in batch:
            found = await door.alookup(prompt)
            if found is not None:
                tell(reader, prompt, found)
            elif is_updated:
                missed.append(prompt)
            await asyncio.sleep(0)
        for prompt in missed:
            answer = uuid.uuid4().hex
            await door.aupdate(prompt, answer)
            tell(reader, prompt, answer)
        if gives_up:
            door.abandon()

    def wanted(name):
        # One slot for all: whoever gets it may give it up, and then it is another's.
        for turn in range(rounds // 4):
            prompt = f"m{turn}"
            if memo.lookup(prompt) is None and not (turn + number) % 3:
                memo.abandon()
                if memo.lookup(prompt) is not None:
                    continue
            elif memo.peek(prompt):
                continue
            os.write(made, (prompt + "\\n").encode())
            memo.update(prompt, name)

    def thread(index):
        choose = random.Random(number * 100 + index)
        for _ in range(rounds):
            round_of(choose)
        doors["e"].abandon()
        wanted(f"{number}.{index}")

    async def task(index):
        choose = random.Random(number * 100 + index)
        for turn in range(rounds):
            if turn % 3:
                await round_of_task(choose)
            else:
                # A task of its own, whose end lets go of what it has not updated.
                await asyncio.create_task(round_of_task(choose))

    async def tasks():
        await asyncio.gather(*(task(index) for index in range(3, 6)))

    print("ready")
    sys.stdin.readline()
    threads = [threading.Thread(target=thread, args=(index,)) for index in range(3)]
    for each in threads:
        each.start()
    asyncio.run(tasks())
    for each in threads:
        each.join()
"""
DRAIN = """
    import uuid
    from memollm import Cache, CacheMiss, mode

    cache = Cache()
    for reader in "ef":
        door = cache.door("judge", version="1", namespace=reader)
        for number in range(6):
            prompt, answer = f"p{number}", None
            while answer is None or answer != door.peek(prompt)[-1]:
                answer = door.draw(prompt, lambda: uuid.uuid4().hex)
                print(reader, prompt, answer)

    # The second reader may have made one more of what the first has drawn to its end.
    with mode("offline"):
        for reader in "ef":
            door = cache.door("judge", version="1", namespace=reader)
            for prompt in [f"p{number}" for number in range(6)]:
                try:
                    while True:
                        print(reader, prompt, door.draw(prompt, lambda: None))
                except CacheMiss:
                    pass
"""
LOOKUP = """
    import sys
    from memollm import Cache

    door = Cache().door("judge", version="1", pool=1)
    print(door.lookup("x"))
    sys.stdin.readline()
    door.update("x", "second")
"""


class Drawn(NamedTuple):
    """A line of the log."""

    reader: str
    prompt: str
    answer: str


@pytest.mark.parametrize("rounds", [20, pytest.param(400, marks=pytest.mark.deep)])
def test_abandoned_lookups_lose_and_repeat_nothing(project, rounds):
    """P1, P3, P5: 4 processes of 3 threads and 3 tasks each, many of which never update what they looked up."""
    project.write("worker.py", WORKER)
    project.write("drain.py", DRAIN)
    workers = [project.start("worker.py", number, rounds, deadline=60 + rounds) for number in range(4)]
    for worker in workers:
        assert worker.line() == "ready"
    for worker in workers:
        worker.say()
    for worker in workers:
        worker.finish()
    drawn = [Drawn(*line.split()) for line in [*project.lines("log"), *project.run("drain.py")]]
    assert not [each for each, times in Counter(drawn).items() if times > 1]
    with closing(sqlite3.connect(project.database)) as connection:
        calls = connection.execute("SELECT call, count(*), max(slot) FROM sample GROUP BY call").fetchall()
        (claims,) = connection.execute("SELECT count(*) FROM claim").fetchone()
        # What was given back past the last sample is the next to be drawn, and no gap.
        gaps = connection.execute(
            "SELECT count(*) FROM loose WHERE (call, position) IN (SELECT call, slot FROM sample)"
        )
        assert (claims, gaps.fetchone()) == (0, (0,))
    assert all(count == highest + 1 for _, count, highest in calls)
    assert max(Counter(project.lines("made")).values()) == 1


def test_a_killed_process_is_replaced_at_once(project):
    """P5: who waits for what a process looked up is next when that dies, long before any lease ends."""
    project.write("lookup.py", LOOKUP)
    first = project.start("lookup.py")
    assert first.line() == "None"
    second = project.start("lookup.py")
    first.kill()
    assert second.line() == "None"
    second.say()
    second.finish()
    third = project.start("lookup.py")
    assert third.line() == "second"
    third.say()
    third.finish()
