"""Reading vectors and matches where they are rows, by statements whose names and values all such stores share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call
from memollm.stores.matching import MOST_VECTORS, Matching, StoredMatch, StoredVector, VectorSpace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class StoredMatches(Matching):
    """Reads vectors and matches by whatever gives rows, and notes nothing: of what is only read."""

    def __init__(self, rows: Callable[..., list[Any]]) -> None:
        """`rows` runs a statement by its name, with its values."""
        self._rows = rows

    def vectors(self, space: bytes, after: int) -> Sequence[tuple[int, bytes]]:
        """Read without any lock."""
        return self._rows("vectors", space, after, MOST_VECTORS)

    def calls_of(self, space: bytes, numbers: Sequence[int]) -> Mapping[int, Call]:
        """Read without any lock."""
        found = ((number, self._rows("call_of_vector", number, space)) for number in numbers)
        return {number: Call(*row) for number, rows in found for row in rows}

    def keeps_any(self) -> bool:
        """Read without any lock."""
        return bool(self._rows("any_vector"))

    def vectors_of(self, call: Call) -> list[StoredVector]:
        """Read without any lock."""
        rows = self._rows("vectors_with_spaces", call.key, call.form)
        return [StoredVector(call, VectorSpace(embedder, parameter), vector) for embedder, parameter, vector in rows]

    def match_of(self, call: Call) -> StoredMatch | None:
        """Read without any lock."""
        rows = self._rows("match_of", call.key, call.form)
        return next((StoredMatch(call, Call(*row[:3]), *row[3:]) for row in rows), None)

    def matches(self, function: str | None = None) -> list[StoredMatch]:
        """List them."""
        return [
            StoredMatch(Call(*row[:3]), Call(*row[3:6]), *row[6:])._replace(shadow=bool(row[-1]))
            for row in self._rows("matches", function, function)
        ]

    def learn(self, *vectors: StoredVector) -> None:
        """Keep nothing."""

    def note(self, *matches: StoredMatch) -> None:
        """Keep nothing."""
