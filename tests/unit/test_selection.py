"""Nothing selects: whatever users do with time-outs, an accuracy is what it is (P13)."""

from __future__ import annotations

import pytest

from benchmarks._workload import selection_table
from benchmarks._workload.designs import BIASED, COVERAGES, UNBIASED, Trial, covered, played
from benchmarks._workload.rivals import Memo, Nothing, rival_trials
from benchmarks._workload.selection import SCENARIOS, trials

TRIALS = 15
CORRECTED = "`accept`, corrected by the refused"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_giving_up_selects_nothing(scenario):
    """Slow answers are four times as often right as fast ones, and are kept as those are."""
    assert trials(scenario, TRIALS).is_unbiased


def test_a_selection_would_be_noticed():
    """Where calls are stopped, as a user may ask for, the accuracy is far from the truth."""
    assert trials("another namespace reads after them", TRIALS, on_cancel="stop").bias < -0.1


@pytest.mark.parametrize("play", UNBIASED)
def test_what_is_documented_as_unbiased_is(play):
    """Pruning, ages, `settle` before a loop ends, and an accuracy corrected by what was refused."""
    assert played(UNBIASED[play], TRIALS).is_unbiased


def test_what_selects_by_nature_would_be_noticed():
    """The plays have the power to see a selection where there is one."""
    assert not played(BIASED["a time-out inside the function, and retries"], TRIALS).is_unbiased


def test_an_accuracy_is_corrected_by_what_was_refused():
    """What `accept` has let in is right more often than the model; times the accepted share it is not."""
    let_in, corrected = played(BIASED["what `accept` has let in"], TRIALS), played(UNBIASED[CORRECTED], TRIALS)
    assert let_in.bias > corrected.bias + 0.05


def test_namespaces_are_no_seeds():
    """P2: three namespaces read the same samples, so that their spread is zero; three parts of one draw differ."""
    spreads = {name: covered(design, 3).spread for name, design in COVERAGES.items()}
    assert [spread > 0 for spread in spreads.values()] == [True, False, False]


def test_a_draw_s_thirds_are_all_of_it():
    """The parts that are taken for seeds are as many samples as were drawn, and each is in one."""
    trial = Trial(0)
    with trial.cache:
        assert [*map(len, COVERAGES["`draw(3 * n)`, cut into three seeds"](trial))] == [40, 40, 40]


def test_other_caches_do_the_same_scenarios():
    """A plain cache keeps the fast answers of those who have given up; without any, whoever reads is unbiased."""
    assert rival_trials(Memo, "another namespace reads after them", TRIALS).bias < -0.1
    assert rival_trials(Nothing, "another namespace reads after them", TRIALS).is_unbiased
    assert rival_trials(Nothing, "gathered draws with time-outs, read after", 1) is None


def test_the_table_is_shown_and_judged(monkeypatch):
    """Every scenario of memollm has a verdict, and what selects by nature is for information."""
    monkeypatch.setattr(selection_table, "RIVALS", (Nothing,))
    for table, shown in (("UNBIASED", [CORRECTED]), ("BIASED", [*BIASED][:1]), ("COVERAGES", [*COVERAGES][:1])):
        chosen = {name: play for name, play in getattr(selection_table, table).items() if name in shown}
        monkeypatch.setattr(selection_table, table, chosen)
    done = selection_table.Done()
    told = "\n".join(selection_table.measure(done, 2, 2))
    assert all(name in told for name in (*SCENARIOS, CORRECTED, next(iter(BIASED)), next(iter(COVERAGES))))
    judged = {row.figure.partition(": ")[0]: row.met for row in selection_table.rows(done)}
    assert all(judged[name] for name in (*SCENARIOS, CORRECTED, next(iter(COVERAGES))))
    assert judged[next(iter(BIASED))] is None
