"""How a memory store keeps vectors and matches."""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from memollm.stores.matching import Matching, StoredMatch, StoredVector

if TYPE_CHECKING:
    from collections.abc import Sequence

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
            return [(number, kept.vectors[number].vector) for number in numbers[bisect_right(numbers, after) :]]

    def call_of(self, number: int) -> Call | None:
        """Look it up."""
        with self._content.lock:
            found = self._content.vectors.vectors.get(number)
            return None if found is None else found.call

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

    def learn(self, vector: StoredVector) -> None:
        """Add it."""
        with self._content.lock:
            self._content.vectors.add(vector)

    def note(self, match: StoredMatch) -> None:
        """Put it, unless the other call was forgotten meanwhile."""
        with self._content.lock:
            if self._content.samples.get(match.of):
                self._content.vectors.matches[match.call, match.shadow] = match
