"""Every benchmark runs: as small as it gets, with each contender timed once."""

from __future__ import annotations

import math
import pkgutil
from importlib import import_module

import pytest

import benchmarks
from benchmarks import __main__ as program, similar_servers
from benchmarks._measure import in_turn
from benchmarks._workload.applications import A6

SERVERS = {
    f"_server_draws.{name}": value
    for name, value in {"BURST": 5, "BURSTS": 1, "MANY": 10, "MANY_TIMES": 1, "PROCESSES": 2, "ROUNDS": 1}.items()
}
SCALE = {"scale.SMALL": 10, "LARGE": 20, "first_touch.CALLS": 5, "draw_many.SAMPLES": 5, "new_process.ROUNDS": 1}
SMALL = {
    "async_misses": {"ROUNDS": 1, "SIZES": {10: 2.0}, "LATENCY": 0.001},
    "batch": {"ITEMS": ["a", "b", "c"]},
    "cli": {"CALLS": 20, "AT_ONCE": 10},
    "dollars": {"SEEDS": (1,), "PUZZLES": 1, "_workload.dollars.APPLICATIONS": (A6,)},
    "draw_many": {"SAMPLES": 5},
    "estimates": {
        "_workload.trials.TASKS": range(3),
        "_workload.trials.REPETITIONS": 2,
        "_workload.estimation.TASKS": range(3),
    },
    "field": {"PUZZLES": 1, "_workload.workload.APPLICATIONS": (A6,)},
    "first_touch": {"CALLS": 5, "PEERS_CALLS": 5},
    "long_call": {"LARGE": 20, "DRAWS": 1},
    "map": {"ITEMS": 5},
    "new_process": {"ROUNDS": 1},
    "postgres_draw": SERVERS,
    "processes": {"PROCESSES": (1, 2), "ROUNDS": 1},
    "proxy": {"STREAMS": 2, "TIMES": 1},
    "proxy_memory": {"REQUESTS": 10, "WARM": 10, "CLIENTS": 2},
    "redis_draw": SERVERS,
    "scale": SCALE,
    "scale_million": SCALE,
    "selection": {"TRIALS": 8, "INTERVALS": 10},
    "similar": {"VECTORS": 20, "ROUNDS": 1},
    "similar_servers": {"VECTORS": 20, "similar.VECTORS": 20, "MISSES": 1, "ADDED": 5},
    "stampede": {"ROUNDS": 1, "TASKS": 10},
    "storage": {"SAMPLES": 3},
    "streams": {"CHUNKS": 10},
    "takeover": {"ROUNDS": 1},
    "tier": {"ROUNDS": 1, "DRAWS": 1, "TEXTS": 2},
}
"""What each is made smaller by: constants of its own, or of another module of the benchmarks."""

SLOW = {
    "cli",
    "field",
    "import_time",
    "new_process",
    "postgres_draw",
    "processes",
    "proxy",
    "proxy_memory",
    "redis_draw",
    "scale",
    "scale_million",
    "selection",
    "similar_servers",
    "takeover",
    "tier",
}
"""Those that start programs or servers, or that say little of a few trials."""


@pytest.fixture
def make_small(monkeypatch):
    """Return what makes a benchmark small, and let each contender be timed once."""

    def once(contenders, **_):
        return in_turn(contenders, rounds=1, number=1)

    # Some set it for the programs that they start.
    monkeypatch.setenv("MEMOLLM_SIGNING_KEY", "a key of tests")
    for module in pkgutil.iter_modules(benchmarks.__path__, "benchmarks."):
        if hasattr(import_module(module.name), "in_turn"):
            monkeypatch.setattr(f"{module.name}.in_turn", once)

    def make(name):
        for constant, value in SMALL.get(name, {}).items():
            at = f"benchmarks.{constant}" if "." in constant else f"benchmarks.{name}.{constant}"
            monkeypatch.setattr(at, value)

    return make


def are_figures(rows):
    return all(math.isfinite(value) for row in rows for value in row.measured)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.deep if name in SLOW else ()) for name in program.names()]
)
def test_every_benchmark_runs(name, make_small):
    """It gives figures, or says what is not installed."""
    make_small(name)
    measured = program.measure(name)
    assert are_figures(measured.rows)
    assert measured.rows or all("not installed" in note for note in measured.skipped)


def test_what_is_measured_of_servers_that_search_runs_on_a_file(make_small, tmp_path):
    """No server is needed to see that it does what it says."""
    make_small("similar_servers")
    rows = list(similar_servers.measured(str(tmp_path / "cache"), "a file"))
    assert len(rows) == 4
    assert are_figures(rows)


def test_only_benchmarks_are_made_small():
    """A name that is none is a mistake."""
    assert {*SMALL, *SLOW} <= set(program.names())
