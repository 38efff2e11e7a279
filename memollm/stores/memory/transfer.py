"""Moving content into and out of a memory store."""

from __future__ import annotations

from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from memollm._types.counting import Account, Counts
from memollm.stores.transfer import Cursor, Drawn, Entry, Lane, Part, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping
    from threading import RLock

    from memollm._types.calls import Call
    from memollm._types.samples import Sample

T = TypeVar("T")


class Progress(Protocol):
    """How the store knows how far a reader has come."""

    next: int
    loose: dict[int, int | None]


class Content(NamedTuple):
    """What the store holds."""

    samples: dict[Call, dict[int, Sample]]
    cursors: Mapping[str, Mapping[Call, Progress]]
    recorded: dict[tuple[str, Call], dict[int, str]]
    stretches: dict[Call, set[Stretch]]
    counts: dict[Account, Counts]


class MemoryTransfer:
    """See `stores.transfer.Transfer`."""

    def __init__(
        self,
        lock: RLock,
        content: Content,
        is_claimed: Callable[[Call, int], bool],
        new_cursor: Callable[[str, Call], Progress],
    ) -> None:
        self._lock = lock
        self._content = content
        self._is_claimed = is_claimed
        self._new_cursor = new_cursor

    @contextmanager
    def snapshot(self) -> Generator[MemorySnapshot]:
        """Read a copy; calls and samples never change, so they are shared with it."""
        content = self._content
        with self._lock:
            copied = Content(
                {call: dict(kept) for call, kept in content.samples.items()},
                {reader: {call: deepcopy(c) for call, c in kept.items()} for reader, kept in content.cursors.items()},
                {key: dict(kept) for key, kept in content.recorded.items()},
                {call: set(kept) for call, kept in content.stretches.items()},
                dict(content.counts),
            )
        yield MemorySnapshot(copied)

    def merge(self, work: Callable[[MemoryShelf], T]) -> T:
        """Work under the lock."""
        with self._lock:
            return work(MemoryShelf(self._content, self._is_claimed, self._new_cursor))


class MemorySnapshot:
    """See `stores.transfer.Snapshot`."""

    def __init__(self, content: Content) -> None:
        self._content = content

    def _calls(self, part: Part) -> set[Call]:
        content = self._content
        if part.reader is not None:
            used = (call for call, kept in content.stretches.items() if any(each.run == part.run for each in kept))
            return {*content.cursors.get(part.reader, ()), *used}
        drawn = (call for kept in content.cursors.values() for call in kept)
        return {call for call in (*content.samples, *drawn) if part.function in {None, call.function}}

    def size(self, part: Part) -> int:
        """See `Snapshot.size`."""
        return sum(len(self._content.samples.get(call, ())) for call in self._calls(part))

    def entries(self, part: Part) -> Iterator[Entry]:
        """See `Snapshot.entries`."""
        for call in sorted(self._calls(part), key=lambda call: (call.function.encode(), call.form.encode(), call.key)):
            made = min((sample.stored for sample in self._content.samples.get(call, {}).values()), default=0.0)
            yield Entry(call, call, made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """See `Snapshot.samples`."""
        return iter(sorted(self._content.samples.get(entry.call, {}).items()))

    def cursors(self, entry: Entry) -> list[Cursor]:
        """See `Snapshot.cursors`."""
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
        """See `Snapshot.lanes`."""
        return [
            Lane(whose, lane, [at for at, owner in recorded.items() if owner == lane])
            for (whose, call), recorded in sorted(self._content.recorded.items(), key=lambda item: item[0][0])
            if call == entry.call
            for lane in sorted(set(recorded.values()))
        ]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """See `Snapshot.stretches`."""
        return sorted(self._content.stretches.get(entry.call, ()))

    def counted(self) -> Mapping[Account, Counts]:
        """See `Snapshot.counted`."""
        return dict(sorted(self._content.counts.items()))


class MemoryShelf:
    """See `stores.transfer.Shelf`."""

    def __init__(
        self,
        content: Content,
        is_claimed: Callable[[Call, int], bool],
        new_cursor: Callable[[str, Call], Progress],
    ) -> None:
        self._content = content
        self.is_claimed = is_claimed
        self._new_cursor = new_cursor

    def call(self, call: Call, made: float) -> Call:  # noqa: ARG002 - here a call is as old as its first sample
        """See `Shelf.call`."""
        self._content.samples.setdefault(call, {})
        return call

    def size(self, handle: Call) -> int:
        """See `Shelf.size`."""
        return len(self._content.samples[handle])

    def sample(self, handle: Call, slot: int) -> Sample | None:
        """See `Shelf.sample`."""
        return self._content.samples[handle].get(slot)

    def samples(self, handle: Call) -> Iterator[tuple[int, Sample]]:
        """See `Shelf.samples`."""
        return iter(sorted(self._content.samples[handle].items()))

    def end(self, handle: Call) -> int:
        """See `Shelf.end`."""
        lanes = [at for (_, call), recorded in self._content.recorded.items() if call == handle for at in recorded]
        end = 1 + max([-1, *self._content.samples[handle], *lanes])
        while self.is_claimed(handle, end):
            end += 1
        return end

    def put(self, handle: Call, slot: int, sample: Sample) -> None:
        """See `Shelf.put`."""
        self._content.samples[handle][slot] = sample

    def record(self, handle: Call, lane: Lane) -> None:
        """See `Shelf.record`."""
        recorded = self._content.recorded.setdefault((lane.recorder, handle), {})
        for at in lane.positions:
            recorded.setdefault(at, lane.name)

    def drawn(self, handle: Call, reader: str) -> Drawn:
        """See `Shelf.drawn`."""
        cursor = self._content.cursors.get(reader, {}).get(handle)
        if cursor is None:
            return Drawn(0, ())
        return Drawn(cursor.next, {at for at, ticket in cursor.loose.items() if ticket is None})

    def draw(self, handle: Call, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """See `Shelf.draw`."""
        cursor = self._content.cursors.get(reader, {}).get(handle) or self._new_cursor(reader, handle)
        cursor.next = upto
        for at in given:
            cursor.loose.pop(at, None)
        cursor.loose.update(dict.fromkeys(free))

    def use(self, handle: Call, stretch: Stretch) -> None:
        """See `Shelf.use`."""
        self._content.stretches.setdefault(handle, set()).add(stretch)

    def counted(self) -> Mapping[Account, Counts]:
        """See `Shelf.counted`."""
        return dict(self._content.counts)

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """See `Shelf.count`."""
        for account, amounts in counts.items():
            self._content.counts[account] = self._content.counts.get(account, Counts()).plus(amounts)
