"""The fakes do what tests and demonstrations ask of them."""

import asyncio
import subprocess
import sys
import threading

import pytest

from memollm.testing import NOON, FakeClock, FakeModel, ModelDown


def test_clock_stands_still_until_it_is_advanced():
    """Time passes when it is told to, and only forward."""
    clock = FakeClock()
    assert (clock(), clock.advance(1.5), clock()) == (NOON, NOON + 1.5, NOON + 1.5)
    with pytest.raises(ValueError, match="does not go back"):
        clock.advance(-1)


def test_model_numbers_the_samples_of_each_prompt():
    """Every answer of a prompt is another one, and both forms count together."""
    model = FakeModel(price=0.5)
    assert [model("a"), model("b"), asyncio.run(model.answer("a"))] == ["a #1", "b #1", "a #2"]
    assert (model.calls, model.answered, model.spent) == (3, {"a": 2, "b": 1}, 1.5)


def test_model_fails_when_told_to():
    """A call that fails is counted and uses up no sample."""
    model = FakeModel(failing={1, 3}, price=1)
    for form in (model, lambda prompt: asyncio.run(model.answer(prompt))):
        with pytest.raises(ModelDown):
            form("a")
        form("a")
    assert (model.calls, model.answered, model.spent) == (4, {"a": 2}, 2)


def test_model_waits_at_its_gate():
    """Calls are begun, and answered when the gate is opened."""
    model = FakeModel(gate=threading.Event())
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(model("a")), daemon=True) for _ in range(3)]
    for thread in threads:
        thread.start()
    model.wait_for(3)
    assert (answers, model.busiest) == ([], 3)
    model.gate.set()
    for thread in threads:
        thread.join(10)
    assert sorted(answers) == ["a #1", "a #2", "a #3"]


def test_waiting_for_calls_that_never_come_ends():
    """A test that waits in vain fails."""
    with pytest.raises(TimeoutError, match="called 0 times, not 1"):
        FakeModel().wait_for(1, timeout=0.001)


def test_event_loop_goes_on_while_the_model_waits():
    """The asynchronous form waits beside the loop."""

    async def main():
        model = FakeModel(gate=threading.Event())
        tasks = [asyncio.ensure_future(model.answer("a")) for _ in range(3)]
        await asyncio.to_thread(model.wait_for, 3)
        model.gate.set()
        return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(asyncio.wait_for(main(), 10))) == ["a #1", "a #2", "a #3"]


def test_importing_the_suite_needs_no_test_runner():
    """Authors of stores choose their own: the package imports none."""
    program = "import sys, memollm.testing; sys.exit('pytest' in sys.modules or 'hypothesis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0
