"""Pairs of similar calls, as people read them: nothing of an answer is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._upkeep.shadows import LATEST
from memollm._upkeep.similarity import SimilarPair, SimilarReport, noted_pairs, similar_report
from memollm._views.reading import shown
from memollm.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._cache import Cache
    from memollm._values.codec import Codec


def similar_pairs(cache: Cache, function: str | None = None) -> list[SimilarPair]:
    """List what similar calls have lent, and what shadows have seen."""
    return noted_pairs(cache.store, _reading(cache.__memollm_engine__().codec), function)


def replayed_report(cache: Cache, function: str | None = None, last: int = LATEST) -> SimilarReport:
    """Replay what shadows have seen."""
    codec = cache.__memollm_engine__().codec
    return similar_report(
        cache.store, codec, function=function, last=last, read=_reading(codec), says_yes=_saying(codec)
    )


def _reading(codec: Codec) -> Callable[[bytes, bytes], Any]:

    def read(record: bytes, key: bytes) -> Any:
        """Return what can be compared of an answer without loading anything."""
        found = shown(codec, record, key)
        if found.answer is None:
            raise RecordError(found.text)
        return found.answer

    return read


def _saying(codec: Codec) -> Callable[[bytes, bytes], bool]:

    def says_yes(record: bytes, key: bytes) -> bool:
        """Tell what an answer of `verify` means without loading anything."""
        found = shown(codec, record, key)
        if found.is_hidden:
            raise RecordError(found.text)
        return bool(found.value)

    return says_yes


def became(pair: SimilarPair) -> str:
    """Say in a word what became of a pair."""
    if not pair.shadow:
        return "lent"
    return {True: "agreed", False: "differed", None: "looked at"}[pair.agreed]
