"""What changes a PostgreSQL store besides drawing, each in a transaction of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar

from memollm.stores.keeping import Keeping
from memollm.stores.postgres.counting import counted, given, used
from memollm.stores.postgres.looking import read_document
from memollm.stores.postgres.transfer import PostgresTransfer
from memollm.stores.postgres.upkeep import Upkeeping
from memollm.stores.transcripts import Transcribing

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, DrawnStretch, Use
    from memollm._types.listings import Move
    from memollm.stores.looking import Document
    from memollm.stores.postgres.connections import KeptConnection
    from memollm.stores.postgres.session import ServerSession

T = TypeVar("T")


class PostgresKeeping(Keeping, Transcribing):
    """Changes what is stored, while nobody draws."""

    def __init__(self, store: ServerSession) -> None:
        self._store = store

    def _change(self, work: Callable[[Upkeeping], T]) -> T:
        """Replace or remove something, so that every process forgets what it remembers."""
        store = self._store
        # Whatever draws of this process hold that are over is void, and is known to be.
        store.settle_left()

        def change(connection: KeptConnection) -> tuple[T, int]:
            upkeep = Upkeeping(connection, store.sql, store.opened().line.owner)
            upkeep.value("alone")
            result = work(upkeep)
            return result, upkeep.value("begin_epoch")

        result, epoch = store.changed(change)
        store.outlast(epoch)
        return result

    def forget(self, call: Call) -> int:
        """Remove a call with all that it has."""
        return self._change(lambda upkeep: upkeep.forget_call(call))

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
        """Do nothing: the server gives space back by itself."""

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Add up, once."""
        self._note("count", id, counted(counts), *used(uses))

    def transcribe(self, drawn: Sequence[DrawnStretch]) -> None:
        """Note what runs were given."""
        if drawn:
            self._note("transcribe", *given(drawn))

    def _note(self, statement: str, *values: object) -> None:
        """Bring it to the server in one round trip, and again if the answer is lost: it is done once."""
        store = self._store

        def bring() -> None:
            opened = store.opened()
            with opened.connections.lent() as connection:
                connection.fetched(store.sql[statement], (opened.line.owner, connection.number, *values))

        store.patiently(bring)

    def note(self, kind: str, name: str, document: Document, *, instead_of: Document | None) -> bool:
        """Keep a document."""
        text = json.dumps(document)

        def put(connection: KeptConnection) -> bool:
            upkeep = Upkeeping(connection, self._store.sql, 0)
            if instead_of is None:
                return bool(upkeep.do("put_note", kind, name, text).rowcount)
            row = upkeep.do("lock_note", kind, name).fetchone()
            if row is None or read_document(name, row[0]) != instead_of:
                return False
            upkeep.do("replace_note", text, kind, name)
            return True

        return self._store.changed(put)

    def transfer(self) -> PostgresTransfer:
        """Give access to the content."""
        return PostgresTransfer(self._store)
