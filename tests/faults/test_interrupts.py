"""Draws of stored samples are interrupted by signals, at any moment: no position is lost, and none is given twice."""

from __future__ import annotations

import os

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals")

STORM = """
    import itertools, os, random, signal, sys, threading, time
    from pathlib import Path
    import memollm
    from memollm import Cache

    OURS = str(Path(memollm.__file__).parent)
    STORED, ENOUGH = 200, 512
    how, dice = sys.argv[1], random.Random(1)
    made, interrupts, is_under_way = itertools.count(), 0, False

    cache = Cache(sys.argv[2])
    ask = cache.cached_llm(namespace="n", name="ask", version=1)(lambda prompt: next(made))
    with memollm.namespace("filler"):
        ask.draw(STORED, "x")
    ask("x")
    cache.rewind("n")

    def handle(number, frame):
        "Interrupt what draws, once; elsewhere an interrupt would lose what the library has given already."
        global interrupts, is_under_way
        while frame is not None and not is_under_way:
            if frame.f_code.co_filename.startswith(OURS):
                interrupts, is_under_way = interrupts + 1, True
                raise KeyboardInterrupt if number == signal.SIGINT else TimeoutError
            frame = frame.f_back

    signal.signal(signal.SIGINT, handle)
    signal.signal(signal.SIGALRM, handle)
    over = threading.Event()

    def storm():
        while not over.is_set():
            time.sleep(dice.random() * 0.0005)
            os.kill(os.getpid(), signal.SIGINT)

    if how == "SIGINT":
        threading.Thread(target=storm).start()
    while interrupts < ENOUGH:
        given = []
        # Once through all that is stored; whoever lost a position comes to a new sample too early.
        while len(given) < STORED:
            try:
                if how == "SIGALRM":
                    signal.setitimer(signal.ITIMER_REAL, dice.random() * 0.0002 + 1e-6)
                given.append(ask("x"))
            except (KeyboardInterrupt, TimeoutError):
                is_under_way = False
        assert sorted(given) == [*range(STORED)], sorted({*range(STORED)} ^ {*given})
        is_under_way = True
        cache.rewind("n")
        is_under_way = False
    over.set()
"""


@pytest.mark.parametrize(("how", "place"), [("SIGINT", "cache"), ("SIGALRM", "cache"), ("SIGALRM", "memory:")])
def test_interrupted_hits_lose_no_position(project, how, place):
    """P1, P3: after hundreds of Ctrl-C or time-outs in the middle of hits, each stored sample was given once."""
    project.write("storm.py", STORM)
    assert project.run("storm.py", how, place) == []
