"""How the samples of a file join those of a call that is here already: none twice, and none out of its place."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import resumed, walked
from memollm._types.samples import digest_of
from memollm.stores.transfer import Cursor, Lane, Stretch

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

    from memollm._types.calls import Call
    from memollm._types.samples import Replaced, Sample
    from memollm.stores.transfer import Shelf


def by_origin(stored: float, digest: bytes) -> Hashable:
    """Tell samples apart by their record and the moment they were stored: equal answers are two samples."""
    return (stored, digest)


MARKS: Final = 1_000_000
"""A moment's millionths of a second, by which samples of one cache of another kind are known again."""


def marked(stored: float, place: str) -> float:
    """Return a moment, to the second, with a mark of the place that a sample comes from.

    Other caches tell, at best, when an entry was last written, which changes as it grows. It is no later than told.
    """
    return math.floor(stored) - 1 + zlib.crc32(place.encode()) % MARKS / MARKS


def by_mark(stored: float, digest: bytes) -> Hashable:
    """Tell samples apart by their record and the place that they come from: equal answers of two are two samples."""
    return (round(stored % 1 * MARKS) % MARKS, digest)


class Joining:
    """One call of a file on its way into a store; its samples come in the order of their slots.

    As long as each slot of the file is vacant here or holds that very sample, slots stay what they are. From the first
    that does not on, what is missing here comes after everything that is here, in the file's order. A sample that was
    here and was replaced is not missing: what took its slot stands for it.
    """

    def __init__(self, call: Call, made: float, told_by: Callable[[float, bytes], Hashable] = by_origin) -> None:
        self._call, self._made, self._told_by = call, made, told_by
        self._images: set[int] = set()
        """Slots here that are a slot of the file."""
        self._parted: int | None = None
        """The slot of the file from which on slots here are others."""
        self._moved: dict[int, int] = {}
        self._elsewhere: dict[Hashable, list[int]] = {}
        self._replaced: dict[Hashable, list[int]] | None = None
        """The slots of what was here and was replaced."""
        self._noted: Counter[Hashable] | None = None
        """How often it is known here that a sample was replaced, as far as the file has not told it yet."""
        self._still: dict[int, list[int]] = {}
        """Where samples are still here that were replaced in the file's cache, by the slots that they had there."""
        self._known = -1
        """How many samples the call had when `_elsewhere` was made."""
        self._handle: Any = None
        self._shelf: Shelf

    def begin(self, shelf: Shelf) -> None:
        """Go on in another transaction."""
        self._shelf, self._handle = shelf, shelf.call(self._call, self._made)

    # Samples.

    def put(self, slot: int, sample: Sample) -> bool:
        """Add a sample unless it is here; tell whether it was missing."""
        shelf, handle = self._shelf, self._handle
        here = shelf.sample(handle, slot) if self._parted is None else None
        if here is not None and self._same(here) == self._same(sample):
            self._images.add(slot)
            return False
        is_new = self._parted is None and here is None and not self._slots_replaced(sample)
        if is_new and not shelf.is_claimed(handle, slot):
            shelf.put(handle, slot, sample)
            self._images.add(slot)
            return True
        if self._parted is None:
            self._parted = slot
        return self._put_elsewhere(slot, sample)

    def _put_elsewhere(self, slot: int, sample: Sample) -> bool:
        self._look_around()
        same = self._elsewhere.get(self._same(sample))
        replaced = self._slots_replaced(sample)
        if not same and replaced:
            self._moved[slot] = replaced.pop(0)
            return False
        missing = not same
        at = same.pop(0) if same else self._shelf.end(self._handle)
        if missing:
            self._shelf.put(self._handle, at, sample)
            self._known += 1
        self._images.add(at)
        self._moved[slot] = at
        return missing

    def _same(self, sample: Sample) -> Hashable:
        return self._told_by(sample.stored, digest_of(sample.record))

    def _slots_replaced(self, sample: Sample) -> list[int]:
        """Return the slots where this very sample was replaced, if it was."""
        if self._replaced is None:
            self._replaced = {}
            for slot, stored, digest in self._shelf.replaced(self._handle):
                self._replaced.setdefault(self._told_by(stored, digest), []).append(slot)
        return self._replaced.get(self._same(sample), [])

    def note(self, replaced: Replaced) -> None:
        """Know what the file's cache replaced, so that no older file brings it; all of its samples come before."""
        if self._noted is None:
            known = self._shelf.replaced(self._handle)
            self._noted = Counter(self._told_by(each.stored, each.digest) for each in known)
            self._look_around()
        same = self._told_by(replaced.stored, replaced.digest)
        if still := self._elsewhere.get(same):
            self._still.setdefault(replaced.slot, []).append(still.pop(0))
        elif self._noted[same]:
            self._noted[same] -= 1
        else:
            for at in self._images_of([replaced.slot]):
                self._shelf.remember(self._handle, replaced._replace(slot=at))

    def _look_around(self) -> None:
        """Know which samples are here that no slot of the file stands for yet."""
        size = self._shelf.size(self._handle)
        if size != self._known:
            self._known = size
            self._elsewhere = {}
            for at, sample in self._shelf.samples(self._handle):
                if at not in self._images:
                    self._elsewhere.setdefault(self._same(sample), []).append(at)

    def _images_of(self, positions: Iterable[int]) -> list[int]:
        """Return the positions here that read what positions of the file read; those that read no sample have none."""
        if self._parted is None:
            return list(positions)
        return [
            at if at < self._parted else self._moved[at] for at in positions if at < self._parted or at in self._moved
        ]

    def _those_between(self, first: int, end: int) -> list[int]:
        """List the positions of a stretch that can have an image, without counting far beyond the samples."""
        if self._parted is None:
            return list(walked(first, end))
        return [*walked(first, min(end, self._parted)), *(at for at in self._moved if first <= at < end)]

    # What was drawn.

    def lane(self, lane: Lane) -> None:
        """Let a lane have its positions."""
        self._shelf.record(self._handle, lane._replace(positions=self._images_of(lane.positions)))

    def use(self, stretch: Stretch) -> None:
        """Note what a run used."""
        if self._parted is None or stretch.last < self._parted:
            self._shelf.use(self._handle, stretch)
            return
        for at in sorted(self._images_of(self._those_between(stretch.first, stretch.last + 1))):
            self._shelf.use(self._handle, Stretch(stretch.run, at, at))

    def cursor(self, cursor: Cursor) -> None:
        """Let a reader have drawn what it has drawn in either cache, and leave it the rest of both.

        What it was given in the file's cache it is not given again here, wherever that lies now.
        """
        here, missed = self._shelf.drawn(self._handle, cursor.reader), set(cursor.free)
        if self._parted is None and not self._still:
            given = {at for at in here.free if at < cursor.next and at not in missed}
            upto = max(here.next, cursor.next)
            free = {at for at in missed if here.next <= at < upto}
        else:
            drawn = [at for at in self._those_between(0, cursor.next) if at not in missed]
            # Which of the two it was given, what was replaced or what took the slot, nobody knows any more.
            images = {*self._images_of(drawn), *(at for slot in drawn for at in self._still.get(slot, ()))}
            given = images.intersection(here.free)
            upto = max([here.next, *(at + 1 for at in images)])
            free = set(walked(here.next, upto)) - images
            if resumed(cursor.reader) is not None:
                # It is given what another was given, and nothing else of either.
                left = {at for at in self._images_of(missed) if at >= here.next}
                upto, free = max([upto, *(at + 1 for at in left)]), left
        self._shelf.draw(self._handle, cursor.reader, upto, given=given, free=free)
