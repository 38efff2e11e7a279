"""The rows that forgetting, rewinding, dropping, adopting, evicting and counting change, inside such a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import recorder
from memollm.stores.keeping import in_use
from memollm.stores.matching import VectorSpace
from memollm.stores.postgres.counting import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts
    from memollm._types.listings import Move
    from memollm.stores.postgres.connections import KeptConnection

OF_CALL: Final = (
    "forget_cursors", "forget_loose", "forget_recorded", "forget_used", "forget_drawn", "forget_replaced",
    "forget_vectors", "forget_matches", "forget_sources", "unused",
)  # fmt: skip


class Upkeeping:
    """What one transaction changes besides drawing."""

    def __init__(self, connection: KeptConnection, sql: Mapping[str, bytes], me: int) -> None:
        self._connection = connection
        self._sql = sql
        self.me = me

    def do(self, statement: str, *values: Any, **named: Any) -> Any:
        """Run a statement by its name."""
        return self._connection.execute(self._sql[statement], named or values or None)

    def text(self, statement: str) -> bytes:
        """Return a statement by its name."""
        return self._sql[statement]

    def value(self, statement: str, *values: Any, **named: Any) -> Any:
        """Run a statement and return the first value of its first row, if it has one."""
        row = self.do(statement, *values, **named).fetchone()
        return None if row is None else row[0]

    # Calls.

    def _find(self, call: Call) -> int | None:
        number: int | None = self.value("find_call", call.key, call.form)
        return number

    def forget_call(self, call: Call) -> int:
        """Remove a call with its samples and cursors."""
        number = self._find(call)
        return 0 if number is None else self._forget(number)

    def _forget(self, number: int) -> int:
        """Remove a call; readers that are drawing it are told that their sequence is no more."""
        drawing = [reader for (reader,) in self.do("drawing", number, self.me).fetchall()]
        for statement in OF_CALL:
            self.do(statement, number)
        for reader in drawing:
            self.do("end_sequence", reader, number)
        self.do("void_claims", number, self.me)
        samples: int = self.value("forget_samples", id=number)
        self.do("remove_call", id=number)
        self.do("renumber")
        return samples

    def evict(self, numbers: Iterable[object], used_by: float) -> list[object]:
        """Forget calls that were not used since and that nobody is drawing at this moment."""
        evicted = [number for number in numbers if isinstance(number, int) and self._may_go(number, used_by)]
        for number in evicted:
            self._forget(number)
        return list[object](evicted)

    def _may_go(self, number: int, used_by: float) -> bool:
        used = self.value("last_used", number)
        return used is not None and used <= used_by and not self._is_held(number)

    def _is_held(self, number: int | None) -> bool:
        return bool(self.value("is_held", id=number, me=self.me))

    def adopt(self, move: Move, rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of one call to another."""
        old, new = self._find(move.old), self._find(move.new)
        if self._is_held(old) or self._is_held(new):
            raise in_use(move.old)
        if old is None:
            return 0
        samples = self.do("samples", old).fetchall()
        for slot, record, *_ in samples:
            rewritten = rewrite(move, record)
            if rewritten != record:
                self.do("rewrite_sample", rewritten, old, slot)
        self.do("drop_void_slots", [old, new or old])
        if new is None:
            form = move.new.form
            self.do("move_call", move.new.key, move.new.function, form, form, old)
        else:
            self._append(old, new)
        self._move_vectors(move.new, old, old if new is None else new)
        self.do("renumber")
        return len(samples)

    def _move_vectors(self, call: Call, old: int, new: int) -> None:
        """Let vectors be where those of the call are that they belong to now."""
        for number, embedder, parameter in self.do("vectors_of_call", old).fetchall():
            self.do("move_vector", VectorSpace(embedder, parameter).digest(call.form), new, number)
            self.do("remove_vector", number)

    def _append(self, old: int, new: int) -> None:
        both = {"old": old, "new": new, "start": self.value("end_of_call", id=new)}
        for statement in ("samples", "loose", "used", "drawn", "replaced", "recorded", "matches", "sources"):
            self.do(f"append_{statement}", **both)
        self.do("join_use", **both)
        self.do("leave_rest", **both)
        self.do("join_cursors", **both)
        self.do("forget_cursors", old)
        self.do("remove_call", id=old)

    # Readers.

    def rewind(self, reader: str) -> bool:
        """Set a reader back to its start; what it has in flight no longer belongs to it, what its lanes own stays."""
        number = self.value("find_reader", reader)
        self.do("drop_loose", number)
        is_there: bool = self.do("rewind_cursors", number).rowcount > 0
        if is_there:
            self.do("reserve_again", reader=number, recorder=self.value("bring_reader", recorder(reader)))
        return is_there

    def drop(self, reader: str) -> bool:
        """Remove a reader, with what its own lanes were given."""
        number = self.value("find_reader", reader)
        self.do("drop_loose", number)
        self.do("drop_recorded", number)
        self.do("drop_drawn", number)
        is_there: bool = self.do("drop_cursors", number).rowcount > 0
        return is_there

    # What comes from elsewhere.

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add up what was counted."""
        self.do("add_counts", counted(counts))

    def use(self, run: str, call: int, first: int, last: int) -> None:
        """Note a stretch, as one with those that it touches."""
        self.do("add_use", run, call, first, last)
