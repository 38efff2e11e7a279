"""Counts over processes: they add up to what was drawn, whoever is killed or forked."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing

import pytest

from memollm import Cache

MODEL = """
    from memollm import cached_llm, configure

    configure(prices={"small": (2.0, 10.0)})

    @cached_llm(namespace="a", name="ask", version=1)
    def ask(prompt):
        return {"text": prompt, "model": "small", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    @cached_llm(pool=1, name="embed", version=1)
    def embed(text):
        return [1.0, 2.0]
"""
WORKER = """
    import sys
    from model import ask, embed

    who, samples = sys.argv[1], int(sys.argv[2])
    for number in range(samples):
        ask(f"{who} {number}")
        ask.with_options(namespace="b")(f"{who} {number}")
        embed("the same")
    print("drawn")
    sys.stdin.readline()
"""
CHILDREN = """
    import multiprocessing, sys
    from model import ask, embed

    def child(number):
        ask(f"child {number}")
        embed("x")

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        # Counted here, and not handed over yet when the children begin.
        for _ in range(3):
            embed("x")
        children = [context.Process(target=child, args=(number,)) for number in range(3)]
        for process in children:
            process.start()
        for process in children:
            process.join()
            assert process.exitcode == 0
        with context.Pool(2) as pool:
            pool.map(child, range(3, 6), chunksize=1)
            pool.close()
            pool.join()
        embed("x")
"""
DEADLINE = 60.0


@pytest.fixture
def project(project):
    project.write("model.py", MODEL)
    project.write("worker.py", WORKER)
    project.write("children.py", CHILDREN)
    return project


def stats(project, by="function"):
    with Cache(project.folder / ".memollm") as cache:
        return cache.stats(by)


def numbers(line):
    return (line.draws, line.hits, line.shared, line.paid)


def counted(project):
    """Read how many draws were counted so far, as another process sees them."""
    if not project.database.exists():
        return 0
    with Cache(project.folder / ".memollm") as cache:
        return cache.stats().total.draws


def test_four_processes_count_to_the_cent(project):
    """What four processes drew is the sum of what each drew, in draws, tokens and dollars."""
    workers = [project.start("worker.py", who, 25) for who in "wxyz"]
    for worker in workers:
        assert worker.line() == "drawn"
        worker.say()
    for worker in workers:
        worker.finish()
    found = stats(project)
    ask, embed = found["ask"], found["embed"]
    assert numbers(ask) == (200, 100, 0, 100)
    assert (embed.draws, embed.paid) == (100, 1)
    assert embed.hits + embed.shared == 99
    assert ask.spent[1:3] == (100_000, 10_000)
    assert round(ask.spent.cost, 2) == round(ask.saved.cost, 2) == 0.30
    assert ask.saved[1:3] == (100_000, 10_000)
    assert [line.name for line in stats(project, "namespace")] == ["(none)", "a", "b"]
    assert len(stats(project, "run")) == 4


def test_a_killed_process_loses_its_last_batch_at_most(project):
    """Counts that were handed over stay; of the other processes nothing is missing."""
    workers = [project.start("worker.py", who, 25) for who in "wxyz"]
    for worker in workers:
        assert worker.line() == "drawn"
    # About a second after they were drawn, all counts are in the store, although nobody has ended.
    deadline = time.monotonic() + DEADLINE
    while counted(project) < 300:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    late = project.start("worker.py", "late", 25)
    assert late.line() == "drawn"
    for killed in (workers.pop(), late):
        killed.kill()
    for worker in workers:
        worker.say()
        worker.finish()
    found = stats(project)
    assert 200 <= found["ask"].draws <= 250
    assert 100 <= found["embed"].draws <= 125
    assert found["ask"].spent.input_tokens == 1000 * found["ask"].paid
    # What it made was not lost with its counts.
    with closing(sqlite3.connect(project.database)) as connection:
        (samples,) = connection.execute("SELECT count(*) FROM sample").fetchone()
    assert samples == 126


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_count(project, method):
    """Every child hands its counts over at its end, and a forked one leaves its parent's to the parent."""
    project.run("children.py", method)
    found = stats(project)
    assert numbers(found["ask"]) == (6, 0, 0, 6)
    embed = found["embed"]
    assert (embed.draws, embed.hits, embed.paid) == (10, 9, 1)
    assert len(stats(project, "run")) == 1


def test_a_bare_fork_counts_for_itself(project):
    """After os.fork both go on counting, each what it drew itself."""
    project.write(
        "fork.py",
        """
        import os, sys
        from model import embed

        embed("x")
        embed("x")
        child = os.fork()
        if not child:
            embed("x")
            # Ends as a program does, and not as a child of multiprocessing.
            sys.exit()
        os.waitpid(child, 0)
        embed("x")
        """,
    )
    project.run("fork.py")
    assert numbers(stats(project)["embed"]) == (4, 3, 0, 1)


def test_a_program_that_fails_has_counted(project):
    """What was drawn before an uncaught exception is counted."""
    project.write("fail.py", 'from model import embed\nembed("x")\nembed("x")\nraise SystemExit(3)\n')
    assert project.start("fail.py").wait() == 3
    assert numbers(stats(project)["embed"]) == (2, 1, 0, 1)


def test_threads_that_outlive_the_main_one_are_counted(project):
    """The program ends when its last thread does, and so does the counting."""
    project.write(
        "thread.py",
        """
        import threading
        from model import embed

        over = threading.Event()
        thread = threading.Thread(target=lambda: (over.wait(), [embed("x") for _ in range(10)]))
        thread.start()
        embed("x")
        threading.Timer(0.05, over.set).start()
        """,
    )
    project.run("thread.py")
    assert stats(project)["embed"].draws == 11
