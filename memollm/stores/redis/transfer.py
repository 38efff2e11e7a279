"""Moving content into and out of a Redis store: call by call, each as it is at its moment."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from memollm.stores.redis.adopting import finish_moves
from memollm.stores.redis.asking import pairs
from memollm.stores.redis.counting import counting
from memollm.stores.redis.looking import RedisLooking, call_of
from memollm.stores.redis.moving import JoiningCall, replaced_of
from memollm.stores.transfer import Cursor, Entry, Lane, Part, Shelf, Snapshot, Stretch, Transfer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts
    from memollm._types.samples import Replaced, Sample
    from memollm.stores.redis.session import RedisSession
    from memollm.stores.transfer import Reached

T = TypeVar("T")


class RedisTransfer(Transfer):
    """Reads and merges."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store

    @contextmanager
    def snapshot(self) -> Generator[RedisSnapshot]:
        """Read what is there, each call at one moment."""
        self._store.settle_left()
        finish_moves(self._store)
        yield RedisSnapshot(self._store)

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Work beside those who draw: each call is there whole or not at all; what was cut short can be done again."""
        self._store.settle_left()
        shelf = RedisShelf(self._store)
        try:
            done = work(shelf)
            shelf.end_call()
        except BaseException:
            shelf.give_up()
            raise
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
        """Give a call's samples, as many as there were when the rest of it was read."""
        return self._store.samples(entry.call, self._all(entry)[4])

    def _all(self, entry: Entry) -> Any:
        if self._read[0] != entry.handle:
            self._read = entry.handle, self._looking.all_of([entry.handle])[0]
        return self._read[1]

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List what was replaced of a call."""
        return sorted(map(replaced_of, self._all(entry)[2]))

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


class RedisShelf(Shelf):
    """What is there, to be added to, one call after another: each is there when the next begins."""

    def __init__(self, store: RedisSession) -> None:
        self._store = store
        self._on: JoiningCall | None = None

    def call(self, call: Call, made: float) -> JoiningCall:
        """Find a call, or add it; it counts as used now."""
        return self._of(JoiningCall(self._store, call, made))

    def _of(self, handle: JoiningCall) -> JoiningCall:
        if self._on is not handle:
            self.end_call()
            handle.begin(time.time())
            self._on = handle
        return handle

    def end_call(self) -> None:
        """Let all be there that came to a call."""
        if self._on is not None:
            self._on.end_with()
            self._on = None

    def give_up(self) -> None:
        """Leave a call as it was."""
        if self._on is not None:
            self._on.give_up()

    def size(self, handle: JoiningCall) -> int:
        """Count the samples of a call."""
        return self._of(handle).size()

    def sample(self, handle: JoiningCall, slot: int) -> Sample | None:
        """Read a slot."""
        return self._of(handle).sample(slot)

    def samples(self, handle: JoiningCall) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        return self._of(handle).samples()

    def replaced(self, handle: JoiningCall) -> list[Replaced]:
        """List what was replaced of a call."""
        return self._of(handle).replaced()

    def remember(self, handle: JoiningCall, replaced: Replaced) -> None:
        """Know what was replaced."""
        self._of(handle).remember(replaced)

    def is_claimed(self, handle: JoiningCall, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        return self._of(handle).is_claimed(slot)

    def end(self, handle: JoiningCall) -> int:
        """Return the first slot that nothing has reached."""
        return self._of(handle).end()

    def put(self, handle: JoiningCall, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._of(handle).put(slot, sample)

    def record(self, handle: JoiningCall, lane: Lane) -> None:
        """Let positions be a lane's."""
        self._of(handle).record(lane)

    def drawn(self, handle: JoiningCall, reader: str) -> Reached:
        """Read how far a reader has come."""
        return self._of(handle).drawn(reader)

    def draw(
        self, handle: JoiningCall, reader: str, upto: int, *, given: Collection[int], free: Collection[int]
    ) -> None:
        """Set a reader's cursor."""
        self._of(handle).draw(reader, upto, given=given, free=free)

    def use(self, handle: JoiningCall, stretch: Stretch) -> None:
        """Note what a run used."""
        self._of(handle).use(stretch)

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        return RedisLooking(self._store).counted()

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        self._store.run(counting(self._store, self._store.flights.new_id(), counts))
