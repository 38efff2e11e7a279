"""How a PostgreSQL store keeps vectors and matches: what is kept at one time in one round trip."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

from memollm._types.calls import Call
from memollm.stores.matches import StoredMatches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memollm.stores.matching import StoredMatch, StoredVector
    from memollm.stores.postgres.session import ServerSession


class PostgresMatches(StoredMatches):
    """Reads by whatever gives rows, and notes nothing: of what is only read."""

    def calls_of(self, space: bytes, numbers: Sequence[int]) -> Mapping[int, Call]:
        """Read them in one round trip."""
        rows = self._rows("calls_of_vectors", list(numbers), space)
        return {number: Call(*row) for number, *row in rows}


class PostgresMatching(PostgresMatches):
    """Notes by functions of the server."""

    def __init__(self, session: ServerSession) -> None:
        super().__init__(session.rows)

    def learn(self, *vectors: StoredVector) -> None:
        """Add rows where there are none."""
        self._rows(
            "learn",
            _named(each.call for each in vectors),
            [each.space.digest(each.call.form) for each in vectors],
            [each.space.embedder for each in vectors],
            [each.space.parameter for each in vectors],
            [each.vector for each in vectors],
            time.time(),
        )

    def note(self, *matches: StoredMatch) -> None:
        """Put rows."""
        self._rows(
            "note_matches",
            _named(each.call for each in matches),
            [each.of.key for each in matches],
            [each.of.form for each in matches],
            [each.shadow for each in matches],
            [each.parameter for each in matches],
            [each.score for each in matches],
            [each.rule for each in matches],
            [each.at for each in matches],
            time.time(),
        )


def _named(calls: Iterable[Call]) -> str:
    """Name calls whose numbers are not known, as `numbers_of_calls` reads them."""
    return json.dumps([(None, call.key.hex(), call.function, call.form) for call in calls])
