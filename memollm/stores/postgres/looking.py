"""Looking into a PostgreSQL store."""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from memollm._types.calls import Call, Place, recorder
from memollm._types.counting import Account, Counts
from memollm._types.listings import Item, ListedReader, ReaderOfCall, Standing, Stored, Surveyed
from memollm.stores.claims import TellsClaims
from memollm.stores.documents import damaged, document_of
from memollm.stores.looking import Looking, mentions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm.stores.looking import Document
    from memollm.stores.postgres.session import ServerSession


class PostgresLooking(Looking, TellsClaims):
    """Makes lists of rows."""

    def __init__(self, session: ServerSession) -> None:
        self._rows = session.rows

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

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function."""
        rows = self._rows("calls_of_function", function)
        return [Stored(Call(key, form, name), samples) for key, form, name, samples in rows]

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List the calls that have samples."""
        listed = [
            Surveyed(Call(key, form, name), *figures)
            for key, form, name, *figures in self._rows("survey", function, function)
            if text is None or mentions(form, text)
        ]
        return sorted(listed, key=attrgetter("made"))

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call, of which there is a row for each lane."""
        lanes: dict[tuple[str, int], list[str]] = {}
        for name, draws, lane in self._rows("readers_of", call.key, call.form):
            lanes.setdefault((name, draws), []).extend([] if lane is None else [lane])
        return [ReaderOfCall(name, draws, tuple(each)) for (name, draws), each in lanes.items()]

    def readers(self) -> list[ListedReader]:
        """List the readers."""
        return [ListedReader(*row) for row in self._rows("list_readers")]

    def inventory(self) -> list[Item]:
        """List every call that has samples."""
        return [Item(*row) for row in self._rows("inventory")]

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
