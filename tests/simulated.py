"""Draws in simulated time: the loop sleeps at once, and no work that threads do for it is overtaken by that."""

from __future__ import annotations

from contextlib import ExitStack
from unittest import mock

from benchmarks._workload.clock import run_simulated
from memollm._drive import calls, introduction, maps, settling
from memollm._drive.turns import in_thread


def simulated(cache, main):
    """Run a coroutine in simulated time; return its result and the seconds that it would have taken."""
    at_work = []

    def counted(work):
        over = in_thread(work)
        at_work.append(over)
        return over

    def settle():
        while at_work:
            at_work.pop().wait()
        cache._engine.desk.settle()

    with ExitStack() as stack:
        for module in (calls, introduction, maps, settling):
            stack.enter_context(mock.patch.object(module, "in_thread", counted))
        return run_simulated(main, settle)
