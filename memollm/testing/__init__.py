"""What authors of stores and tests need: the conformance suite, a fake model, a fake clock."""

from memollm.testing.conformance import (
    DrawingConformance,
    DurableConformance,
    SharedConformance,
    StoreConformance,
)
from memollm.testing.fakes import NOON, FakeClock, FakeModel, ModelDown

__all__ = [
    "NOON",
    "DrawingConformance",
    "DurableConformance",
    "FakeClock",
    "FakeModel",
    "ModelDown",
    "SharedConformance",
    "StoreConformance",
]
