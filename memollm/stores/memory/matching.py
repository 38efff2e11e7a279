"""How a memory store keeps vectors and matches."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING

from memollm.stores.matching import MOST_VECTORS, Matching, StoredMatch, StoredVector

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memollm._types.calls import Call
    from memollm.stores.memory.content import MemoryContent


class MemoryMatching(Matching):
    """Reads and notes under the store's lock."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    def vectors(self, space: bytes, after: int) -> Sequence[tuple[int, bytes]]:
        """Copy what is there."""
        with self._content.lock:
            kept = self._content.vectors
            numbers = kept.spaces.get(space, [])
            first = bisect_right(numbers, after)
            return [(number, kept.vectors[number].vector) for number in numbers[first : first + MOST_VECTORS]]

    def calls_of(self, space: bytes, numbers: Sequence[int]) -> Mapping[int, Call]:
        """Look them up."""
        with self._content.lock:
            kept = self._content.vectors
            there = kept.spaces.get(space, [])
            return {number: kept.vectors[number].call for number in numbers if _stands_in(there, number)}

    def keeps_any(self) -> bool:
        """Look."""
        return bool(self._content.vectors.vectors)

    def vectors_of(self, call: Call) -> list[StoredVector]:
        """Copy what is there."""
        with self._content.lock:
            numbers = sorted(number for (whose, _), number in self._content.vectors.known.items() if whose == call)
            return [self._content.vectors.vectors[number] for number in numbers]

    def match_of(self, call: Call) -> StoredMatch | None:
        """Look it up."""
        with self._content.lock:
            return None if self._content.samples.get(call) else self._content.vectors.matches.get((call, False))

    def matches(self, function: str | None = None) -> list[StoredMatch]:
        """Copy what is there."""
        with self._content.lock:
            found = [*self._content.vectors.matches.values()]
        return sorted((each for each in found if function in {None, each.call.function}), key=lambda each: each.at)

    def learn(self, *vectors: StoredVector) -> None:
        """Add them."""
        with self._content.lock:
            for each in vectors:
                self._content.vectors.add(each)

    def note(self, *matches: StoredMatch) -> None:
        """Put them, unless the other call was forgotten meanwhile."""
        with self._content.lock:
            for each in matches:
                if self._content.samples.get(each.of):
                    self._content.vectors.matches[each.call, each.shadow] = each


def _stands_in(numbers: Sequence[int], number: int) -> bool:
    """Tell whether a number is among some in their order."""
    at = bisect_left(numbers, number)
    return at < len(numbers) and numbers[at] == number
