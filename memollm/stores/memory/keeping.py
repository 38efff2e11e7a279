"""How a memory store is kept: what changes it besides drawing."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

from memollm._types.calls import Call, resumed
from memollm._types.counting import Account, Counts, Use
from memollm.stores.keeping import Keeping, in_use
from memollm.stores.memory.content import MemoryContent, MemoryCursor
from memollm.stores.memory.looking import last_used
from memollm.stores.memory.transfer import MemoryTransfer
from memollm.stores.transfer import Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.listings import Move
    from memollm._types.samples import Sample
    from memollm.stores.looking import Document


class MemoryKeeping(Keeping):
    """Changes what is kept, under the store's lock."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    # Calls.

    def forget(self, call: Call) -> int:
        """Remove a call with all that it has."""
        content = self._content
        with content.lock:
            content.epoch += 1
            for reader, cursors in list(content.cursors.items()):
                cursor = cursors.pop(call, None)
                if cursor is not None and any(map(content.holds, cursor.loose.values())):
                    # What is in flight is told that its sequence is no more.
                    cursors[call] = MemoryCursor(generation=-MemoryCursor().generation)
                elif not cursors:
                    del content.cursors[reader]
            for key in [key for key in content.recorded if key[1] == call]:
                del content.recorded[key]
            for kept in (content.used, content.stretches, content.replaced):
                kept.pop(call, None)
            content.vectors.forget(call)
            return len(content.samples.pop(call, {}))

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to others."""
        content = self._content
        with content.lock:
            for call in {call for move in moves for call in move}:
                if self._in_use(call):
                    raise in_use(call)
            rewritten = [
                {slot: sample._replace(record=rewrite(move, sample.record)) for slot, sample in kept.items()}
                for move in moves
                for kept in [content.samples.get(move.old, {})]
            ]
            content.epoch += 1
            return sum(self._adopt(move, samples) for move, samples in zip(moves, rewritten, strict=True))

    def _adopt(self, move: Move, samples: dict[int, Sample]) -> int:
        content = self._content
        content.samples.pop(move.old, None)
        kept = content.samples.setdefault(move.new, {})
        ends = [cursors[move.new].next for cursors in content.cursors.values() if move.new in cursors]
        start = max([0, content.end_of_lanes(move.new), *ends, *(slot + 1 for slot in kept)])
        kept.update({start + slot: sample for slot, sample in samples.items()})
        for reader, cursors in content.cursors.items():
            old = cursors.pop(move.old, None)
            if old is not None:
                joined = _joined_left if resumed(reader) else _joined
                cursors[move.new] = joined(cursors.get(move.new, MemoryCursor()), old, start)
        for whose, call in [key for key in content.recorded if key[1] == move.old]:
            moved = {start + at: lane for at, lane in content.recorded.pop((whose, call)).items()}
            content.recorded.setdefault((whose, move.new), {}).update(moved)
        self._move_known(move, start)
        return len(samples)

    def _move_known(self, move: Move, start: int) -> None:
        """Let what is known of slots, besides their samples, move with them."""
        content = self._content
        content.vectors.move(move)
        if move.old in content.used:
            content.used[move.new] = max(content.used.pop(move.old), content.used.get(move.new, 0.0))
        moved = {Stretch(run, start + first, start + last) for run, first, last in content.stretches.pop(move.old, ())}
        if moved:
            content.stretches.setdefault(move.new, set()).update(moved)
        replaced = {each._replace(slot=start + each.slot) for each in content.replaced.pop(move.old, ())}
        if replaced:
            content.replaced.setdefault(move.new, set()).update(replaced)

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """Forget calls that were not used since and that nobody is drawing."""
        content = self._content
        with content.lock:
            known = [each for each in handles if isinstance(each, Call) and each in content.samples]
            evicted = [each for each in known if last_used(content, each) <= used_by and not self._in_use(each)]
            for call in evicted:
                self.forget(call)
            return list[object](evicted)

    def _in_use(self, call: Call) -> bool:
        content = self._content
        claimants = [ticket for place, ticket in content.claims.items() if place.call == call]
        cursors = [each[call] for each in content.cursors.values() if call in each]
        return any(map(content.holds, [*claimants, *(held for each in cursors for held in each.loose.values())]))

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Do nothing: what was removed here is gone."""

    # Readers.

    def rewind(self, reader: str) -> bool:
        """Begin new cursors."""
        content = self._content
        with content.lock:
            content.epoch += 1
            cursors = content.cursors.get(reader, {})
            for call in cursors:
                cursors[call] = MemoryCursor()
                content.reserve(cursors[call], reader, call)
            return reader in content.cursors

    def drop(self, reader: str) -> bool:
        """Remove a reader, with what its own lanes were given."""
        content = self._content
        with content.lock:
            for key in [key for key in content.recorded if key[0] == reader]:
                del content.recorded[key]
            content.epoch += 1
            return content.cursors.pop(reader, None) is not None

    # Counts and notes.

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - the protocol's
        """Add up, once."""
        content = self._content
        with content.lock:
            if id in content.counted:
                return
            content.counted.remember(id, None)
            for account, counted in counts.items():
                content.counts[account] = content.counts.get(account, Counts()).plus(counted)
            for use in uses:
                if use.call in content.samples:
                    content.used[use.call] = max(use.at, content.used.get(use.call, use.at))
                    if use.run is not None:
                        content.stretches.setdefault(use.call, set()).add(Stretch(use.run, use.first, use.last))

    def note(self, kind: str, name: str, document: Document, *, instead_of: Document | None) -> bool:
        """Keep a copy of a document."""
        with self._content.lock:
            documents = self._content.catalog.setdefault(kind, {})
            if documents.get(name) != instead_of:
                return False
            documents[name] = copy.deepcopy(document)
            return True

    def transfer(self) -> MemoryTransfer:
        """Give access to the content."""
        return MemoryTransfer(self._content)


def _joined(cursor: MemoryCursor, old: MemoryCursor, start: int) -> MemoryCursor:
    """Let a reader have drawn what it had drawn of either call, and leave it the rest of both."""
    free = [*cursor.loose, *range(cursor.next, start), *(start + at for at in old.loose)]
    return MemoryCursor(start + old.next, dict.fromkeys(free))


def _joined_left(cursor: MemoryCursor, old: MemoryCursor, start: int) -> MemoryCursor:
    """Leave to a reader that resumes another what was left to it of either call, and nothing else."""
    return MemoryCursor(start + old.next, dict.fromkeys([*cursor.loose, *(start + at for at in old.loose)]))
