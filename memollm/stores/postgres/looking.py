"""Looking into a PostgreSQL store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call, Place, recorder
from memollm._types.counting import Account, Counts
from memollm._types.listings import Standing
from memollm.stores.claims import TellsClaims
from memollm.stores.documents import damaged, document_of
from memollm.stores.lists import StoredLists
from memollm.stores.transcripts import Transcribed, sought, stretches_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._types.counting import DrawnStretch
    from memollm.stores.looking import Document
    from memollm.stores.postgres.session import ServerSession


class PostgresLooking(StoredLists, TellsClaims, Transcribed):
    """Makes lists of rows."""

    def __init__(self, session: ServerSession) -> None:
        super().__init__(session.rows)

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call."""
        ahead, loose, lanes = 0, set[int](), dict[int, str]()
        rows = self._rows("standing", reader=reader, recorder=recorder(reader), key=call.key, form=call.form)
        for kind, at, lane, _ in rows:
            if kind == 1:
                ahead = at
            elif lane is None:
                loose.add(at)
            else:
                lanes[at] = lane
        return Standing(ahead, frozenset(loose), lanes)

    def transcript(self, *, run: str | None, namespace: str | None, lane: str | None) -> list[DrawnStretch]:
        """List what was given, in the order of asking."""
        runner, reader = sought(run, namespace)
        return stretches_of(self._rows("transcript", runner=runner, reader=reader, lane=lane), namespace)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return counts_of(self._rows("counted"))

    def claims(self) -> list[Place]:
        """List the slots that somebody alive is filling."""
        return [Place(Call(key, form, name), slot) for key, form, name, slot in self._rows("claims")]

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read documents of the catalog."""
        return {each: read_document(each, text) for each, text in self._rows("notes", kind, name, name)}


def read_document(name: str, text: str) -> Document:
    """Read a document, or refuse what is none."""
    document = document_of(text)
    if document is None:
        raise damaged(name)
    return document


def counts_of(rows: Iterable[tuple[Any, ...]]) -> dict[Account, Counts]:
    """Make counts of their rows."""
    width = len(Account._fields)
    return {Account._make(row[:width]): Counts._make(row[width:]) for row in rows}
