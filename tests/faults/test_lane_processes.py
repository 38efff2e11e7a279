"""Lanes in real processes: each draws the same in every run, in whichever process and order, and through a kill."""

from __future__ import annotations

import random

import pytest

MODEL = """
    import os, uuid
    from memollm import cached_llm

    @cached_llm(name="ask", version=1)
    def ask(prompt):
        log = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, (prompt + "\\n").encode())
        os.close(log)
        return uuid.uuid4().hex
"""
LANES = """
    import random, sys, time
    import memollm
    from model import ask

    print("ready")
    seed, *names = sys.stdin.readline().split()
    delays = random.Random(seed)
    for turn in range(3):
        for name in names:
            time.sleep(delays.random() / 200)
            with memollm.lane(name):
                for prompt in ("common", "shared"):
                    print(name, prompt, ask(prompt))
"""
CUT = """
    import sys
    import memollm
    from model import ask

    with memollm.lane(sys.argv[1]):
        while sys.stdin.readline().strip() == "draw":
            print(ask("common"))
"""
PROCESSES = 4
NAMES = [f"agent-{number}" for number in range(12)]


@pytest.fixture
def project(project):
    project.write("model.py", MODEL)
    project.write("lanes.py", LANES)
    project.write("cut.py", CUT)
    return project


def draw(project, seed, names, **env):
    """Divide the lanes among processes anew, and return what each lane drew."""
    shuffled = random.Random(seed).sample(names, len(names))
    programs = [project.start("lanes.py", **env) for _ in range(PROCESSES)]
    for program in programs:
        assert program.line() == "ready"
    for number, program in enumerate(programs):
        program.say(" ".join([str(seed * PROCESSES + number), *shuffled[number::PROCESSES]]))
    drawn = {}
    for program in programs:
        for line in program.finish():
            name, prompt, answer = line.split()
            drawn.setdefault((name, prompt), []).append(answer)
    return drawn


def answers(drawn):
    return [answer for each in drawn.values() for answer in each]


def test_lanes_of_a_shared_run_in_four_processes(project):
    """P1, P2: processes of one run give every lane the same in each run, whichever of them it is in."""
    first = draw(project, 0, NAMES, MEMOLLM_RUN="run-0")
    assert len(set(answers(first))) == len(answers(first)) == len(NAMES) * 6 == len(project.lines("calls"))
    for seed in (1, 2):
        assert draw(project, seed, NAMES, MEMOLLM_RUN=f"run-{seed}") == first
    more = draw(project, 9, [*NAMES, "late-1", "late-2"], MEMOLLM_RUN="run-9")
    assert {key: more[key] for key in first} == first
    assert len(set(answers(more))) == len(answers(more)) == (len(NAMES) + 2) * 6 == len(project.lines("calls"))


def test_a_lane_goes_on_where_a_killed_process_left_it(project):
    """P1, P3: another process goes on with the lanes of a namespace, without a gap and without a repetition."""
    env = {"MEMOLLM_NAMESPACE": "a"}
    one, two = project.start("cut.py", "one", **env), project.start("cut.py", "two", **env)
    drawn = {"one": [], "two": []}
    for _ in range(3):
        for name, program in (("one", one), ("two", two)):
            program.say("draw")
            drawn[name].append(program.line())
    one.kill()
    two.say("stop")
    two.finish()
    again = project.start("cut.py", "one", **env)
    for _ in range(2):
        again.say("draw")
        drawn["one"].append(again.line())
    again.say("stop")
    again.finish()
    assert len({*drawn["one"], *drawn["two"]}) == 8 == len(project.lines("calls"))
    project.write(
        "replay.py",
        """
        import sys
        import memollm
        from model import ask

        for name, number in zip(sys.argv[1::2], map(int, sys.argv[2::2])):
            with memollm.replay("a"), memollm.lane(name):
                print(*ask.draw(number, "common"))
        """,
    )
    lines = project.run("replay.py", "two", 3, "one", 5)
    assert [line.split() for line in lines] == [drawn["two"], drawn["one"]]


@pytest.mark.deep
def test_many_runs_in_four_processes(project):
    """P1, P2: the same over twenty lanes and ten runs."""
    names = [f"agent-{number}" for number in range(20)]
    first = draw(project, 0, names, MEMOLLM_RUN="run-0")
    for seed in range(1, 10):
        assert draw(project, seed, names, MEMOLLM_RUN=f"run-{seed}") == first
    assert len(project.lines("calls")) == len(names) * 6
