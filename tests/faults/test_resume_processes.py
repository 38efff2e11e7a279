"""Runs that were cut and are resumed, in real processes: nothing is paid twice, and no sample comes twice in a run."""

from __future__ import annotations

import signal

import pytest

MODEL = """
    import os, uuid
    from memollm import cached_llm

    @cached_llm(name="ask", version=1, namespace="exp")
    def ask(prompt):
        log = os.open("calls", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(log, (prompt + "\\n").encode())
        os.close(log)
        return uuid.uuid4().hex
"""
STEPS = """
    import sys
    from model import ask

    for line in sys.stdin:
        print(ask("x"))
"""
POOL = """
    import multiprocessing, sys
    from model import ask

    def work(number):
        return ask("x")

    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[1])
        with context.Pool(3) as pool:
            print(*pool.map(work, range(int(sys.argv[2])), chunksize=1))
            pool.close()
            pool.join()
"""
STOPPED = """
    import sys
    import memollm
    from memollm import cached_llm

    @cached_llm(name="ask", version=1, namespace="exp")
    def ask(prompt):
        return prompt

    def main():
        ask("x")
        with memollm.namespace("other"):
            ask("x")
        raise {"interrupt": KeyboardInterrupt, "error": ValueError}[sys.argv[1]]

    main()
"""


@pytest.fixture
def project(project):
    for name, text in (("model", MODEL), ("steps", STEPS), ("pool", POOL), ("stopped", STOPPED)):
        project.write(f"{name}.py", text)
    return project


def steps(project, number, **env):
    """Start a program that draws when it is told to, and let it draw."""
    program = project.start("steps.py", **env)
    return program, [drawn(program) for _ in range(number)]


def drawn(program):
    program.say("draw")
    return program.line()


def test_a_killed_program_is_resumed(project):
    """P1, P4: five paid, killed, five read again and five more paid; and so the next time."""
    program, first = steps(project, 5)
    program.kill()
    program, second = steps(project, 10, MEMOLLM_MODE="resume")
    program.kill()
    assert second[:5] == first
    _, third = steps(project, 12, MEMOLLM_MODE="resume")
    assert third[:10] == second
    assert len({*third}) == 12 == len(project.lines("calls"))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_pool_resume_together(project, method):
    """P1: processes of multiprocessing share the run's cursor, by whatever method they are started."""
    (first,) = project.run("pool.py", method, 12)
    (second,) = project.run("pool.py", method, 18, MEMOLLM_MODE="resume")
    assert len({*second.split()}) == 18 == len(project.lines("calls"))
    assert {*first.split()} < {*second.split()}


def test_programs_share_a_run_and_a_kill(project):
    """P1, P3: separate programs of one run read each sample once, whichever of them is killed in the middle."""
    program, first = steps(project, 8)
    program.kill()
    env = {"MEMOLLM_MODE": "resume", "MEMOLLM_RUN": "second"}
    one, got = steps(project, 3, **env)
    two, more = steps(project, 2, **env)
    one.signal(signal.SIGKILL)
    got += more + [drawn(two) for _ in range(2)]
    _, rest = steps(project, 3, **env)
    got += rest
    assert sorted(got[:8]) == sorted(first)
    assert len({*got}) == 10 == len(project.lines("calls"))


@pytest.mark.parametrize("how", ["interrupt", "error"])
def test_a_stopped_program_says_how_to_go_on(project, how):
    """The last line names the namespaces that a rerun would go on in, of what the environment can decide."""
    program = project.start("stopped.py", how)
    program.wait()
    assert program.errors().splitlines()[-1] == (
        "memollm: to go on from here, run again with MEMOLLM_MODE=resume: it replays what namespaces 'exp' and "
        "'other' drew. Without it a rerun draws new samples."
    )
