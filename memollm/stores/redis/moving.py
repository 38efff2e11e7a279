"""Bringing to a call of a Redis store what comes from elsewhere: gathered here, and there all at once or not at all."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from memollm._types.samples import Replaced
from memollm.errors import StoreError, StoreUnavailable
from memollm.stores.redis.asking import REPLACED, new_number, packed
from memollm.stores.redis.scripts import Command, moving
from memollm.stores.transfer import Reached

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm.stores.redis.session import RedisSession
    from memollm.stores.transfer import Lane, Stretch

FEW: Final = 500
"""How many samples come with the script that puts them; more are brought before."""
MUCH: Final = 1 << 20
"""The same of their bytes; so many are brought at a time."""
EXPIRY: Final = 3600
"""Seconds after which what was brought and never put is gone."""
_RACED: Final = (
    "Samples of {function} are being made at this moment, and one took the place of one that was to be loaded. Load "
    "again: what is here already is not loaded twice."
)
_LOST: Final = (
    "What was to be loaded of {function} did not come there: the server heard nothing of this process for longer than "
    "its lease, or had no room. Load again: what is here already is not loaded twice."
)


class SetReader(NamedTuple):
    """How far a reader has come with what comes to a call."""

    reader: str
    fresh: str
    """The generation of its cursor, if that is new."""
    is_new: bool
    """Whether the cursor begins anew, as in a sequence that was put together of two."""
    upto: int
    given: Sequence[int]
    free: Sequence[int]


class Arrival(NamedTuple):
    """What comes to a call."""

    about: Sequence[object]
    """What the call is, when it was made and used, and whether that counts for one that is there already, too."""
    samples: Mapping[int, Sample]
    replaced: Sequence[bytes] = ()
    lanes: Sequence[Lane] = ()
    readers: Sequence[SetReader] = ()
    uses: Sequence[Stretch] = ()
    drawn: Sequence[str] = ()
    """What runs were given, as fields and values of a hash."""
    move: str | None = None
    """By which the call is to know of it, if it comes from another."""


class HeldCall:
    """A call that this process moves something to or from; nobody is given anything of it meanwhile."""

    def __init__(self, store: RedisSession, call: Call) -> None:
        self._store = store
        self._base = store.base(call)
        self._call = call
        self._id = 0
        self.size = 0
        """How many samples it had when it was held."""
        self._owner = ""

    @property
    def move(self) -> str:
        """Return how the move is known to the server."""
        return f"{self._owner}:{self._id}"

    def hold(self, mark: str = "joining", *, to: str = "", alone: bool = False) -> Any:
        """Hold it; return nothing if it is to be held `alone` and somebody has something of it."""
        store = self._store
        self._id, self._owner = store.flights.new_id(), store.opened().owner
        store.moving[self._base] = None
        lease = int(1000 * store.address.lease)
        known = self.ask("hold", lease, mark, f":{to}" if to else "", "1" if alone else "")
        if known == 0:
            store.moving.pop(self._base, None)
            return None
        self.size = known[0]
        return known

    def ask(self, what: str, *arguments: object) -> Any:
        """Have the script do something to it."""
        command = Command(moving(), self._base, (self._owner, what, self._id, *arguments))
        (answer,) = self._store.run([command])
        return answer

    def release(self) -> None:
        """Hold it no more; what was not put is not there."""
        self._store.moving.pop(self._base, None)
        with suppress(StoreError):
            self.ask("release")

    def join(self, arrival: Arrival) -> None:
        """Let all that comes be there, and hold it no more."""
        about, samples, replaced, *rest, move = arrival
        data = {slot: packed(sample) for slot, sample in samples.items()}
        staged = 0
        if len(data) > FEW or sum(map(len, data.values())) > MUCH:
            staged, data = self._stage(data), {}
        it = ((*about, self.size, self._store.known_as), list(data), staged, len(replaced), *rest, move or False)
        answer = self.ask("join", msgspec.msgpack.encode(it), *data.values(), *replaced)
        if answer != 1:
            raise StoreUnavailable((_RACED if answer == -1 else _LOST).format(function=self._call.function))
        self._store.moving.pop(self._base, None)
        self._store.opened().line.answered.append((self._base, self._id))

    def _stage(self, data: dict[int, bytes]) -> int:
        """Bring samples, so many at a time, where nobody looks."""
        key = f"{self._base}:n:{self.move}"
        some: list[Any] = []
        size = 0
        for slot, each in data.items():
            some += (slot, each)
            size += len(each)
            if size > MUCH or len(some) > 2 * FEW:
                self._store.ask_many([("HSET", key, *some), ("EXPIRE", key, EXPIRY)])
                some, size = [], 0
        if some:
            self._store.ask_many([("HSET", key, *some), ("EXPIRE", key, EXPIRY)])
        return len(data)


class JoiningCall:
    """A call to which samples and what readers have drawn are added: what is there, with what comes to it."""

    def __init__(self, store: RedisSession, call: Call, made: float) -> None:
        self.call = call
        self._store = store
        self._made = made
        self._held = HeldCall(store, call)

    def begin(self, now: float) -> None:
        """Hold it; it counts as used now."""
        self._store.register([self.call])
        self._now = now
        _, claims, replaced = self._held.hold()
        self._claims = frozenset(map(int, claims))
        self._known = set(map(bytes, replaced))
        self._there: dict[int, Sample] = {}
        """What was read of it, some slots at a time."""
        self._read_upto = 0
        self._end: int | None = None
        self._upto = 0
        """Past all slots that something of what is new has reached."""
        self._new: dict[int, Sample] = {}
        self._replaced: list[bytes] = []
        self._lanes: list[Lane] = []
        self._drawn: dict[str, tuple[Reached, Reached]] = {}
        """Of readers, how far they were and how far they have come."""
        self._readers: dict[str, None] = {}
        self._uses: list[Stretch] = []

    def end_with(self) -> None:
        """Let all be there."""
        call = self.call
        about = (call.key.hex(), call.function, call.form, repr(self._made), repr(self._now), False)
        readers = [self._set(each, *self._drawn[each]) for each in self._readers]
        self._held.join(Arrival(about, self._new, self._replaced, self._lanes, readers, self._uses))

    @staticmethod
    def _set(reader: str, before: Reached, now: Reached) -> SetReader:
        given, free = {*before.free}.difference(now.free), {*now.free}.difference(before.free)
        return SetReader(reader, str(new_number()), False, now.next, sorted(given), sorted(free))

    def give_up(self) -> None:
        """Leave it as it was."""
        self._held.release()

    # Samples.

    def size(self) -> int:
        """Count the samples."""
        return self._held.size + len(self._new)

    def sample(self, slot: int) -> Sample | None:
        """Read a slot; those that come next are read with it."""
        if slot in self._new or not self._held.size:
            return self._new.get(slot)
        if not self._read_upto - FEW <= slot < self._read_upto:
            self._there = self._store.peek(self.call, range(slot, slot + FEW))
            self._read_upto = slot + FEW
        return self._there.get(slot)

    def samples(self) -> Iterator[tuple[int, Sample]]:
        """Give all samples."""
        if self._held.size:
            yield from self._store.samples(self.call)
        yield from sorted(self._new.items())

    def is_claimed(self, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        return slot in self._claims

    def end(self) -> int:
        """Return the first slot that nothing has reached."""
        if self._end is None:
            self._end = int(self._held.ask("reached"))
        return max(self._end, self._upto)

    def put(self, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._new[slot] = sample
        self._upto = max(self._upto, slot + 1)

    def replaced(self) -> list[Replaced]:
        """List what was replaced."""
        return sorted(map(replaced_of, self._known))

    def remember(self, replaced: Replaced) -> None:
        """Know what was replaced."""
        member = b"%d:" % replaced.slot + REPLACED.pack(replaced.stored, replaced.digest)
        self._known.add(member)
        self._replaced.append(member)

    # What was drawn.

    def record(self, lane: Lane) -> None:
        """Let positions be a lane's."""
        self._lanes.append(lane._replace(positions=list(lane.positions)))
        self._upto = max([self._upto, *(at + 1 for at in lane.positions)])

    def drawn(self, reader: str) -> Reached:
        """Read how far a reader has come."""
        if reader not in self._drawn:
            next_, free = self._held.ask("drawn", reader)
            before = Reached(next_, set(map(int, free)))
            self._drawn[reader] = before, before
        return self._drawn[reader][1]

    def draw(self, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor."""
        now = self.drawn(reader)
        left = {*now.free}.difference(given).union(free)
        self._readers[reader] = None
        self._drawn[reader] = self._drawn[reader][0], Reached(max(now.next, upto), left)

    def use(self, stretch: Stretch) -> None:
        """Note what a run used."""
        self._uses.append(stretch)


def replaced_of(member: bytes) -> Replaced:
    """Read what was replaced."""
    slot, _, rest = member.partition(b":")
    return Replaced(int(slot), *REPLACED.unpack(rest))
