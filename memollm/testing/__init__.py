"""What authors of stores and tests need: the conformance suite, a fake model, provider and S3, a fake clock."""

from memollm.testing._configured import configured, drawing_as
from memollm.testing._provider.replies import ToolUse
from memollm.testing._s3 import BucketRequest, FakeS3
from memollm.testing.conformance import (
    DrawingConformance,
    DurableConformance,
    MatchingConformance,
    SharedConformance,
    SharedMatchingConformance,
    StoreConformance,
)
from memollm.testing.fakes import NOON, FakeClock, FakeModel, ModelDown
from memollm.testing.provider import FakeProvider, ProviderRequest
from memollm.testing.similarity import hashed_ngrams

__all__ = [
    "NOON",
    "BucketRequest",
    "DrawingConformance",
    "DurableConformance",
    "FakeClock",
    "FakeModel",
    "FakeProvider",
    "FakeS3",
    "MatchingConformance",
    "ModelDown",
    "ProviderRequest",
    "SharedConformance",
    "SharedMatchingConformance",
    "StoreConformance",
    "ToolUse",
    "configured",
    "drawing_as",
    "hashed_ngrams",
]
