"""Nothing selects: whatever users do with time-outs, an accuracy is what it is (P13)."""

from __future__ import annotations

import pytest

from benchmarks._workload.selection import SCENARIOS, trials

TRIALS = 15


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_giving_up_selects_nothing(scenario):
    """Slow answers are four times as often right as fast ones, and are kept as those are."""
    assert trials(scenario, TRIALS).is_unbiased


def test_a_selection_would_be_noticed():
    """Where calls are stopped, as a user may ask for, the accuracy is far from the truth."""
    assert trials("another namespace reads after them", TRIALS, on_cancel="stop").bias < -0.1
