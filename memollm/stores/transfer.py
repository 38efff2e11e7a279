"""What moving content between caches asks of a store besides drawing: a snapshot to read, and a shelf to put on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts
    from memollm._types.samples import Replaced, Sample

T = TypeVar("T")


class Part(NamedTuple):
    """Which calls are meant: all, those of a function, or those that a reader has drawn or a run used."""

    function: str | None = None
    reader: str | None = None
    run: str | None = None


class Entry(NamedTuple):
    """A call in a snapshot."""

    handle: Any
    """By which the snapshot knows it."""
    call: Call
    made: float


class Cursor(NamedTuple):
    """How far a reader has come in a call, and the positions before that it has not been given."""

    reader: str
    next: int
    free: Sequence[int]


class Lane(NamedTuple):
    """What a lane was given of a call, in its order, and under whose name that is recorded."""

    recorder: str
    name: str
    positions: Sequence[int]


class Stretch(NamedTuple):
    """Slots of a call that a run used besides those that its cursor tells."""

    run: str
    first: int
    last: int


class Snapshot(Protocol):
    """A store as it was at one moment; it may be read for long, while others go on drawing."""

    def size(self, part: Part) -> int:
        """Count the samples of a part."""
        ...

    def entries(self, part: Part) -> Iterator[Entry]:
        """Give the calls of a part, by function and canonical form in the order of their UTF-8 bytes."""
        ...

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give a call's samples, by slot."""
        ...

    def replaced(self, entry: Entry) -> list[Replaced]:
        """List the samples of a call that others took the slots of, by slot and moment."""
        ...

    def cursors(self, entry: Entry) -> list[Cursor]:
        """List the readers of a call, by name.

        What is in flight counts as given where its slot is filled: it may reach its reader at any moment.
        """
        ...

    def lanes(self, entry: Entry) -> list[Lane]:
        """List the lanes of a call, by recorder and name."""
        ...

    def stretches(self, entry: Entry) -> list[Stretch]:
        """List what runs used of a call, by run and slot."""
        ...

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        ...


class Reached(NamedTuple):
    """How far a reader has come in a call, and the positions before that are free for it; others may be in flight."""

    next: int
    free: Collection[int]


class Shelf(Protocol):
    """A store inside one transaction, to which samples and what readers have drawn may be added."""

    def call(self, call: Call, made: float) -> Any:
        """Find a call, or add it; return by what the shelf knows it until the transaction ends."""
        ...

    def size(self, handle: Any) -> int:
        """Count the samples of a call."""
        ...

    def sample(self, handle: Any, slot: int) -> Sample | None:
        """Read a slot."""
        ...

    def samples(self, handle: Any) -> Iterator[tuple[int, Sample]]:
        """Give all samples of a call."""
        ...

    def replaced(self, handle: Any) -> Sequence[Replaced]:
        """List the samples of a call that others took the slots of, by slot and moment."""
        ...

    def remember(self, handle: Any, replaced: Replaced) -> None:
        """Know a sample that another took the slot of, as if that had happened here."""
        ...

    def is_claimed(self, handle: Any, slot: int) -> bool:
        """Tell whether somebody alive is filling a slot."""
        ...

    def end(self, handle: Any) -> int:
        """Return the first slot that no sample, no claim and no lane of a call has reached."""
        ...

    def put(self, handle: Any, slot: int, sample: Sample) -> None:
        """Fill a vacant slot."""
        ...

    def record(self, handle: Any, lane: Lane) -> None:
        """Let positions be a lane's, after those that it has; one that is recorded already stays as it is."""
        ...

    def drawn(self, handle: Any, reader: str) -> Reached:
        """Read how far a reader has come."""
        ...

    def draw(self, handle: Any, reader: str, upto: int, *, given: Collection[int], free: Collection[int]) -> None:
        """Set a reader's cursor; positions in `given` are no longer free, those in `free` are (for their lane)."""
        ...

    def use(self, handle: Any, stretch: Stretch) -> None:
        """Note what a run used."""
        ...

    def counted(self) -> Mapping[Account, Counts]:
        """Read all that was counted."""
        ...

    def count(self, counts: Mapping[Account, Counts]) -> None:
        """Add to what was counted."""
        ...


class Leading(Protocol):
    """What a shelf can besides, of a store that agrees with others on which sample is the first of a call."""

    def lead(self, handle: Any, is_it: Callable[[Sample], bool]) -> bool:
        """Let a sample take the slot 0, and what was there its slot; tell whether that was done.

        It is not while anybody has a place in the call, who would be given one of the two again: a cursor, a lane, or a
        slot that is being filled.
        """
        ...


class Transfer(Protocol):
    """A store's content, to be taken out and put in."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Read the store as it is now."""
        ...

    def merge(self, work: Callable[[Shelf], T]) -> T:
        """Do work in one durable transaction."""
        ...
