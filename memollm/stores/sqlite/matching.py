"""How a SQLite store keeps vectors and matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm.stores.matches import StoredMatches

if TYPE_CHECKING:
    from memollm.stores.matching import StoredMatch, StoredVector
    from memollm.stores.sqlite.ledger import Ledger
    from memollm.stores.sqlite.session import Session


class SqliteMatching(StoredMatches):
    """Notes by the session of this process."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.rows)
        self._session = session

    def learn(self, *vectors: StoredVector) -> None:
        """Add rows, in one transaction, where there are none."""
        placed = [(each, each.space.digest(each.call.form)) for each in vectors]

        def work(ledger: Ledger) -> None:
            rows = ledger.rows
            for (call, space, numbers), digest in placed:
                rows.do("add_vector", digest, rows.call_number(call), space.embedder, space.parameter, numbers)

        self._session.transact(work)

    def note(self, *matches: StoredMatch) -> None:
        """Put rows, in one transaction."""

        def work(ledger: Ledger) -> None:
            rows = ledger.rows
            for match in matches:
                of = rows.known_call(match.of)
                # A call that was forgotten meanwhile is no longer given.
                if of is not None:
                    values = match.parameter, match.score, match.rule, match.at
                    rows.do("put_match", rows.call_number(match.call), int(match.shadow), of, *values)

        self._session.transact(work)
