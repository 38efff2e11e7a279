"""The budget of a whole program: all its threads, tasks and processes together, and not one call more."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import asking, run

import memollm
from memollm import BudgetExceeded, Cache, NotCountedWarning, OptionError, UnknownCost, configure
from memollm._calls.configuration import configuration
from memollm._calls.context import current_program
from memollm._spending.accounts import Toll
from memollm._spending.program import ProgramBudget
from memollm._types.allowance import Allowance, Charged
from memollm.stores.limiting import limiting
from memollm.testing import FakeModel, ModelDown

DEADLINE = 60
PROGRAM = """
import multiprocessing, sys
from concurrent.futures import ThreadPoolExecutor
import memollm

@memollm.cached_llm(usage=lambda _: memollm.Usage(cost=0.01))
def ask(prompt):
    return prompt

def work(name):
    done = refused = 0
    with ThreadPoolExecutor(4) as pool:
        for each in [pool.submit(ask, f"{name} {number}") for number in range(10)]:
            if isinstance(each.exception(), memollm.BudgetExceeded):
                refused += 1
            else:
                each.result()
                done += 1
    return done, refused

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(3) as pool:
        told = pool.map(work, "abc", chunksize=1)
        pool.close()
        pool.join()
    paid = memollm.Cache(".memollm").stats().total.paid
    print(sum(done for done, _ in told), sum(refused for _, refused in told), paid)
"""


@pytest.fixture
def limited(cache):
    """Configure a budget, counted in the cache of the test."""

    def limit(**allowed):
        configure(cache=cache, budget=allowed)
        return cache

    return limit


def spent(cache):
    """Return what the cache says that this program has spent."""
    return limiting(cache.store).charge(current_program(), Charged())[0]


def outcomes(futures):
    """Count what was answered and what the budget refused."""
    raised = [future.exception() for future in futures]
    assert {type(each) for each in raised} <= {type(None), BudgetExceeded}
    return raised.count(None), len(raised) - raised.count(None)


def test_sixteen_threads_make_just_the_calls_of_the_budget(limited):
    """P14: threads need no context for it; hits are free, and what was refused is open again."""
    cache, model = limited(calls=50), FakeModel()
    ask = asking(cache, model, namespace="a")
    with ThreadPoolExecutor(16) as pool:
        assert outcomes([pool.submit(ask, f"p{number}") for number in range(100)]) == (50, 50)
    assert (model.calls, spent(cache).calls) == (50, 50)
    with memollm.namespace("b"), pytest.raises(BudgetExceeded, match=r"50 of 50 calls are spent"):
        ask.map([f"p{number}" for number in range(100)])
    assert model.calls == 50


def test_the_lower_door_is_limited(limited):
    """P14: what is drawn, looked up and updated by a door counts as calls; what was made elsewhere does not."""
    cache, model = limited(calls=4), FakeModel()
    door = cache.door("chat", namespace="a")
    door.draw("x", lambda: model("x"), n=2)
    assert door.lookup("y") is None
    door.update("y", model("y"))
    # An update that no lookup is waiting for was called for all the same.
    door.update("z", model("z"))
    door.put("w", "elsewhere")
    assert (model.calls, spent(cache).calls) == (4, 4)
    with pytest.raises(BudgetExceeded, match=r"of chat would exceed the budget of this program: 4 of 4 calls"):
        door.draw("new", lambda: model("new"))
    assert model.calls == 4
    with memollm.namespace("b"):
        assert door.lookup("y") == "y #1"


@pytest.mark.parametrize("cache", ["sqlite"], indirect=True)
def test_a_thousand_tasks_make_just_the_calls_of_the_budget(limited):
    """P14: and the loop is not held by it."""
    cache, model = limited(calls=300), FakeModel()

    @cache.cached_llm(name="ask", version=1)
    async def ask(prompt):
        return await model.answer(prompt)

    async def main():
        return await asyncio.gather(*(ask(f"p{number}") for number in range(1000)), return_exceptions=True)

    answered = run(main())
    assert sum(isinstance(each, BudgetExceeded) for each in answered) == 700
    assert model.calls == spent(cache).calls == 300


@pytest.mark.parametrize("method", [pytest.param("spawn", marks=pytest.mark.deep), "fork"])
def test_three_processes_make_just_the_calls_of_the_budget(project, method, monkeypatch):
    """P14: children of multiprocessing, with threads of their own, share the budget of their parent."""
    (project / "program.py").write_text(PROGRAM)
    monkeypatch.setenv("MEMOLLM_BUDGET", "calls=12")
    for told in ("12 18 12", "24 6 24"):
        # The next program has a budget of its own, and what is stored is free.
        done = subprocess.run(
            [sys.executable, "-W", "ignore::DeprecationWarning", "program.py", method],
            capture_output=True, text=True, timeout=DEADLINE, check=False, cwd=project,
        )  # fmt: skip
        assert (done.stdout.split(), done.stderr) == (told.split(), "")


def test_money_goes_beyond_by_no_more_than_what_was_under_way(limited):
    """P14: the calls that are begun before any of the function has returned, and nothing after that."""
    cache = limited(cost=1.0)
    at_once = 16
    calls = []
    ask = cache.cached_llm(calls.append, usage=lambda _: memollm.Usage(cost=0.05), name="ask", version=1)
    with ThreadPoolExecutor(at_once) as pool:
        done, refused = outcomes([pool.submit(ask, f"p{number}") for number in range(100)])
    assert done + refused == 100
    # Twentieths do not add up exactly, and not to the same in every order.
    assert 0.999 < spent(cache).cost + 0.05 < 1.001 + at_once * 0.05
    assert spent(cache).cost == pytest.approx(len(calls) * 0.05)
    assert spent(cache).foreseen == pytest.approx(0)


def test_one_after_the_other_money_does_not_go_beyond(limited):
    """Once it is known what a call costs, the one that would exceed the budget is not made."""
    cache = limited(cost=1.0)
    ask = cache.cached_llm(lambda prompt: prompt, usage=lambda _: memollm.Usage(cost=0.3), name="ask", version=1)
    with pytest.raises(BudgetExceeded, match=r"1 call of ask .*\$0\.90 of \$1\.00 are spent"):
        ask.map(range(10), concurrency=1)
    assert spent(cache)[:2] == (3, pytest.approx(0.9))


def test_who_settles_waits_for_whoever_is_telling_the_store():
    """P14: what a call took is in the store when its draw goes on, also where another thread tells of it."""
    waits = []

    class Slow:
        """A store that finds out, while it is told, whether another thread may go on."""

        def charge(self, program, more, allowed=None):
            other = threading.Thread(target=budget.settle)
            other.start()
            other.join(0.05)
            waits.append(other.is_alive())
            others.append(other)
            return more, True

    others = []
    budget = ProgramBudget("program", Slow(), lambda: None)
    budget.spend("ask", Toll(1))
    budget.settle()
    for other in others:
        other.join(DEADLINE)
    assert waits == [True]


def test_what_raises_is_given_back(limited):
    """A call that came to nothing is no call of the budget."""
    cache = limited(calls=2)
    ask = asking(cache, FakeModel(failing={1, 2}), namespace="a")
    for _ in range(2):
        with pytest.raises(ModelDown):
            ask("x")
    assert len(ask.draw(2, "x")) == 2
    with pytest.raises(BudgetExceeded):
        ask("x")


def test_a_stream_that_is_left_is_given_back(limited):
    """Its position is open again, and so is its call."""
    cache = limited(calls=1)

    @cache.cached_llm(namespace="a", name="tell", version=1)
    def tell(prompt):
        yield "one"
        yield "two"

    left = tell("x")
    next(left)
    left.close()
    assert list(tell("x")) == ["one", "two"]
    with pytest.raises(BudgetExceeded):
        list(tell("x"))


def test_an_unknown_cost_ends_it(limited):
    """P14: the answer is given; the next call is refused, or told of, or not, as `unknown` says."""
    cache = limited(cost=1.0)
    ask = asking(cache, FakeModel(), namespace="a")
    ask("x")
    with pytest.raises(
        UnknownCost, match=r"1 call of this program cost is not known.*\$1\.00 cannot hold.*memollm\.used"
    ):
        ask("x")
    assert ask.peek("x") == ["x #1"]
    configure(budget={"cost": 1.0, "unknown": "warn"})
    with pytest.warns(NotCountedWarning, match="The budget goes on"):
        ask("x")
    ask("x")
    configure(budget={"cost": 1.0, "unknown": "ignore"})
    ask("x")
    assert spent(cache) == Charged(4, 0.0, 0.0, 4)


def test_blocks_and_the_program_limit_together(limited):
    """A call must fit into both; what one refuses the other has back."""
    cache = limited(calls=3)
    ask = asking(cache, FakeModel(), namespace="a")
    with memollm.budget(calls=1):
        ask("x")
        with pytest.raises(BudgetExceeded, match="1 of 1 calls"):
            ask("x")
    with memollm.budget(calls=9) as budget:
        ask.draw(2, "x")
        with pytest.raises(BudgetExceeded, match="this program: 3 of 3 calls"):
            ask("x")
        assert (budget.calls, budget._under_way - sum(n for _, n in budget._released)) == (2, 0)


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ("calls=100", Allowance(None, 100)),
        ("cost=2.50, calls=100", Allowance(2.5, 100)),
        ("cost=$3 unknown=warn", Allowance(3.0, None, "warn")),
        ({"cost": 2}, Allowance(2.0, None)),
    ],
)
def test_how_a_budget_is_said(said, allowed, monkeypatch):
    """As text in the environment, and as a table in code and in pyproject.toml."""
    if isinstance(said, str):
        monkeypatch.setenv("MEMOLLM_BUDGET", said)
    else:
        configure(budget=said)
    assert configuration.get("budget") == allowed


@pytest.mark.parametrize(
    "said", ["2.50", "calls", "calls=many", "cost=-1", "euros=3", {}, {"calls": True}, {"calls": 1.5}, 7]
)
def test_what_is_no_budget_is_refused(said):
    """The error says how one is said."""
    with pytest.raises(OptionError, match=r"budget=.*cost=2\.50 calls=1000"):
        configure(budget=said)


def test_in_pyproject(project, monkeypatch):
    """`[tool.memollm] budget` limits the program like the others."""
    (project / "pyproject.toml").write_text('[tool.memollm]\ncache = "memory:"\nbudget = { calls = 1 }\n')
    monkeypatch.setattr(configuration, "_project", None)
    with Cache("memory:") as cache:
        ask = asking(cache, FakeModel(), namespace="a")
        ask("x")
        with pytest.raises(BudgetExceeded, match="1 of 1 calls"):
            ask("x")
