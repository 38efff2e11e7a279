"""The vectors and matches that a memory store holds."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm._types.calls import Call
    from memollm._types.listings import Move
    from memollm.stores.matching import StoredMatch, StoredVector


class MemoryVectors:
    """The vectors and matches of a memory store, which are read and changed under its lock."""

    def __init__(self) -> None:
        self.vectors: dict[int, StoredVector] = {}
        """By number, in the order of learning."""
        self.spaces: dict[bytes, list[int]] = {}
        self.known: dict[tuple[Call, bytes], int] = {}
        self.matches: dict[tuple[Call, bool], StoredMatch] = {}
        self._numbers = count(1)

    def add(self, vector: StoredVector) -> None:
        """Give a vector the next number, unless its call has one in that space."""
        digest = vector.space.digest(vector.call.form)
        if (vector.call, digest) not in self.known:
            number = self.known[vector.call, digest] = next(self._numbers)
            self.vectors[number] = vector
            self.spaces.setdefault(digest, []).append(number)

    def calls(self) -> Iterator[Call]:
        """Give the calls of which anything is kept."""
        yield from (vector.call for vector in self.vectors.values())
        yield from (call for call, _ in self.matches)

    def _remove(self, number: int) -> StoredVector:
        vector = self.vectors.pop(number)
        digest = vector.space.digest(vector.call.form)
        del self.known[vector.call, digest]
        self.spaces[digest].remove(number)
        return vector

    def _take(self, call: Call) -> list[StoredVector]:
        return [self._remove(number) for (whose, _), number in list(self.known.items()) if whose == call]

    def forget(self, call: Call) -> None:
        """Remove what is kept of a call."""
        self._take(call)
        for key, match in list(self.matches.items()):
            if call in {match.call, match.of}:
                del self.matches[key]

    def move(self, move: Move) -> None:
        """Let what is kept of a call be another's."""
        for vector in self._take(move.old):
            self.add(vector._replace(call=move.new))
        for key, match in list(self.matches.items()):
            if move.old in {match.call, match.of}:
                del self.matches[key]
                call, of = (move.new if each == move.old else each for each in (match.call, match.of))
                self.matches[call, match.shadow] = match._replace(call=call, of=of)
