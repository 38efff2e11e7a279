"""Programs that are run again, share a run, or start children draw the samples that the contract promises."""

from __future__ import annotations

import pytest

MODEL = """
    import os, sys, uuid
    from memollm import cached_llm

    def make(prompt):
        # One write of one line to a file opened for appending is atomic, whoever else writes.
        log = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, (prompt + "\\n").encode())
        os.close(log)
        return uuid.uuid4().hex

    @cached_llm
    def ask(prompt):
        return make(prompt)

    @cached_llm(namespace="e")
    def ask_on(prompt):
        return make(prompt)
"""
TWICE = """
    from model import ask
    print(ask("x"))
    print(ask("x"))
"""
TWICE_ON = """
    from model import ask_on as ask
    print(ask("x"))
    print(ask("x"))
"""
CHILDREN = """
    import multiprocessing, sys
    from model import ask

    def draw(_):
        return [ask("x"), ask("x")]

    def child(queue):
        queue.put(draw(None))

    if __name__ == "__main__":
        method, first = sys.argv[1:]
        context = multiprocessing.get_context(method)
        if first == "parent-first":
            print(ask("x"))
        queue = context.Queue()
        children = [context.Process(target=child, args=(queue,)) for _ in range(3)]
        for process in children:
            process.start()
        for process in children:
            print(*queue.get(), sep="\\n")
        for process in children:
            process.join()
            assert process.exitcode == 0
        with context.Pool(2) as pool:
            for drawn in pool.map(draw, range(3)):
                print(*drawn, sep="\\n")
        print(ask("x"))
"""


@pytest.fixture
def project(project):
    project.write("model.py", MODEL)
    project.write("twice.py", TWICE)
    project.write("twice_on.py", TWICE_ON)
    project.write("children.py", CHILDREN)
    return project


def test_a_rerun_of_a_program_replays_its_samples_for_nothing(project):
    """P2: the bare decorator gives two samples within a run, and a second process prints the same two."""
    first = project.run("twice.py")
    assert len(set(first)) == 2
    assert project.run("twice.py") == first
    assert len(project.lines("calls")) == 2


def test_a_rerun_with_a_namespace_goes_on(project):
    """P1: a namespace outlives the process, so the second run prints new samples."""
    first = project.run("twice_on.py")
    second = project.run("twice_on.py")
    assert len({*first, *second}) == 4
    assert len(project.lines("calls")) == 4


def test_the_environment_names_the_namespace(project):
    """P1: MEMOLLM_NAMESPACE makes a program's runs one reader, which another namespace does not move."""
    first = project.run("twice.py", MEMOLLM_NAMESPACE="n")
    second = project.run("twice.py", MEMOLLM_NAMESPACE="n")
    assert len({*first, *second}) == 4
    assert project.run("twice.py", MEMOLLM_NAMESPACE="m") == first
    assert len(project.lines("calls")) == 4


def test_separate_programs_share_a_named_run(project):
    """P1: with MEMOLLM_RUN two programs are one reader; without it each reads from the start."""
    first = project.run("twice.py", MEMOLLM_RUN="r")
    second = project.run("twice.py", MEMOLLM_RUN="r")
    assert len({*first, *second}) == 4
    assert project.run("twice.py") == first


def test_the_environment_names_the_place(project):
    """MEMOLLM_CACHE says where samples lie: another place has none of them, and nothing is made elsewhere."""
    elsewhere = project.folder / "elsewhere"
    first = project.run("twice.py", MEMOLLM_CACHE=str(elsewhere))
    assert not project.database.exists()
    assert (elsewhere / "memollm.db").exists()
    assert project.run("twice.py", MEMOLLM_CACHE=str(elsewhere)) == first
    assert not {*first} & {*project.run("twice.py")}


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("fork", "parent-first"),
        ("fork", "children-first"),
        ("spawn", "children-first"),
        ("forkserver", "parent-first"),
        pytest.param("spawn", "parent-first", marks=pytest.mark.deep),
        pytest.param("forkserver", "children-first", marks=pytest.mark.deep),
    ],
)
def test_children_belong_to_the_run_of_their_parent(project, method, first):
    """P1: whatever the start method, a process and its multiprocessing children never draw the same sample."""
    drawn = project.run("children.py", method, first)
    assert len(drawn) == (14 if first == "parent-first" else 13)
    assert len({*drawn}) == len(drawn) == len(project.lines("calls"))
    again = project.run("children.py", method, first)
    assert {*again} == {*drawn}
    assert len(project.lines("calls")) == len(drawn)
