"""How a SQLite store keeps vectors and matches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call
from memollm.stores.matching import Matching, StoredMatch, StoredVector, VectorSpace

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm.stores.sqlite.ledger import Ledger
    from memollm.stores.sqlite.session import Session


class SqliteMatches(Matching):
    """Reads vectors and matches by whatever gives rows, and notes nothing: of a file that is only read."""

    def __init__(self, rows: Callable[..., list[Any]]) -> None:
        """`rows` runs a statement by its name, with its values."""
        self._rows = rows

    def vectors(self, space: bytes, after: int) -> Sequence[tuple[int, bytes]]:
        """Read without any lock."""
        return self._rows("vectors", space, after)

    def call_of(self, number: int) -> Call | None:
        """Read without any lock."""
        return next((Call(*row) for row in self._rows("call_of_vector", number)), None)

    def keeps_any(self) -> bool:
        """Read without any lock."""
        return bool(self._rows("any_vector"))

    def vectors_of(self, call: Call) -> list[StoredVector]:
        """Read without any lock."""
        rows = self._rows("vectors_with_spaces", call.key, call.form)
        return [StoredVector(call, VectorSpace(embedder, parameter), vector) for embedder, parameter, vector in rows]

    def match_of(self, call: Call) -> StoredMatch | None:
        """Read without any lock, comparing the call's form."""
        for form, key, of_form, function, *rest in self._rows("match_of", call.key):
            if form == call.form:
                return StoredMatch(call, Call(key, of_form, function), *rest)
        return None

    def matches(self, function: str | None = None) -> list[StoredMatch]:
        """List them."""
        return [
            StoredMatch(Call(*row[:3]), Call(*row[3:6]), *row[6:])._replace(shadow=bool(row[-1]))
            for row in self._rows("matches", function)
        ]

    def learn(self, vector: StoredVector) -> None:
        """Keep nothing."""

    def note(self, match: StoredMatch) -> None:
        """Keep nothing."""


class SqliteMatching(SqliteMatches):
    """Notes by the session of this process."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.rows)
        self._session = session

    def learn(self, vector: StoredVector) -> None:
        """Add a row, unless there is one."""
        call, space, numbers = vector
        digest = space.digest(call.form)

        def work(ledger: Ledger) -> None:
            rows = ledger.rows
            rows.do("add_vector", digest, rows.call_number(call), space.embedder, space.parameter, numbers)

        self._session.transact(work)

    def note(self, match: StoredMatch) -> None:
        """Put a row."""

        def work(ledger: Ledger) -> None:
            rows = ledger.rows
            of = rows.known_call(match.of)
            # A call that was forgotten meanwhile is no longer given.
            if of is not None:
                values = match.parameter, match.score, match.rule, match.at
                rows.do("put_match", rows.call_number(match.call), int(match.shadow), of, *values)

        self._session.transact(work)
