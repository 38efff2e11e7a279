"""The reading store: draws from another store and changes nothing there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast, runtime_checkable

from memollm._types.calls import Place, Want, recorder, resumed, walked
from memollm._types.locks import WouldBlock
from memollm._types.requests import Look, Take
from memollm.stores.looking import Looking, looking
from memollm.stores.memory.content import MemoryCursor
from memollm.stores.memory.looking import MemoryLooking
from memollm.stores.memory.store import MemoryDrawing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memollm._types.calls import Call
    from memollm._types.listings import Standing
    from memollm._types.samples import Sample, State, Taken
    from memollm.stores.drawing import Drawing
    from memollm.stores.matching import Matching, StoredMatch, StoredVector

SAMPLES_AT_HAND: Final = 10_000
"""How many samples are kept in memory before they are read anew."""


class Readable(Protocol):
    """What reads samples, and looks into what holds them; its operations are as those of `Drawing`."""

    @property
    def looking(self) -> Looking | None:
        """What looks into the store."""
        ...

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call, of all slots or of some."""
        ...

    def epoch(self) -> int:
        """Return a number that changes when something stored was replaced or removed."""
        ...

    def close(self) -> None:
        """Let go of everything that is held."""
        ...


@runtime_checkable
class HasReader(Protocol):
    """A store that can be read by other means than those that write it."""

    def reader(self) -> Readable:
        """Return what reads the same samples and writes nowhere."""
        ...


def reading_store(store: Drawing) -> ReadingStore:
    """Make the store of draws that are to change nothing in another."""
    return ReadingStore(store.reader() if isinstance(store, HasReader) else cast("Readable", store))


class ReadingStore(MemoryDrawing):
    """A store whose samples are another's, and whose cursors, claims and lanes end with this process.

    A reader begins where it stands in the other store; what is in flight there counts as not given. What is filled is
    kept here, for all readers of this process.
    """

    keeping = None
    without_keeping = (
        "The cache is read-only here, so nothing in it can be changed. Nothing was changed; open it for writing to do "
        "that."
    )

    def __init__(self, base: Readable) -> None:
        super().__init__()
        self._base = base
        self._begun: set[tuple[str, Call]] = set()
        """Which readers' cursors, and which recorders' lanes, were read from the other store, by call."""
        self._at_hand: dict[Call, dict[int, Sample]] = {}
        self._at_hand_epoch: int | None = None
        self._count_at_hand = 0

    @property
    def base(self) -> Readable:
        """What is read."""
        return self._base

    @property
    def looking(self) -> Looking:
        """Looks into the other store, except for where readers stand that have drawn here."""
        return cast("Looking", _LookingHere(looking(self._base), self._standing))

    @property
    def snapshot(self) -> Any:
        """Gives what the other store holds, to be taken out, where that can be."""
        return cast("Any", self._base).snapshot

    @property
    def matching(self) -> Matching | None:
        """Reads the other store's vectors and matches, and notes nothing."""
        found: Matching | None = getattr(self._base, "matching", None)
        return None if found is None else cast("Matching", _MatchingThere(found))

    def _standing(self, reader: str, call: Call) -> Standing:
        with self._content.lock:
            begun = (reader, call) in self._begun
            return (MemoryLooking(self._content) if begun else looking(self._base)).standing(reader, call)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the other store, and what was filled here."""
        return dict(sorted({**super().peek(call, slots), **self._base.peek(call, slots)}.items()))

    def epoch(self) -> int:
        """Read the other store's."""
        return self._base.epoch()

    def close(self) -> None:
        """Close the other store."""
        self._base.close()

    # Drawing.

    def at_once(self, request: Take | Look) -> list[Taken] | list[State] | None:
        """Answer from what is at hand."""
        # Others may hold the lock while they read from the other store.
        if not self._content.lock.acquire(blocking=False):
            return None
        try:
            return self._answered(request, wait=False)
        except WouldBlock:
            return None
        finally:
            self._content.lock.release()

    def _answered(self, request: Take | Look, *, wait: bool) -> list[Taken] | list[State]:
        """Have at hand what may be wanted, then answer as from memory."""
        self._forget_what_was_replaced()
        if isinstance(request, Look):
            for place in request.places:
                self._read(place.call, (place.slot,), wait=wait)
        elif request.ticket not in self.flights.answers:
            for want in request.wants:
                if want.reader is not None:
                    self._begin(want.reader, want.call, wait=wait)
                n = sum(other.n for other in request.wants if other.call == want.call)
                self._read(want.call, map(want.slot, self._within_reach(want, n)), wait=wait)
        return super()._answered(request, wait=wait)

    def _begin(self, reader: str, call: Call, *, wait: bool) -> None:
        """Let a reader stand where it stands in the other store; what it was not given there is free here."""
        if (reader, call) in self._begun:
            return
        if not wait:
            raise WouldBlock
        if (of := resumed(reader)) is not None:
            self._begin(of, call, wait=wait)
        standing = looking(self._base).standing(reader, call)
        whose = (recorder(reader), call)
        if whose not in self._begun:
            self._content.recorded[whose] = dict(standing.lanes)
        if standing.next:
            cursor = MemoryCursor(standing.next, dict.fromkeys(sorted(standing.loose)))
            self._content.cursors.setdefault(reader, {})[call] = cursor
        elif of is not None:
            self._content.resuming(reader, of, call)
        self._begun |= {(reader, call), whose} if whose[0] != reader else {whose}

    def _within_reach(self, want: Want, n: int) -> set[int]:
        """Return every position that a draw of `n` may get."""
        if want.reader is None:
            return set(range(want.n))
        if resumed(want.reader) is not None:
            cursor = self._content.cursors[want.reader][want.call]
            return {*self._left(want._replace(n=n), want.reader, cursor)}
        standing = MemoryLooking(self._content).standing(want.reader, want.call)
        end = max([standing.next, *(at + 1 for at in standing.lanes)])
        return {*standing.loose, *walked(standing.next, end + n * max(1, len(want.order)))}

    def _forget_what_was_replaced(self) -> None:
        """Begin anew where something was; never in the middle of a request, which goes by all that it has read.

        Where nobody tells of it, the epoch is below zero, and anything may have been replaced.
        """
        epoch = self._base.epoch()
        if epoch < 0 or epoch != self._at_hand_epoch or self._count_at_hand > SAMPLES_AT_HAND:
            self._at_hand, self._at_hand_epoch, self._count_at_hand = {}, epoch, 0

    def _read(self, call: Call, slots: Iterable[int], *, wait: bool) -> None:
        """Have the samples of slots at hand; what is not was vacant when it was last looked at, so it is read again."""
        known = self._at_hand.get(call)
        vacant = None if known is None else [slot for slot in slots if slot not in known]
        if vacant == []:
            return
        if not wait:
            raise WouldBlock
        samples = self._base.peek(call, vacant)
        self._at_hand.setdefault(call, {}).update(samples)
        self._count_at_hand += len(samples)

    def _sample(self, place: Place) -> Sample | None:
        """Return the newest sample of a slot, from there or from here."""
        there, here = self._at_hand.get(place.call, {}).get(place.slot), super()._sample(place)
        return here if there is None or (here is not None and here.stored > there.stored) else there


class _MatchingThere:
    """Reads vectors and matches of another store."""

    def __init__(self, there: Matching) -> None:
        self._there = there

    def __getattr__(self, name: str) -> Any:
        return getattr(self._there, name)

    def learn(self, *vectors: StoredVector) -> None:
        """Keep nothing."""

    def note(self, *matches: StoredMatch) -> None:
        """Keep nothing."""


class _LookingHere:
    """Looks elsewhere, and knows better where some readers stand."""

    def __init__(self, elsewhere: Looking, standing: Any) -> None:
        self._elsewhere = elsewhere
        self.standing = standing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._elsewhere, name)
