"""Whatever happens to those who draw, at once and in any order: what is promised holds."""

from __future__ import annotations

import sys

import pytest
from chaos.driver import Round
from chaos.oracle import Oracle

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds its processes in /proc")
SEEDS = [668, 1217, 37, 819]
"""Of rounds that have, together, every kind of drawing, of deed, of child and of signal. More: `make torture`."""

PATIENCE = 50.0
"""Seconds; who hangs is to say where before the test as a whole is ended."""


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_in_chaos(tmp_path, seed):
    """P1 to P8: whoever draws is killed, stopped, interrupted, forked, pruned and rewound meanwhile."""
    the_round = Round(tmp_path / "round", seed, patience=PATIENCE)
    the_round.run()
    assert Oracle(the_round.folder).judge() == []
