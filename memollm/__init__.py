"""Memoize functions that call language models, without ruining the statistics of what they return."""

from typing import TYPE_CHECKING

from memollm._cache import Cache, default_cache
from memollm._calls.blocks import carry
from memollm._calls.configuration import configure
from memollm._calls.context import budget, cell, lane, mode, namespace, replay, run, track
from memollm._calls.decorator import cached_llm
from memollm._calls.typing import Cached
from memollm._drive.gather import Gather
from memollm._drive.settling import settle
from memollm._spending.meter import used
from memollm._spending.track import DrawEvent, SimilarCall
from memollm._spending.usage import Usage
from memollm._upkeep.holdings import Namespace
from memollm.errors import (
    BudgetExceeded,
    CacheMiss,
    ChangeRefused,
    CodeChanged,
    CodeChangedWarning,
    DamagedRecord,
    HoldError,
    MemollmError,
    MemollmWarning,
    MissingRecord,
    NoEventLoop,
    NotCountedWarning,
    NotStoredWarning,
    OptionError,
    OutsideBlockWarning,
    RecordError,
    ReentrantCall,
    ReplayedStream,
    ReplayExhausted,
    StaleRecord,
    StoreClosed,
    StoreError,
    StoreInUse,
    StoreReadOnly,
    StoreRefused,
    StoreUnavailable,
    UncacheableResult,
    UnkeyableArgument,
    UnknownCost,
    UntrustedRecord,
    WrongNumber,
)

if TYPE_CHECKING:
    from memollm._calls.door import Door, DoorOptions, door
    from memollm._calls.held import AsyncHeldDraw, HeldDraw, Hold
    from memollm._drive.jobs import Mapped
    from memollm._drive.progress import Progress
    from memollm._similar.options import Embedder, Similar
    from memollm._upkeep.answers import AnswerCounts
    from memollm._upkeep.doctor import CheckResult
    from memollm._upkeep.prune import Pruned
    from memollm._upkeep.similarity import SimilarPair, SimilarReport
    from memollm._upkeep.sweep import Swept
    from memollm.http import wrap
else:
    # Results of what few programs do; hidden from type checkers, for which no unknown name is to pass.
    def __getattr__(name: str) -> object:
        from importlib import import_module

        modules = {
            "AnswerCounts": "_upkeep.answers",
            "AsyncHeldDraw": "_calls.held",
            "Door": "_calls.door",
            "DoorOptions": "_calls.door",
            "door": "_calls.door",
            "HeldDraw": "_calls.held",
            "Hold": "_calls.held",
            "CheckResult": "_upkeep.doctor",
            "Mapped": "_drive.jobs",
            "Embedder": "_similar.options",
            "Progress": "_drive.progress",
            "Pruned": "_upkeep.prune",
            "Swept": "_upkeep.sweep",
            "Similar": "_similar.options",
            "SimilarPair": "_upkeep.similarity",
            "SimilarReport": "_upkeep.similarity",
            "wrap": "http",
            # What `%load_ext memollm` looks for.
            "load_ipython_extension": "integrations.ipython",
            "unload_ipython_extension": "integrations.ipython",
        }
        if name == "http":
            return import_module("memollm.http")
        if name not in modules:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{modules[name]}"), name)


__all__ = [
    "AnswerCounts",
    "AsyncHeldDraw",
    "BudgetExceeded",
    "Cache",
    "CacheMiss",
    "Cached",
    "ChangeRefused",
    "CheckResult",
    "CodeChanged",
    "CodeChangedWarning",
    "DamagedRecord",
    "Door",
    "DoorOptions",
    "DrawEvent",
    "Embedder",
    "Gather",
    "HeldDraw",
    "Hold",
    "HoldError",
    "Mapped",
    "MemollmError",
    "MemollmWarning",
    "MissingRecord",
    "Namespace",
    "NoEventLoop",
    "NotCountedWarning",
    "NotStoredWarning",
    "OptionError",
    "OutsideBlockWarning",
    "Progress",
    "Pruned",
    "RecordError",
    "ReentrantCall",
    "ReplayExhausted",
    "ReplayedStream",
    "Similar",
    "SimilarCall",
    "SimilarPair",
    "SimilarReport",
    "StaleRecord",
    "StoreClosed",
    "StoreError",
    "StoreInUse",
    "StoreReadOnly",
    "StoreRefused",
    "StoreUnavailable",
    "Swept",
    "UncacheableResult",
    "UnkeyableArgument",
    "UnknownCost",
    "UntrustedRecord",
    "Usage",
    "WrongNumber",
    "budget",
    "cached_llm",
    "carry",
    "cell",
    "configure",
    "default_cache",
    "door",
    "lane",
    "mode",
    "namespace",
    "replay",
    "run",
    "settle",
    "track",
    "used",
    "wrap",
]

__version__ = "0.1.0"
