"""A tier in memory: the copies of this process alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from memollm._types.locks import renewed_in_children
from memollm._types.tables import counted, size_text
from memollm.stores.tier.copies import Copies, HeldSlots

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from memollm._types.calls import Call, Place
    from memollm.stores.thin import Stretches
    from memollm.stores.tier.copies import Copy

ROOM: Final = 256 << 20
"""How many bytes are kept."""
BESIDE: Final = 512
"""How many bytes a copy takes beside its record, about; the text of a call comes once."""


class MemoryCopies(Copies):
    """Keeps copies as long as there is room; those that were kept first go first."""

    def __init__(self, room: int = ROOM) -> None:
        self._room = room
        self.begin()
        _living.add(self)

    def begin(self) -> None:
        """Hold nothing, in this process: a lock may be held in the parent of a fork."""
        self._lock = threading.RLock()
        self._copies: dict[tuple[Call, int], Copy] = {}
        self._slots: dict[Call, HeldSlots] = {}
        self._size = 0

    def stretches(self, call: Call) -> Stretches:
        """Tell which slots are here."""
        with self._lock:
            slots = self._slots.get(call)
            return [] if slots is None else slots.stretches()

    def get(self, call: Call, slots: Sequence[int]) -> dict[int, Copy]:
        """Read copies."""
        found = {slot: self._copies.get((call, slot)) for slot in slots}
        return {slot: copy for slot, copy in found.items() if copy is not None}

    def put(self, copies: Mapping[Place, Copy]) -> None:
        """Keep copies."""
        with self._lock:
            for place, copy in copies.items():
                self._remove((place.call, place.slot))
                self._copies[place.call, place.slot] = copy
                self._size += len(copy.sample.record) + BESIDE
                if place.call not in self._slots:
                    self._slots[place.call] = HeldSlots()
                    self._size += len(place.call.form)
                self._slots[place.call].add(place.slot)
            while self._size > self._room and self._copies:
                self._remove(next(iter(self._copies)))

    def renew(self, copies: Mapping[Place, Copy]) -> None:
        """Know in which epoch the server has copies still."""
        with self._lock:
            for place, copy in copies.items():
                if (place.call, place.slot) in self._copies:
                    self._copies[place.call, place.slot] = copy

    def drop(self, places: Iterable[Place]) -> None:
        """Remove copies."""
        with self._lock:
            for place in places:
                self._remove((place.call, place.slot))

    def _remove(self, where: tuple[Call, int]) -> None:
        copy = self._copies.pop(where, None)
        if copy is not None:
            self._size -= len(copy.sample.record) + BESIDE
            slots = self._slots[where[0]]
            slots.remove(where[1])
            if not slots.stretches():
                del self._slots[where[0]]
                self._size -= len(where[0].form)

    def look(self) -> str:
        """Tell how much is here."""
        return f"memory: {counted(len(self._copies), 'copy', 'copies')}, {size_text(self._size)}"

    def close(self) -> None:
        """Let go of all."""
        self.begin()


_living = renewed_in_children(MemoryCopies.begin)
