"""Memoize functions that call language models, without ruining the statistics of what they return."""

from memollm._cache import Cache, Namespace
from memollm._context import configure, namespace, run
from memollm._decorator import cached_llm
from memollm._gather import Gather
from memollm._map import Mapped
from memollm._progress import Progress
from memollm._typing import Cached
from memollm.errors import (
    CodeChanged,
    CodeChangedWarning,
    DamagedRecord,
    MemollmError,
    MemollmWarning,
    NotStoredWarning,
    OptionError,
    RecordError,
    ReentrantCall,
    ReplayedStream,
    StaleRecord,
    StoreClosed,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UncacheableResult,
    UnkeyableArgument,
    UntrustedRecord,
    WrongNumber,
)

__all__ = [
    "Cache",
    "Cached",
    "CodeChanged",
    "CodeChangedWarning",
    "DamagedRecord",
    "Gather",
    "Mapped",
    "MemollmError",
    "MemollmWarning",
    "Namespace",
    "NotStoredWarning",
    "OptionError",
    "Progress",
    "RecordError",
    "ReentrantCall",
    "ReplayedStream",
    "StaleRecord",
    "StoreClosed",
    "StoreError",
    "StoreRefused",
    "StoreUnavailable",
    "UncacheableResult",
    "UnkeyableArgument",
    "UntrustedRecord",
    "WrongNumber",
    "cached_llm",
    "configure",
    "namespace",
    "run",
]

__version__ = "0.1.0"
