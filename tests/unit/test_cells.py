"""Cells: parts of a program that are run again by themselves read from the start, each what is its own."""

from __future__ import annotations

import asyncio
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from models import asking

import memollm
from memollm import Cache, OptionError, OutsideBlockWarning
from memollm.testing import FakeModel


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as cache:
        yield cache


@pytest.fixture
def ask(cache):
    return asking(cache, FakeModel())


def test_a_cell_that_runs_again_is_given_its_own_again(ask):
    """Cells draw different samples, and each the same ones whenever and in whatever order it is run (P1, P2)."""
    with memollm.cell("a"):
        first = [ask("x"), ask("x")]
    with memollm.cell("b"):
        second = ask("x")
    assert len({*first, second}) == 3
    with memollm.cell("b"):
        assert ask("x") == second
    with memollm.cell("a"):
        assert [ask("x"), ask("x")] == first
        assert ask("x") not in {*first, second}


def test_a_cell_reads_again_in_another_process(tmp_path):
    """What a cell draws is recorded in the store, with all runs together."""
    drawn, model = [], FakeModel()
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache:
            ask = asking(cache, model)
            with memollm.run(), memollm.cell("b"):
                late = ask("x") if drawn else None
            with memollm.run(), memollm.cell("a"):
                drawn.append(ask("x"))
            assert late != drawn[0]
    assert drawn[0] == drawn[1]


def test_a_cell_says_nothing_to_what_names_a_namespace(cache, ask):
    """A namespace in a cell goes on, outside of the cell's lane; a replay elsewhere finds what it drew."""
    named = ask.with_options(namespace="exp")
    drawn = []
    for _ in range(2):
        with memollm.cell("a"):
            drawn.append(named("x"))
            with memollm.namespace("exp"):
                drawn.append(ask("x"))
    assert len({*drawn}) == 4
    with memollm.cell("b"), memollm.replay("exp"):
        assert [ask("x") for _ in range(4)] == drawn


def test_the_decorators_namespace_holds_in_a_cell(cache):
    """A function that names a namespace draws as it: the cell around it names a reader for the others only."""
    ask = asking(cache, FakeModel(), namespace="exp")
    with memollm.cell("a"):
        first = ask("x")
    with memollm.cell("a"):
        assert ask("x") != first


def test_a_run_inside_a_cell_reads_the_cells_own_from_the_start(ask):
    """The innermost reader draws; the cell's lane stays around it."""
    with memollm.cell("a"):
        other = ask("x")
    with memollm.cell("b"):
        first = ask("x")
        with memollm.run():
            assert ask("x") == first != other
        assert ask("x") not in {first, other}


def test_a_cell_inside_a_run_reads_for_itself(ask):
    """The innermost reader draws, also where that is the cell."""
    for _ in range(2):
        with memollm.run("one"), memollm.cell("a"):
            first = ask("x")
    with memollm.run("one"), memollm.cell("a"):
        assert ask("x") == first


def test_lanes_nest_in_cells(ask):
    """A lane of one name is another in each cell, and keeps its own there."""
    drawn = []
    for cell in ("a", "b", "a", "b"):
        with memollm.cell(cell), memollm.lane("agent"), memollm.track() as tracked:
            drawn.append(ask("x"))
        assert tracked.draws[0].lane == f"{cell}/agent"
    assert drawn[:2] == drawn[2:]
    assert drawn[0] != drawn[1]


def test_lanes_of_an_order_nest_in_cells(ask):
    """In a cell, too, an order decides what a first run draws."""
    names = ["white", "black"]
    with memollm.cell("game"), memollm.lane("black", of=names):
        black = ask("x")
    with memollm.cell("game"), memollm.lane("white", of=names):
        white = ask("x")
    assert ask.peek("x") == [white, black]


def test_what_is_new_was_drawn_by_no_cell(tmp_path):
    """`new` goes on whenever it is run, in later processes as well, and what the cell draws without it stays."""
    seen, model = [], FakeModel()
    for _ in range(2):
        with Cache(tmp_path / "cache") as cache:
            ask = asking(cache, model)
            with memollm.cell("a"):
                own = ask("x")
            for _ in range(2):
                with memollm.cell("a", new=True):
                    seen.append(ask("x"))
    assert len({own, *seen}) == 5
    with Cache(tmp_path / "cache") as cache, memollm.cell("a"):
        assert asking(cache, model)("x") == own


def test_a_pool_of_one_is_the_same_in_all_cells(cache):
    """Memoization has no reader, so no cell changes it."""
    ask, drawn = asking(cache, FakeModel(), pool=1), set()
    for name in ("a", "b"):
        with memollm.cell(name):
            drawn.add(ask("x"))
    assert len(drawn) == 1


def test_a_cell_follows_tasks_and_what_is_carried(ask):
    """Tasks, `asyncio.to_thread` and carried functions draw in the cell that they begin in."""

    async def both():
        return [await asyncio.to_thread(ask, "x") for _ in range(2)]

    with memollm.cell("a"):
        first = asyncio.run(both())
    with memollm.cell("a"), ThreadPoolExecutor(1) as pool:
        assert [pool.submit(memollm.carry(ask), "x").result() for _ in range(2)] == first


def test_a_function_carries_its_cell_into_another_process(ask):
    """A carried function, pickled, takes the cell's reader and lane along."""
    with memollm.cell("a"):
        carried = pickle.loads(pickle.dumps(memollm.carry(place)))
        assert carried() == place()
    assert carried() != place()


def place():
    from memollm._draws.scope import scope

    return None if scope.get() is None else scope.get().role


def test_a_thread_outside_of_the_cell_is_told_so(ask):
    """The warning names the cell, for which no line of the user's stands."""

    def outside():
        with pytest.warns(OutsideBlockWarning, match="`with memollm.cell\\('told'\\)` that is open in cell told"):
            ask("x")

    failed = []
    thread = threading.Thread(target=lambda: _noted(outside, failed))
    with memollm.cell("told"):
        thread.start()
        thread.join(30)
    assert failed == []


def _noted(function, failed):
    try:
        function()
    except BaseException as error:  # noqa: BLE001 - shown by the test
        failed.append(error)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\n", 7])
def test_what_a_cell_may_be_called(name):
    """A cell's name is one part of a lane's."""
    with pytest.raises(OptionError), memollm.cell(name):
        pass
