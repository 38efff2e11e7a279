"""Limits in the configuration are kept when they are set, and are nobody's business when they are not."""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import PATIENCE, Gates, until

from memollm import Cache, OptionError
from memollm._calls.configuration import Configuration
from memollm.stores.looking import looking

DRAWS = """
import sys
from memollm import Cache

@Cache(sys.argv[1]).cached_llm(name="ask", version=1)
def ask(number):
    return number

for number in range(20):
    ask(number)
"""


def kept_after(tmp_path, **environment):
    """Draw twenty calls in a program; return how many are stored when it has ended."""
    place = tmp_path / "cache"
    command = [sys.executable, "-c", DRAWS, str(place)]
    subprocess.run(command, check=True, timeout=60, env={"PATH": "", "HOME": str(tmp_path), **environment})
    with Cache(place) as cache:
        return sorted(item.samples for item in looking(cache.store).inventory())


def test_nothing_is_evicted_unless_asked(tmp_path):
    """Without limits everything stays (P7)."""
    assert kept_after(tmp_path) == [1] * 20


@pytest.mark.parametrize(("limit", "kept"), [("MAX_SAMPLES", 5), ("MAX_BYTES", 0)])
def test_a_limit_holds_at_the_end_of_the_program(tmp_path, limit, kept):
    """A short program keeps within the limits as it ends."""
    assert kept_after(tmp_path, **{f"MEMOLLM_{limit}": str(kept)}) == [1] * kept


def test_a_limit_that_is_none(monkeypatch):
    """What is no size, number or age says so, and names where it was said."""
    for name, value, told in (
        ("max_bytes", "much", "is no size"),
        ("max_samples", "-1", "a whole number"),
        ("max_age", "soon", "is no length of time"),
    ):
        variable = f"MEMOLLM_{name.upper()}"
        monkeypatch.setenv(variable, value)
        with pytest.raises(OptionError, match=f"{variable}='{value}'.*{told}"):
            Configuration().get(name)
        monkeypatch.delenv(variable)


def test_a_limit_in_the_environment_that_is_none_is_told_before_anything_is_drawn(monkeypatch):
    """What is looked at in the background much later is checked with the first setting that a draw asks for."""
    monkeypatch.setenv("MEMOLLM_MAX_BYTES", "lots")
    with pytest.raises(OptionError, match="MEMOLLM_MAX_BYTES='lots' is no size"):
        Configuration().get("on_draw")


def test_who_waits_for_another_process_does_not_wait_for_the_limits(tmp_path, monkeypatch):
    """P5: a sample that is made elsewhere is taken at once, also while much is being evicted."""
    monkeypatch.setattr("memollm._spending.accounts.BETWEEN", 0.0)
    tidying, tidied = threading.Event(), threading.Event()
    monkeypatch.setattr("memollm._calls.engines._keep_within_limits", lambda *_: tidying.set() or tidied.wait())
    gates = Gates()
    with Cache(tmp_path / "cache") as waits, Cache(tmp_path / "cache") as makes, ThreadPoolExecutor(2) as pool:
        options = {"name": "ask", "version": 1, "pool": 1}
        made = pool.submit(makes.cached_llm(lambda prompt: gates.fly(), **options), "x")
        gate = gates.begun()
        ask = waits.cached_llm(lambda prompt: f"{prompt} too", **options)
        ask("another")
        assert tidying.wait(PATIENCE)
        shared = pool.submit(ask, "x")
        until(lambda: waits._engine._waited_for)
        gate.put("made elsewhere")
        assert shared.result(PATIENCE) == made.result(PATIENCE) == "made elsewhere"
        tidied.set()


def test_a_failure_in_the_background_leaves_nobody_waiting(tmp_path, monkeypatch):
    """P5: whoever waits for another process is woken all the same, and another thread goes on."""
    gates, raised = Gates(), []
    options = {"name": "ask", "version": 1, "pool": 1}
    with Cache(tmp_path / "cache") as waits, Cache(tmp_path / "cache") as makes, ThreadPoolExecutor(2) as pool:
        made = pool.submit(makes.cached_llm(lambda prompt: gates.fly(), **options), "x")
        gate = gates.begun()
        with monkeypatch.context() as broken:
            broken.setattr("threading.excepthook", raised.append)
            broken.setattr(waits.store, "_is_settled", lambda *_: 1 / 0)
            shared = pool.submit(waits.cached_llm(lambda prompt: prompt, **options), "x")
            until(lambda: raised)
        gate.put("made elsewhere")
        assert shared.result(PATIENCE) == made.result(PATIENCE) == "made elsewhere"
    assert raised[0].exc_type is ZeroDivisionError
