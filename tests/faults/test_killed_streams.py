"""A process killed in the middle of a stream leaves nothing of it, and its position is free at once."""

from __future__ import annotations

import pytest

STREAM = """
    import sys
    from memollm import cached_llm

    @cached_llm(namespace="e")
    def tell(prompt):
        yield "one"
        if sys.argv[1] == "hang":
            sys.stdin.readline()
        yield "two"

    if __name__ == "__main__":
        for chunk in tell("x"):
            print(chunk)
        print(tell.peek("x"))
"""
WAIT = """
    import memollm
    from stream import tell

    with memollm.namespace("f"):
        print("begun")
        print(list(tell("x")))
"""


@pytest.fixture
def project(project):
    project.write("stream.py", STREAM)
    project.write("wait.py", WAIT)
    return project


def test_a_stream_killed_in_the_middle_leaves_its_position_to_the_next(project):
    """P3, P5: kill -9 between two chunks; nothing is stored, and the next program streams into the same slot."""
    victim = project.start("stream.py", "hang")
    assert victim.line() == "one"
    victim.kill()
    assert project.run("stream.py", "go") == ["one", "two", "[['one', 'two']]"]


def test_a_reader_takes_over_from_a_stream_that_was_killed(project):
    """P5: who waits in another process for the slot that is streaming takes over when the streamer dies."""
    victim = project.start("stream.py", "hang")
    assert victim.line() == "one"
    heir = project.start("wait.py", "go")
    assert heir.line() == "begun"
    victim.kill()
    assert heir.finish() == ["['one', 'two']"]
