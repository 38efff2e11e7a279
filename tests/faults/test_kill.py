"""Processes are killed at random moments: no sample is given twice, none is lost, and nobody waits for the dead."""

from __future__ import annotations

import random
import sqlite3
import time
from collections import Counter
from contextlib import closing
from typing import NamedTuple

import pytest

from memollm._values.codec import Codec

THREADS = 4
LINE = 51
"""Bytes of a line in the log of draws."""
LONGEST_WAIT = 15.0
"""Seconds. A second is promised; the rest is for a machine that is busy with other things."""

WORKER = """
    import os, sys, threading, time
    from model import reader

    seed, prompts, readers, enough = map(int, sys.argv[1:])
    log = os.open("drawn", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def draw(number):
        name = "ef"[number % readers]
        ask, at = reader(name), seed + number
        while os.fstat(log).st_size < enough:
            at += 7
            prompt = f"p{at % prompts}"
            begun = time.monotonic()
            answer = ask(prompt)
            waited = time.monotonic() - begun
            # One write to a file opened for appending: it is there, whole, before the next draw.
            os.write(log, f"{name} {prompt:4} {answer} {waited:10.4f}\\n".encode())

    threads = [threading.Thread(target=draw, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    print("drawing")
    for thread in threads:
        thread.join()
"""
MODEL = """
    import time, uuid
    from memollm import cached_llm

    def reader(namespace):
        @cached_llm(namespace=namespace, name="ask", version="1")
        def ask(prompt):
            # A model takes its time, so that there is always something to kill in its middle.
            time.sleep(0.002)
            return uuid.uuid4().hex

        return ask
"""
DRAIN = """
    import sys
    from model import reader

    prompts, readers = map(int, sys.argv[1:])
    for name in "ef"[:readers]:
        ask = reader(name)
        for number in range(prompts):
            prompt, answer = f"p{number}", None
            # Positions that were given back come first, so who draws the highest slot has drawn all of them.
            while answer is None or answer != ask.peek(prompt)[-1]:
                answer = ask(prompt)
                print(name, prompt, answer)
"""


class Size(NamedTuple):
    """How much is drawn, by whom, and how often each process is killed."""

    processes: int
    samples: int
    prompts: int
    readers: int
    kills: int


class Drawn(NamedTuple):
    """A line of the log."""

    reader: str
    prompt: str
    answer: str
    waited: float = 0.0


CI = [
    pytest.param(Size(6, 1000, 20, readers=1, kills=1), id="one-reader"),
    pytest.param(Size(3, 450, 20, readers=2, kills=2), id="two-readers"),
]
DEEP = [
    pytest.param(Size(8, 20_000, 20, readers=1, kills=8), id="one-reader"),
    pytest.param(Size(8, 10_000, 20, readers=2, kills=8), id="two-readers"),
]


@pytest.mark.parametrize("size", CI)
def test_killed_processes_lose_and_repeat_nothing(project, size):
    """P1, P3, P5, P7: after SIGKILL at random moments every draw was distinct, kept, and leaves no gap behind."""
    stress(project, size, seed=1)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("size", DEEP)
def test_many_killed_processes_lose_and_repeat_nothing(project, size, seed):
    """P1, P3, P5, P7: the same over more draws, more deaths and several orders of them."""
    stress(project, size, seed, deadline=600)


def stress(project, size, seed, deadline=90):
    project.write("model.py", MODEL)
    project.write("worker.py", WORKER)
    project.write("drain.py", DRAIN)
    kills = kill_while_drawing(project, size, random.Random(seed), time.monotonic() + deadline)
    logged = [read_line(line) for line in project.lines("drawn")]
    drained = [Drawn(*line.split()) for line in project.run("drain.py", size.prompts, size.readers)]
    assert len(logged) >= size.samples
    assert kills == size.processes * size.kills
    check(project, size, [*logged, *drained], kills)
    assert max(drawn.waited for drawn in logged) < LONGEST_WAIT


def kill_while_drawing(project, size, choose, deadline):
    """Run the workers; kill and restart each at random marks of their progress. Return how many were killed."""

    def start(number):
        enough = size.samples * LINE
        return project.start("worker.py", choose.randrange(1000), size.prompts, size.readers, enough, deadline=300)

    marks = [(choose.randrange(size.samples), number) for number in range(size.processes) for _ in range(size.kills)]
    workers = {number: start(number) for number in range(size.processes)}
    killed = 0
    log = project.folder / "drawn"
    log.touch()
    for mark, number in sorted(marks):
        while log.stat().st_size < mark * LINE:
            assert time.monotonic() < deadline
            time.sleep(0.001)
        if workers[number].line() == "drawing":
            workers[number].kill()
            # No draw failed, and no answer went unstored, before that.
            assert not workers[number].errors()
            workers[number] = start(number)
            killed += 1
    for worker in workers.values():
        worker.finish()
    return killed


def read_line(line):
    reader, prompt, answer, waited = line.split()
    return Drawn(reader, prompt, answer, float(waited))


def check(project, size, draws, kills):
    assert not [drawn for drawn, times in Counter(draw[:3] for draw in draws).items() if times > 1]
    with closing(sqlite3.connect(project.database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        calls = connection.execute("SELECT call, count(*), max(slot) FROM sample GROUP BY call").fetchall()
        stored = {Codec().decode(record) for (record,) in connection.execute("SELECT record FROM sample")}
        left = connection.execute("SELECT (SELECT count(*) FROM claim), (SELECT count(*) FROM loose)").fetchone()
    assert len(calls) == size.prompts
    assert all(count == highest + 1 for _, count, highest in calls)
    assert left == (0, 0)
    for reader in "ef"[: size.readers]:
        answers = {draw.answer for draw in draws if draw.reader == reader}
        assert answers <= stored
    # A slot that was committed as delivered, by a process killed before it could say so, is all that may be missing.
    if size.readers == 1:
        assert len(stored) - len(draws) <= kills * THREADS


def test_a_draw_that_is_killed_between_its_calls_gives_everything_back(project):
    """P3: of two samples one is made and kept; who draws again gets that one first."""
    project.write(
        "ask.py",
        """
        from memollm import cached_llm

        @cached_llm(namespace="n", name="ask", version=1)
        def ask(prompt):
            print("called")
            return input()

        print(ask.draw(2, "x"))
        """,
    )
    killed = project.start("ask.py")
    assert killed.line() == "called"
    killed.say("one")
    assert killed.line() == "called"
    killed.kill()
    again = project.start("ask.py")
    assert again.line() == "called"
    again.say("two")
    assert again.finish() == ["['one', 'two']"]
