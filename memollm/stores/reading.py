"""The reading store: draws from another store and changes nothing there."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, NoReturn, Protocol, runtime_checkable

from memollm._types.calls import recorder
from memollm._types.locks import WouldBlock
from memollm.errors import StoreRefused
from memollm.stores.memory.store import MemoryStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from memollm._types.calls import Call, Place, Want
    from memollm._types.counting import Account, Counts, Use
    from memollm._types.listings import Item, ListedReader, Move, ReaderOfCall, Standing, Stored, Surveyed
    from memollm._types.requests import Fill
    from memollm._types.samples import Sample, State, Taken
    from memollm.stores.base import Document, Store

SAMPLES_AT_HAND: Final = 10_000
"""How many samples are kept in memory before they are read anew."""


class Readable(Protocol):
    """The operations of a store that change nothing; see `Store` for each."""

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call, of all slots or of some."""
        ...

    def standing(self, reader: str, call: Call) -> Standing:
        """Tell where a reader stands in a call."""
        ...

    def epoch(self) -> int:
        """Return a number that changes when something stored was replaced or removed."""
        ...

    def calls(self, function: str) -> list[Stored]:
        """List what is stored of a function."""
        ...

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """List every call that has samples, or some of them."""
        ...

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """List the readers of a call."""
        ...

    def readers(self) -> list[ListedReader]:
        """List the readers."""
        ...

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """Read documents of the catalog."""
        ...

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        ...

    def inventory(self) -> list[Item]:
        """List every call that has samples."""
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


def reading_store(store: Store) -> ReadingStore:
    """Make the store of draws that are to change nothing in another."""
    return ReadingStore(store.reader() if isinstance(store, HasReader) else store)


class ReadingStore(MemoryStore):
    """A store whose samples are another's, and whose cursors, claims, lanes and notes end with this process.

    A reader begins where it stands in the other store; what is in flight there counts as not given. Nothing that is
    filled is kept: a vacant slot stays vacant, for whoever comes to it next.
    """

    def __init__(self, base: Readable) -> None:
        super().__init__()
        self._base = base
        self._begun: set[tuple[str, Call]] = set()
        """Which readers' cursors, and which recorders' lanes, were read from the other store, by call."""
        self._at_hand: dict[Call, dict[int, Sample]] = {}
        self._at_hand_epoch: int | None = None
        self._count_at_hand = 0

    # Drawing.

    def take(self, wants: Sequence[Want], ticket: int, *, newer_than: float, wait: bool) -> list[Taken]:
        """See `Store.take`."""
        with self._held(wait=wait):
            for want in wants:
                if want.reader is not None:
                    self._begin(want.reader, want.call, wait=wait)
                n = sum(other.n for other in wants if other.call == want.call)
                self._read(want.call, map(want.slot, self._within_reach(want, n)), wait=wait)
            return super().take(wants, ticket, newer_than=newer_than, wait=wait)

    def look(self, places: Sequence[Place], ticket: int, *, newer_than: float, wait: bool) -> list[State]:
        """See `Store.look`."""
        with self._held(wait=wait):
            for place in places:
                self._read(place.call, (place.slot,), wait=wait)
            return super().look(places, ticket, newer_than=newer_than, wait=wait)

    @contextmanager
    def _held(self, *, wait: bool) -> Generator[None]:
        """Hold the lock, which others may hold while they read from the other store."""
        if not self._lock.acquire(blocking=wait):
            raise WouldBlock
        try:
            yield
        finally:
            self._lock.release()

    def _begin(self, reader: str, call: Call, *, wait: bool) -> None:
        """Let a reader stand where it stands in the other store."""
        if (reader, call) in self._begun:
            return
        if not wait:
            raise WouldBlock
        standing = self._base.standing(reader, call)
        whose = (recorder(reader), call)
        if whose not in self._begun:
            self._recorded[whose] = dict(standing.lanes)
        if standing.next:
            self.begin_at(reader, call, standing)
        self._begun |= {(reader, call), whose} if whose[0] != reader else {whose}

    def _within_reach(self, want: Want, n: int) -> set[int]:
        """Return every position that a draw of `n` may get."""
        if want.reader is None:
            return set(range(want.n))
        standing = super().standing(want.reader, want.call)
        end = max([standing.next, *(at + 1 for at in standing.lanes)])
        return {*standing.loose, *range(standing.next, end + n)}

    def _read(self, call: Call, slots: Iterable[int], *, wait: bool) -> None:
        """Have the samples of slots at hand; what is not was vacant when it was last looked at, so it is read again."""
        epoch = self._base.epoch()
        if epoch != self._at_hand_epoch or self._count_at_hand > SAMPLES_AT_HAND:
            self._at_hand, self._at_hand_epoch, self._count_at_hand = {}, epoch, 0
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
        return self._at_hand.get(place.call, {}).get(place.slot)

    def _fill(self, fill: Fill) -> None:
        """End the claim; the sample is its draw's alone."""
        if self._claims.get(fill.place) == fill.ticket:
            del self._claims[fill.place]

    # Reading.

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """See `Store.peek`."""
        return self._base.peek(call, slots)

    def standing(self, reader: str, call: Call) -> Standing:
        """See `Store.standing`."""
        with self._lock:
            begun = (reader, call) in self._begun
            return super().standing(reader, call) if begun else self._base.standing(reader, call)

    def epoch(self) -> int:
        """See `Store.epoch`."""
        return self._base.epoch()

    def calls(self, function: str) -> list[Stored]:
        """See `Store.calls`."""
        return self._base.calls(function)

    def survey(self, *, function: str | None = None, text: str | None = None) -> list[Surveyed]:
        """See `Store.survey`."""
        return self._base.survey(function=function, text=text)

    def readers_of(self, call: Call) -> list[ReaderOfCall]:
        """See `Store.readers_of`; as they are in the other store."""
        return self._base.readers_of(call)

    def readers(self) -> list[ListedReader]:
        """See `Store.readers`; as they are in the other store."""
        return self._base.readers()

    def notes(self, kind: str, name: str | None = None) -> Mapping[str, Document]:
        """See `Store.notes`; those of this process hide the other store's."""
        return dict(sorted({**self._base.notes(kind, name), **super().notes(kind, name)}.items()))

    def counted(self) -> Mapping[Account, Counts]:
        """See `Store.counted`."""
        return self._base.counted()

    def inventory(self) -> list[Item]:
        """See `Store.inventory`."""
        return self._base.inventory()

    def close(self) -> None:
        """See `Store.close`."""
        self._base.close()

    # What would change something.

    def count(self, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:
        """See `Store.count`; nothing is counted here."""

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:  # noqa: ARG002 - refused
        """Refuse."""
        _refuse("move samples")

    def forget(self, call: Call) -> int:  # noqa: ARG002 - refused
        """Refuse."""
        _refuse("forget a call")

    def rewind(self, reader: str) -> bool:
        """Refuse."""
        _refuse(f"rewind {reader!r}")

    def drop(self, reader: str) -> bool:
        """Refuse."""
        _refuse(f"drop {reader!r}")

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:  # noqa: ARG002 - refused
        """Refuse."""
        _refuse("evict samples")

    def shrink(self, told: Callable[[int, int], object]) -> None:  # noqa: ARG002 - refused
        """Refuse."""
        _refuse("give space back")


def _refuse(what: str) -> NoReturn:
    raise StoreRefused(
        f"The cache is read-only here, so it cannot {what}. Nothing was changed; open it for writing to do that."
    )
