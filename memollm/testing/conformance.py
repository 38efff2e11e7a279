"""The conformance suite: what every store promises, as tests that pytest collects from a subclass.

A store's own test file is short::

    import pytest
    from memollm.testing import DurableConformance, SharedConformance, StoreConformance

    class TestMyStore(StoreConformance, DurableConformance, SharedConformance):
        @pytest.fixture(autouse=True)
        def folder(self, tmp_path):
            self.path = tmp_path

        def make(self):
            return MyStore(self.path)

        def reopen(self, store):
            store.close()
            return MyStore(self.path)

        def peer(self, store):
            return MyStore(self.path)

A store that ends with its object takes `StoreConformance` alone, and one that draws and has neither `looking` nor
`keeping` takes `DrawingConformance`. A store that keeps the vectors of similar calls (`matching`) adds
`MatchingConformance`, or `SharedMatchingConformance` where it is shared. Nothing here imports pytest; with
`pytest.register_assert_rewrite("memollm.testing")` in a conftest.py, failures show both sides.
"""

from __future__ import annotations

from memollm.testing._bursts import BurstCases
from memollm.testing._crowds import CrowdCases, CrowdKeepingCases
from memollm.testing._drawing import DrawingCases
from memollm.testing._filling import FillingCases
from memollm.testing._generations import GenerationCases
from memollm.testing._keeping import KeepingCases
from memollm.testing._lanes import LaneCases
from memollm.testing._lanes_kept import LaneKeepingCases
from memollm.testing._lasting import DurableConformance, SharedConformance
from memollm.testing._matching import MatchingConformance, SharedMatchingConformance
from memollm.testing._repeats import RepeatCases
from memollm.testing._resuming import ResumingCases
from memollm.testing._tending import TendingCases

__all__ = [
    "DrawingConformance",
    "DurableConformance",
    "MatchingConformance",
    "SharedConformance",
    "SharedMatchingConformance",
    "StoreConformance",
]


class DrawingConformance(DrawingCases, FillingCases, RepeatCases, LaneCases, ResumingCases, BurstCases, CrowdCases):
    """What every store promises, which draws and may do nothing else; a subclass provides `make`."""


class StoreConformance(
    DrawingConformance, KeepingCases, GenerationCases, LaneKeepingCases, TendingCases, CrowdKeepingCases
):
    """What a store promises that can be looked into and kept besides; a subclass provides `make`."""
