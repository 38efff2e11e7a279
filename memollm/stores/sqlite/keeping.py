"""What changes a SQLite store besides drawing, as stores are asked for it: each in a transaction of its own."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from memollm.stores.keeping import Keeping
from memollm.stores.sqlite import catalog
from memollm.stores.sqlite.connections import Closed
from memollm.stores.sqlite.link import until_free
from memollm.stores.sqlite.sql import statements
from memollm.stores.sqlite.transfer import SqliteTransfer
from memollm.stores.sqlite.upkeep import Upkeep
from memollm.stores.transcripts import Transcribing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, DrawnStretch, Use
    from memollm._types.listings import Move
    from memollm.stores.looking import Document
    from memollm.stores.sqlite.ledger import Ledger
    from memollm.stores.sqlite.link import Link
    from memollm.stores.sqlite.session import Session

T = TypeVar("T")


class SqliteKeeping(Keeping, Transcribing):
    """Changes what is stored, by the session of this process."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def _change(self, work: Callable[[Upkeep], T]) -> T:
        """Replace or remove something, so that every process forgets what it remembers."""

        def and_begin_epoch(ledger: Ledger) -> T:
            result = work(Upkeep(ledger))
            ledger.rows.link.begin_epoch()
            return result

        return self._session.transact(and_begin_epoch, durable=True)

    def forget(self, call: Call) -> int:
        """Remove a call with all that it has."""
        return self._change(lambda upkeep: upkeep.forget(call))

    def rewind(self, reader: str) -> bool:
        """Begin a reader's cursors anew."""
        return self._change(lambda upkeep: upkeep.rewind(reader))

    def drop(self, reader: str) -> bool:
        """Remove a reader."""
        return self._change(lambda upkeep: upkeep.drop(reader))

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to others."""
        return self._change(lambda upkeep: sum(upkeep.adopt(move, rewrite) for move in moves))

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """Forget calls that were not used since."""
        return self._change(lambda upkeep: upkeep.evict(handles, used_by))

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Give pages back to the disk."""
        # Whoever forks meanwhile ends it; it is done with the next.
        with suppress(Closed), self._session.translating():
            self._session.link().shrink(told)

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Add up, once."""
        self._session.transact(lambda ledger: Upkeep(ledger).count_once(id, counts, uses))

    def transcribe(self, drawn: Sequence[DrawnStretch]) -> None:
        """Note what runs were given."""
        self._session.transact(lambda ledger: Upkeep(ledger).transcribe(drawn))

    def note(self, kind: str, name: str, document: Document, *, instead_of: Document | None) -> bool:
        """Keep a document."""

        def compare_and_set(link: Link) -> bool:
            rows = link.execute(statements()[f"notes_{kind}"], (name,)).fetchall()
            if catalog.documents_of(rows).get(name) != instead_of:
                return False
            catalog.put(link, kind, name, document)
            return True

        with self._session.translating():
            return until_free(lambda: self._session.in_place(compare_and_set), wait=True)

    def transfer(self) -> SqliteTransfer:
        """Give access to the content."""
        link = self._session.link()
        transact = partial(self._session.transact, durable=True)
        return SqliteTransfer(link, self._session.rows, transact, self._session.translating)
