"""Pairs of similar calls, as people read them: nothing of an answer is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._upkeep.similarity import SimilarPair, SimilarReport, similar_report
from memollm._views.reading import shown
from memollm.errors import RecordError

if TYPE_CHECKING:
    from memollm._cache import Cache


def similar_pairs(cache: Cache, function: str | None = None) -> SimilarReport:
    """List what similar calls have lent, and what shadows have seen."""
    codec = cache.__memollm_engine__().codec

    def read(record: bytes, key: bytes) -> Any:
        """Return what can be compared of an answer without loading anything."""
        found = shown(codec, record, key)
        if found.answer is None:
            raise RecordError(found.text)
        return found.answer

    return similar_report(cache.store, codec, function=function, read=read)


def became(pair: SimilarPair) -> str:
    """Say in a word what became of a pair."""
    if not pair.shadow:
        return "lent"
    return {True: "agreed", False: "differed", None: "looked at"}[pair.agreed]
