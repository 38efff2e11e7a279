"""Copies of samples: what a tier keeps of a server's, by call and slot, and how it is found again."""

from __future__ import annotations

from bisect import bisect_right
from hashlib import blake2b
from heapq import nlargest
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memollm._types.calls import Call, Place
    from memollm._types.samples import Sample
    from memollm.stores.thin import Stretches

MOST_TOLD: Final = 32
"""How many stretches of a call a server is told of; what else is held is sent again."""


class Copy(NamedTuple):
    """A sample as a server had it."""

    sample: Sample
    digest: bytes
    """By which the server knows the record."""
    epoch: int
    """That in which the server had it; below zero where that says nothing to another process."""


class Copies(Protocol):
    """What a tier keeps. All of it may be gone at any moment: whatever fails is as if it were not there."""

    def stretches(self, call: Call) -> Stretches:
        """Tell which slots of a call are here, as far as is known."""
        ...

    def get(self, call: Call, slots: Sequence[int]) -> dict[int, Copy]:
        """Read copies."""
        ...

    def put(self, copies: Mapping[Place, Copy]) -> None:
        """Keep copies, in the place of those that are here."""
        ...

    def renew(self, copies: Mapping[Place, Copy]) -> None:
        """Know of copies that are here in which epoch the server has them still."""
        ...

    def drop(self, places: Iterable[Place]) -> None:
        """Remove copies."""
        ...

    def look(self) -> str:
        """Tell in a few words how things stand, changing nothing."""
        ...

    def close(self) -> None:
        """Let go of everything; what is kept stays."""
        ...


def name_of(call: Call) -> bytes:
    """Return what a call is known by in a tier."""
    return blake2b(call.key + call.form.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class HeldSlots:
    """Which slots of a call are held, as stretches."""

    def __init__(self, slots: Iterable[int] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for slot in slots:
            self.add(slot)

    def add(self, slot: int) -> None:
        """Hold a slot more."""
        at = bisect_right(self._firsts, slot)
        if at and slot <= self._lasts[at - 1]:
            return
        joins_before = at > 0 and self._lasts[at - 1] == slot - 1
        joins_after = at < len(self._firsts) and self._firsts[at] == slot + 1
        if joins_before and joins_after:
            self._lasts[at - 1] = self._lasts.pop(at)
            del self._firsts[at]
        elif joins_before:
            self._lasts[at - 1] = slot
        elif joins_after:
            self._firsts[at] = slot
        else:
            self._firsts.insert(at, slot)
            self._lasts.insert(at, slot)

    def remove(self, slot: int) -> None:
        """Hold a slot no more."""
        at = bisect_right(self._firsts, slot) - 1
        if at < 0 or slot > self._lasts[at]:
            return
        first, last = self._firsts[at], self._lasts[at]
        parts = [part for part in ((first, slot - 1), (slot + 1, last)) if part[0] <= part[1]]
        self._firsts[at : at + 1] = [part[0] for part in parts]
        self._lasts[at : at + 1] = [part[1] for part in parts]

    def stretches(self) -> Stretches:
        """Return the stretches, or the longest of them where they are many."""
        if len(self._firsts) <= MOST_TOLD:
            return list(zip(self._firsts, self._lasts, strict=True))
        return nlargest(MOST_TOLD, zip(self._firsts, self._lasts, strict=True), key=lambda each: each[1] - each[0])
