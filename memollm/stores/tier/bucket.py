"""The store of a cache whose large records stand in a bucket, while cursors, claims and references are a server's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from memollm._types.calls import Place
from memollm._types.references import is_reference
from memollm._types.requests import Fill, Look, Take, Write, Written
from memollm._types.samples import Sample, digest_of
from memollm.errors import StoreError
from memollm.stores.served import landed
from memollm.stores.tier.naming import BucketNote
from memollm.stores.tier.objects import required
from memollm.stores.tier.store import TierStore

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from memollm._types.calls import Call
    from memollm._types.listings import Move
    from memollm._types.requests import Answer, Request
    from memollm.stores.drawing import Drawing
    from memollm.stores.keeping import Keeping
    from memollm.stores.reading import Readable
    from memollm.stores.tier.copies import Copies
    from memollm.stores.tier.objects import RecordObjects
    from memollm.stores.transfer import Entry, Shelf, Snapshot, Transfer

T = TypeVar("T")
AT_A_TIME: Final = 32
"""How many samples are read before their objects are had."""


class BucketTierStore(TierStore):
    """Draws from a server that keeps references. An object is put before its reference, and had once a machine."""

    def __init__(self, server: Drawing, copies: Copies, objects: RecordObjects, *, shown: str) -> None:
        super().__init__(server, copies, shown=shown)
        self.objects = objects
        # Those who wait for a slot in this process are told the record, not where it stands.
        cast("Any", server).tells_landed = False
        self.noted = BucketNote(server, objects)

    def reader(self) -> Readable:
        """Return what reads the same samples and writes nowhere."""
        return cast("Readable", _ReadingWhole(super().reader(), self.objects))

    @property
    def keeping(self) -> Keeping:
        """Keeps the store."""
        return cast("Keeping", _KeepingWhole(self.server, self.objects, self.noted))

    # Asking.

    def _performed(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        self.noted.require()
        answers = self.server.perform(self._referring(requests))
        self._make_whole(requests, answers)
        landed(self.flights, requests, answers)
        return answers

    def _referring(self, requests: Sequence[Request]) -> list[Request]:
        """Put what is filled into the bucket, and let the server fill in references."""
        records = [
            change.sample.record
            for request in requests
            if isinstance(request, Write)
            for change in request.changes
            if isinstance(change, Fill)
        ]
        if any(map(self.objects.is_large, records)) and not self.noted.made():
            # Another bucket was named meanwhile, or that cannot be known: the server keeps what was paid for.
            return [*requests]
        referred = self.objects.referred_all(records)
        return [
            Write(
                request.id,
                [
                    change._replace(sample=_with(change.sample, referred)) if isinstance(change, Fill) else change
                    for change in request.changes
                ],
            )
            if isinstance(request, Write)
            else request
            for request in requests
        ]

    def _make_whole(self, requests: Sequence[Request], answers: list[Any]) -> None:
        """Put records into answers in the place of references."""
        found = dict[bytes, Place]()
        for request, answer in zip(requests, answers, strict=True):
            found.update(_references(request, answer))
        if not found:
            return
        whole = self._near(found)
        whole.update(self.objects.whole_all(each for each in found if each not in whole))
        for nth, answer in enumerate(answers):
            if isinstance(answer, Written) and answer.lost:
                answers[nth] = answer._replace(lost={place: _with(each, whole) for place, each in answer.lost.items()})
            elif not isinstance(answer, Written | StoreError):
                _replace_states(answer, whole)

    def _near(self, found: dict[bytes, Place]) -> dict[bytes, bytes]:
        """Return the records of which copies are here."""
        near: dict[bytes, bytes] = {}
        for reference, place in found.items():
            copy = self.copies.get(place.call, [place.slot]).get(place.slot)
            if copy is not None and copy.digest == digest_of(reference):
                near[reference] = copy.sample.record
        return near

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        samples = super().peek(call, slots)
        references = {
            sample.record: Place(call, slot) for slot, sample in samples.items() if is_reference(sample.record)
        }
        whole = self._near(references)
        whole.update(self.objects.whole_all(each for each in references if each not in whole))
        return {slot: _with(sample, whole) for slot, sample in samples.items()}


def _with(sample: Sample, records: dict[bytes, bytes]) -> Sample:
    record = records.get(sample.record)
    return sample if record is None else sample._replace(record=record)


def _references(request: Request, answer: Any) -> Iterator[tuple[bytes, Place]]:
    """Give the references in an answer, and of which slot each is."""
    if isinstance(answer, Written):
        yield from ((sample.record, place) for place, sample in answer.lost.items() if is_reference(sample.record))
    elif isinstance(answer, list) and isinstance(request, Look):
        yield from _referred(request.places, cast("Sequence[Any]", answer))
    elif isinstance(answer, list) and isinstance(request, Take):
        for want, taken in zip(request.wants, cast("Sequence[Any]", answer), strict=True):
            yield from _referred([Place(want.call, want.slot(at)) for at in taken.positions], taken.states)


def _referred(places: Sequence[Place], states: Sequence[Any]) -> Iterator[tuple[bytes, Place]]:
    for place, state in zip(places, states, strict=True):
        if type(state) is Sample and is_reference(state.record):
            yield state.record, place


def _replace_states(answer: list[Any], whole: dict[bytes, bytes]) -> None:
    for nth, each in enumerate(answer):
        if type(each) is Sample:
            answer[nth] = _with(each, whole)
        elif hasattr(each, "states"):
            states = [_with(state, whole) if type(state) is Sample else state for state in each.states]
            answer[nth] = each._replace(states=states)


class _ReadingWhole:
    """Reads what a server has, with the records that stand in the bucket."""

    def __init__(self, server: Readable, objects: RecordObjects) -> None:
        self._server = server
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._server, name)

    def peek(self, call: Call, slots: Sequence[int] | None = None) -> dict[int, Sample]:
        """Read the samples of a call."""
        samples = self._server.peek(call, slots)
        whole = self._objects.whole_all(sample.record for sample in samples.values() if is_reference(sample.record))
        return {slot: _with(sample, whole) for slot, sample in samples.items()}


class _KeepingWhole:
    """Keeps a server; what is rewritten, taken out or put in are records, not references."""

    def __init__(self, server: Any, objects: RecordObjects, noted: BucketNote) -> None:
        self._server = server
        self._noted = noted
        self._keeping: Keeping = server.keeping
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._keeping, name)

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to others. What waits for the bucket is done before anything is locked."""
        self._noted.require_made()
        known: dict[tuple[Move, bytes], bytes] = {}

        def rewritten(move: Move, record: bytes) -> bytes:
            if (move, record) not in known:
                whole = required(self._objects.whole(record))
                new = rewrite(move, whole)
                known[move, record] = record if new == whole else self._noted.referred(new)
            return known[move, record]

        for move in moves:
            for sample in self._server.peek(move.old).values():
                rewritten(move, sample.record)
        return self._keeping.adopt(moves, rewritten)

    def transfer(self) -> Transfer:
        """Give access to the content."""
        return cast("Transfer", _WholeTransfer(self._keeping.transfer(), self._objects, self._noted))


class _WholeTransfer:
    """Takes records out and puts them in."""

    def __init__(self, transfer: Transfer, objects: RecordObjects, noted: BucketNote) -> None:
        self._transfer = transfer
        self._noted = noted
        self._objects = objects

    @contextmanager
    def snapshot(self) -> Generator[Snapshot]:
        """Read the store as it is now."""
        with self._transfer.snapshot() as snapshot:
            yield cast("Snapshot", _WholeSnapshot(snapshot, self._objects))

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Do work in one durable transaction."""
        self._noted.require_made()
        return self._transfer.merge(lambda shelf: work(cast("Shelf", _WholeShelf(shelf, self._noted))))


class _WholeSnapshot:
    def __init__(self, snapshot: Snapshot, objects: RecordObjects) -> None:
        self._snapshot = snapshot
        self._objects = objects

    def __getattr__(self, name: str) -> Any:
        return getattr(self._snapshot, name)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples."""
        return _whole_samples(self._snapshot.samples(entry), self._objects)


class _WholeShelf:
    def __init__(self, shelf: Shelf, noted: BucketNote) -> None:
        self._shelf = shelf
        self._noted = noted

    def __getattr__(self, name: str) -> Any:
        return getattr(self._shelf, name)

    def put(self, handle: Any, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        self._shelf.put(handle, slot, sample._replace(record=self._noted.referred(sample.record)))


def _whole_samples(samples: Iterator[tuple[int, Sample]], objects: RecordObjects) -> Iterator[tuple[int, Sample]]:
    """Give samples with their records, for some of which the bucket is asked at one time."""
    some: list[tuple[int, Sample]] = []
    for each in samples:
        some.append(each)
        if len(some) == AT_A_TIME:
            yield from _had(some, objects)
            some = []
    yield from _had(some, objects)


def _had(some: Sequence[tuple[int, Sample]], objects: RecordObjects) -> Iterator[tuple[int, Sample]]:
    """Put records in the place of references to this bucket; those to another one stay."""
    whole = objects.whole_all(sample.record for _, sample in some if objects.has_place_of(sample.record))
    for slot, sample in some:
        yield slot, _with(sample, whole)
