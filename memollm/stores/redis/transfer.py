"""Moving content into and out of a Redis store: call by call, each as it is at its moment."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from memollm._types.samples import Replaced
from memollm.errors import StoreUnavailable
from memollm.stores.redis.asking import REPLACED, new_number, packed, pairs
from memollm.stores.redis.looking import RedisLooking, call_of
from memollm.stores.transfer import Cursor, Entry, Lane, Part, Reached, Shelf, Snapshot, Stretch, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts
    from memollm._types.samples import Sample
    from memollm.stores.redis.session import RedisSession

T = TypeVar("T")


class RedisTransfer(Transfer):
    """Reads and merges."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store

    @contextmanager
    def snapshot(self) -> Generator[RedisSnapshot]:
        """Read what is there, each call at one moment."""
        self._store.settle_left()
        yield RedisSnapshot(self._store)

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Work beside those who draw: each step is atomic, and what was cut short can be done again."""
        self._store.settle_left()
        done = work(RedisShelf(self._store))
        self._store.wait_for_disk()
        return done


class RedisSnapshot(Snapshot):
    """What is there. Besides its samples, a call is read when it is come to."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store
        self._looking = RedisLooking(store)
        self._read: tuple[Any, Any] = (None, None)

    def _tags(self, part: Part) -> list[str]:
        tags = self._looking.tags(part.function)
        if part.reader is None:
            return tags
        found = self._store.ask_many(
            [
                command
                for base in map(self._store.base_of, tags)
                for command in (("HEXISTS", f"{base}:r", part.reader), ("HEXISTS", f"{base}:u", part.run or ""))
            ]
        )
        return [tag for nth, tag in enumerate(tags) if found[2 * nth] or (part.run and found[2 * nth + 1])]

    def size(self, part: Part) -> int:
        """Count the samples of a part."""
        tags = self._tags(part)
        return sum(self._store.ask_many([("HLEN", f"{self._store.base_of(tag)}:s") for tag in tags]))

    def entries(self, part: Part) -> Iterator[Entry]:
        """Give the calls of a part."""
        found: list[Entry] = []
        tags = self._tags(part)
        for tag, (about, _) in zip(tags, self._looking.look(tags, "call"), strict=True):
            call = call_of(about)
            if call is not None:
                found.append(Entry(tag, call, float(about[3])))
        yield from sorted(found, key=lambda each: (each.call.function.encode(), each.call.form.encode(), each.call.key))

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples."""
        return iter(self._store.peek(entry.call).items())

    def _all(self, entry: Entry) -> Any:
        if self._read[0] != entry.handle:
            self._read = entry.handle, self._looking.look([entry.handle], "all")[0]
        return self._read[1]

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List what was replaced of a call."""
        return sorted(map(_replaced, self._all(entry)[2]))

    def cursors(self, entry: Entry) -> list[Cursor]:
        """List the readers of a call."""
        cursors: list[Cursor] = []
        for name, next_, free, refused, in_flight in sorted(self._all(entry)[0]):
            missing = [at for at, is_filled in in_flight if not is_filled]
            cursors.append(Cursor(name.decode(), next_, sorted(map(int, [*free, *refused, *missing]))))
        return cursors

    def lanes(self, entry: Entry) -> list[Lane]:
        """List the lanes of a call."""
        return [
            Lane(recorder.decode(), name.decode(), list(map(int, positions)))
            for recorder, lanes in sorted(self._all(entry)[1])
            for name, positions in sorted(lanes)
        ]

    def stretches(self, entry: Entry) -> list[Stretch]:
        """List what runs used of a call."""
        rows = pairs(self._all(entry)[3])
        return sorted(Stretch(run.decode(), *one) for run, known in rows for one in msgspec.msgpack.decode(known))

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return self._looking.counted()


def _replaced(member: bytes) -> Replaced:
    slot, _, rest = member.partition(b":")
    return Replaced(int(slot), *REPLACED.unpack(rest))


class RedisShelf(Shelf):
    """What is there, to be added to."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store
        self._looking = RedisLooking(store)

    def call(self, call: Call, made: float) -> Call:
        """Find a call, or add it; it counts as used now."""
        self._store.bring(call, made)
        return call

    def _key(self, handle: Call, name: str) -> str:
        return f"{self._store.base(handle)}:{name}"

    def size(self, handle: Call) -> int:
        """Count the samples of a call."""
        return int(self._store.ask("HLEN", self._key(handle, "s")))

    def sample(self, handle: Call, slot: int) -> Sample | None:
        """Read a slot."""
        return self._store.peek(handle, [slot]).get(slot)

    def samples(self, handle: Call) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        return iter(self._store.peek(handle).items())

    def replaced(self, handle: Call) -> list[Replaced]:
        """List what was replaced of a call."""
        return sorted(map(_replaced, self._store.ask("SMEMBERS", self._key(handle, "d"))))

    def remember(self, handle: Call, replaced: Replaced) -> None:
        """Know what was replaced."""
        member = b"%d:" % replaced.slot + REPLACED.pack(replaced.stored, replaced.digest)
        self._store.ask("SADD", self._key(handle, "d"), member)

    def is_claimed(self, handle: Call, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        (answer,) = self._store.keep([self._store.base(handle)], "wait", slot)
        return bool(answer[0])

    def end(self, handle: Call) -> int:
        """Return the first slot that nothing has reached."""
        (answer,) = self._store.keep([self._store.base(handle)], "reached")
        return int(answer)

    def put(self, handle: Call, slot: int, sample: Sample) -> None:
        """Fill a vacant slot, unless somebody was faster."""
        data = packed(sample)
        if self._store.ask("HSETNX", self._key(handle, "s"), slot, data):
            return
        if self._store.ask("HGET", self._key(handle, "s"), slot) != data:
            raise StoreUnavailable(
                f"Samples of {handle.function} are being made at this moment, and one took the place of one that was "
                "to be loaded. Load the file again: what is here already is not loaded twice."
            )

    def record(self, handle: Call, lane: Lane) -> None:
        """Let positions be a lane's."""
        self._store.keep([self._store.base(handle)], "record", lane.recorder, lane.name, *lane.positions)

    def drawn(self, handle: Call, reader: str) -> Reached:
        """Read how far a reader has come."""
        ((next_, free),) = self._store.keep([self._store.base(handle)], "drawn", reader)
        return Reached(next_, set(map(int, free)))

    def draw(self, handle: Call, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor."""
        changes = msgspec.msgpack.encode((sorted(given), sorted(free)))
        self._store.keep([self._store.base(handle)], "set_cursor", reader, upto, changes, new_number())

    def use(self, handle: Call, stretch: Stretch) -> None:
        """Note what a run used."""
        self._store.keep([self._store.base(handle)], "use", "0", stretch.run, stretch.first, stretch.last)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return self._looking.counted()

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        self._store.count(self._store.flights.new_id(), counts)
