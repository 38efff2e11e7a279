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

A store that ends with its object takes `StoreConformance` alone. Nothing here imports pytest; with
`pytest.register_assert_rewrite("memollm.testing")` in a conftest.py, failures show both sides.
"""

from __future__ import annotations

from memollm.testing._crowds import Crowds
from memollm.testing._drawing import Drawing
from memollm.testing._filling import Filling
from memollm.testing._keeping import Keeping
from memollm.testing._lanes import Lanes
from memollm.testing._lasting import DurableConformance, SharedConformance
from memollm.testing._tending import Tending

__all__ = ["DurableConformance", "SharedConformance", "StoreConformance"]


class StoreConformance(Drawing, Filling, Lanes, Keeping, Tending, Crowds):
    """What every store promises; a subclass provides `make`."""
