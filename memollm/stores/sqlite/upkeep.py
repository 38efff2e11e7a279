"""The rows that forgetting, rewinding, dropping, adopting, evicting and counting change, inside such a transaction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from memollm._types.calls import resumed, walked
from memollm.stores.keeping import in_use
from memollm.stores.matching import VectorSpace
from memollm.stores.sqlite.ledger import Ledger, new_generation
from memollm.stores.transcripts import reader_of, runner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, DrawnStretch, Use
    from memollm._types.listings import Move

OF_CALL: Final = (
    "forget_cursors", "forget_loose", "forget_recorded", "forget_used", "forget_drawn", "forget_replaced",
    "forget_vectors", "forget_matches",
)  # fmt: skip


class Upkeep:
    """What one transaction changes besides drawing."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._numbers = ledger.rows
        self._do = ledger.rows.do

    # Calls.

    def forget(self, call: Call) -> int:
        """Remove a call with its samples and cursors."""
        number = self._numbers.find_call(call)
        if number is None:
            return 0
        holds, in_flight = self._ledger.ownership.holds, self._do("in_flight", number).fetchall()
        return self._forget(number, {reader for reader, owner, ticket in in_flight if holds(owner, ticket)})

    def _forget(self, number: int, drawing: Iterable[int] = ()) -> int:
        """Remove a call; readers that are drawing it are told that their sequence is no more."""
        for statement in OF_CALL:
            self._do(statement, number)
        for reader in drawing:
            self._do("join_cursor", reader, number, 0, -new_generation())
        samples = self._do("forget_samples", number).rowcount
        self._do("remove_call", number)
        self._numbers.calls.clear()
        return samples

    def evict(self, numbers: Iterable[object], used_by: float) -> list[object]:
        """Forget calls that were not used since and that nobody is drawing at this moment."""
        evicted = [number for number in numbers if isinstance(number, int) and self._may_go(number, used_by)]
        for number in evicted:
            self._forget(number)
        return list[object](evicted)

    def _may_go(self, number: int, used_by: float) -> bool:
        row = self._do("last_used", number).fetchone()
        return row is not None and row[0] <= used_by and not self.is_held(number)

    def is_held(self, number: int | None) -> bool:
        """Tell whether somebody alive is filling a slot of a call, or has positions of it in flight."""
        return any(self._ledger.ownership.holds(*holder) for holder in self._do("holders", number).fetchall())

    def adopt(self, move: Move, rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of one call to another."""
        old, new = self._numbers.find_call(move.old), self._numbers.find_call(move.new)
        if self.is_held(old) or self.is_held(new):
            raise in_use(move.old)
        if old is None:
            return 0
        samples = self._do("samples", old).fetchall()
        for slot, record, *_ in samples:
            rewritten = rewrite(move, record)
            if rewritten != record:
                self._do("rewrite_sample", rewritten, old, slot)
        if new is None:
            self._do("move_call", move.new.key, move.new.function, move.new.form, old)
        else:
            self._append(old, new)
        self._move_vectors(move.new, old, old if new is None else new)
        self._numbers.calls.clear()
        return len(samples)

    def _move_vectors(self, call: Call, old: int, new: int) -> None:
        """Let vectors be where those of the call are that they belong to now."""
        for number, embedder, parameter in self._do("vectors_of_call", old).fetchall():
            self._do("move_vector", number, VectorSpace(embedder, parameter).digest(call.form), new)
            self._do("remove_vector", number)

    def _append(self, old: int, new: int) -> None:
        (start,) = self._do("end_of_call", new).fetchone()
        (end_of_record,) = self._do("end_of_record", new).fetchone()
        for statement in ("append_samples", "append_loose", "append_used", "append_drawn", "append_replaced"):
            self._do(statement, old, new, start)
        for statement in ("append_matches", "append_sources"):
            self._do(statement, old, new)
        self._do("forget_used", old)
        self._do("append_recorded", old, new, start, end_of_record)
        self._do("join_use", old, new)
        for reader, name, drawn, had in self._do("cursors_of_call", old, new).fetchall():
            # What the reader had not come to of the new call's own samples stays to be drawn.
            for at in () if resumed(name) else walked(had, start):
                self._do("pass_over", reader, new, at)
            self._do("join_cursor", reader, new, start + drawn, new_generation())
        self._do("forget_cursors", old)
        self._do("remove_call", old)

    # Readers.

    def rewind(self, reader: str) -> bool:
        """Set a reader back to its start; what it has in flight no longer belongs to it, what its lanes own stays."""
        number = self._numbers.find_reader(reader)
        self._do("drop_loose", number)
        is_there = self._do("rewind_cursors", number, new_generation()).rowcount > 0
        if number is not None:
            numbers = self._numbers.reader_numbers(reader)
            for (call,) in self._do("recorded_calls", *numbers).fetchall():
                self._numbers.reserve(call, 0, *numbers)
        return is_there

    def drop(self, reader: str) -> bool:
        """Remove a reader, with what its own lanes were given."""
        number = self._numbers.find_reader(reader)
        self._do("drop_loose", number)
        self._do("drop_recorded", number)
        self._do("drop_drawn", number)
        return self._do("drop_cursors", number).rowcount > 0

    # Counting.

    def count_once(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Count, unless that was done under this id."""
        if id not in self._ledger.counted:
            self._ledger.counted.remember(id, None)
            self._numbers.undo.append(partial(self._ledger.counted.forget, id))
            self._count(counts, uses)

    def _count(self, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:
        """Add up what was counted, and note what was used."""
        for account, counted in counts.items():
            self._do("count_up", *account, *counted)
        for use in uses:
            number = self._numbers.find_call(use.call)
            if number is not None:
                self._do("touch", use.at, number)
                if use.run is not None:
                    self.use(use.run, number, use.first, use.last)

    def use(self, run: str, call: int, first: int, last: int) -> None:
        """Note a stretch, as one with those that it touches."""
        stretch = (run, call, first, last)
        begins, ends = self._do("touching_uses", *stretch).fetchone()
        self._do("remove_touching_uses", *stretch)
        self._do("add_use", run, call, min(first, first if begins is None else begins), max(last, ends or 0))

    def transcribe(self, drawn: Iterable[DrawnStretch]) -> None:
        """Note what runs were given."""
        numbers = self._numbers
        for each in drawn:
            call = numbers.known_call(each.call)
            if call is not None:
                runner, reader = (numbers.reader_numbers(name)[0] for name in (runner_of(each), reader_of(each)))
                lane = numbers.lane_number(each.lane) if each.lane else 0
                self._do("add_drawn", runner, reader, call, each.first, each.last, lane, each.at)
