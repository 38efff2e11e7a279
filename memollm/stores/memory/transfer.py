"""Moving content into and out of a memory store."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from memollm._types.calls import Call, Place
from memollm._types.counting import Account, Counts
from memollm.stores.memory.content import MemoryContent, MemoryCursor
from memollm.stores.transfer import Cursor, Entry, Lane, Part, Reached, Shelf, Snapshot, Stretch, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping

    from memollm._types.samples import Replaced, Sample

T = TypeVar("T")


class MemoryTransfer(Transfer):
    """Moves content under the store's lock."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    @contextmanager
    def snapshot(self) -> Generator[MemorySnapshot]:
        """Read a copy; calls and samples never change, so they are shared with it."""
        content, copied = self._content, MemoryContent()
        with content.lock:
            copied.samples = {call: dict(kept) for call, kept in content.samples.items()}
            copied.cursors = {reader: self._copied(kept) for reader, kept in content.cursors.items()}
            copied.recorded = {key: dict(kept) for key, kept in content.recorded.items()}
            copied.replaced = {call: set(kept) for call, kept in content.replaced.items()}
            copied.stretches = {call: set(kept) for call, kept in content.stretches.items()}
            copied.counts = dict(content.counts)
        yield MemorySnapshot(copied)

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Work under the lock."""
        with self._content.lock:
            return work(MemoryShelf(self._content))

    def _copied(self, cursors: dict[Call, MemoryCursor]) -> dict[Call, MemoryCursor]:
        """Copy cursors and share their calls; what an interrupted draw has left is free."""
        return {
            call: MemoryCursor(
                each.next,
                {at: None if self._content.is_free(ticket) else ticket for at, ticket in each.loose.items()},
                each.generation,
            )
            for call, each in cursors.items()
        }


class MemorySnapshot(Snapshot):
    """A copy of what was there."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    def _calls(self, part: Part) -> set[Call]:
        content = self._content
        if part.reader is not None:
            used = (call for call, kept in content.stretches.items() if any(each.run == part.run for each in kept))
            return {*content.cursors.get(part.reader, ()), *used}
        drawn = (call for kept in content.cursors.values() for call in kept)
        return {call for call in (*content.samples, *drawn) if part.function in {None, call.function}}

    def size(self, part: Part) -> int:
        """Count the samples of a part."""
        return sum(len(self._content.samples.get(call, ())) for call in self._calls(part))

    def entries(self, part: Part) -> Iterator[Entry]:
        """Give the calls of a part."""
        for call in sorted(self._calls(part), key=lambda call: (call.function.encode(), call.form.encode(), call.key)):
            made = min((sample.stored for sample in self._content.samples.get(call, {}).values()), default=0.0)
            yield Entry(call, call, made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples."""
        return iter(sorted(self._content.samples.get(entry.call, {}).items()))

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List what was replaced of a call."""
        return sorted(self._content.replaced.get(entry.call, ()))

    def cursors(self, entry: Entry) -> list[Cursor]:
        """List the readers of a call."""
        filled = self._content.samples.get(entry.call, {})
        return [
            Cursor(
                reader,
                kept[entry.call].next,
                sorted(at for at, ticket in kept[entry.call].loose.items() if ticket is None or at not in filled),
            )
            for reader, kept in sorted(self._content.cursors.items())
            if entry.call in kept
        ]

    def lanes(self, entry: Entry) -> list[Lane]:
        """List the lanes of a call."""
        return [
            Lane(whose, lane, [at for at, owner in recorded.items() if owner == lane])
            for (whose, call), recorded in sorted(self._content.recorded.items(), key=lambda item: item[0][0])
            if call == entry.call
            for lane in sorted(set(recorded.values()))
        ]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """List what runs used of a call."""
        return sorted(self._content.stretches.get(entry.call, ()))

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return dict(sorted(self._content.counts.items()))


class MemoryShelf(Shelf):
    """What is there, to be added to."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    def call(self, call: Call, made: float) -> Call:  # noqa: ARG002 - here a call is as old as its first sample
        """Find a call, or add it."""
        self._content.samples.setdefault(call, {})
        return call

    def size(self, handle: Call) -> int:
        """Count the samples of a call."""
        return len(self._content.samples[handle])

    def sample(self, handle: Call, slot: int) -> Sample | None:
        """Read a slot."""
        return self._content.samples[handle].get(slot)

    def samples(self, handle: Call) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        return iter(sorted(self._content.samples[handle].items()))

    def replaced(self, handle: Call) -> list[Replaced]:
        """List what was replaced of a call."""
        return sorted(self._content.replaced.get(handle, ()))

    def remember(self, handle: Call, replaced: Replaced) -> None:
        """Know what was replaced."""
        self._content.replaced.setdefault(handle, set()).add(replaced)

    def is_claimed(self, handle: Call, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        return self._content.is_claimed(Place(handle, slot))

    def end(self, handle: Call) -> int:
        """Return the first slot that nothing has reached."""
        end = max([self._content.end_of_lanes(handle), *(slot + 1 for slot in self._content.samples[handle])])
        while self.is_claimed(handle, end):
            end += 1
        return end

    def put(self, handle: Call, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._content.samples[handle][slot] = sample

    def record(self, handle: Call, lane: Lane) -> None:
        """Let positions be a lane's."""
        recorded = self._content.recorded.setdefault((lane.recorder, handle), {})
        for at in lane.positions:
            recorded.setdefault(at, lane.name)

    def drawn(self, handle: Call, reader: str) -> Reached:
        """Read how far a reader has come."""
        cursor = self._content.cursors.get(reader, {}).get(handle)
        if cursor is None:
            return Reached(0, ())
        return Reached(cursor.next, {at for at, ticket in cursor.loose.items() if self._content.is_free(ticket)})

    def draw(self, handle: Call, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor."""
        cursor = self._content.cursors.setdefault(reader, {}).setdefault(handle, MemoryCursor())
        cursor.next = upto
        for at in given:
            cursor.loose.pop(at, None)
        cursor.loose.update(dict.fromkeys(free))

    def use(self, handle: Call, stretch: Stretch) -> None:
        """Note what a run used."""
        self._content.stretches.setdefault(handle, set()).add(stretch)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return dict(self._content.counts)

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        for account, amounts in counts.items():
            self._content.counts[account] = self._content.counts.get(account, Counts()).plus(amounts)
