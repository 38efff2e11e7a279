"""Replays: reading what a namespace drew, from its start, without moving its cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._types.calls import NAMESPACES
from memollm._types.locks import ForkedLock, WouldBlock
from memollm._values.frame import LARGE, weight
from memollm.errors import CacheMiss, ReplayExhausted
from memollm.stores.looking import drawn, looking

if TYPE_CHECKING:
    from memollm._types.calls import Call, Want
    from memollm._types.samples import Sample
    from memollm.stores.drawing import Drawing

IN_LINE: Final = 16
"""How many samples an event loop reads again itself; it takes no longer than a trip to another thread."""
THEN: Final = ("raise", "draw")


class Read(NamedTuple):
    """A sample that was read again, and where it stands."""

    at: int
    slot: int
    sample: Sample


class _Left(NamedTuple):
    """What is left to be read again, the next one last."""

    store: Drawing
    """Kept, so that no other store is taken for it."""
    positions: list[int]


class Replay:
    """How far one block has read what its namespace drew of each call, in each lane."""

    def __init__(self, namespace: str, *, goes_on: bool) -> None:
        self.namespace = namespace
        self.goes_on = goes_on
        """Past the end draws go on, as the namespace's own."""
        self._lock = ForkedLock()
        self._left: dict[tuple[int, Call, str | None], _Left] = {}

    def read(self, store: Drawing, want: Want, *, wait: bool, all_of_it: bool = True) -> list[Read]:
        """Read the next samples that a draw wants, or as many as are left where something comes after them.

        Where that is much, or what there is was not listed yet, it is `WouldBlock` unless it may `wait`.
        """
        call = want.call
        key = (id(store), call, want.lane)
        if not wait and (want.n > IN_LINE or key not in self._left):
            raise WouldBlock
        if key not in self._left:
            listed = drawn(looking(store), NAMESPACES + self.namespace, call, want.lane)
            with self._lock:
                self._left.setdefault(key, _Left(store, listed[::-1]))
        with self._lock:
            left = self._left[key].positions
            if len(left) < want.n and all_of_it and not self.goes_on:
                raise self._exhausted(want, len(left))
            positions = [left.pop() for _ in range(min(want.n, len(left)))]
        try:
            return self._samples(store, want, positions, wait=wait)
        except BaseException:
            self.give_back(store, want, positions)
            raise

    def _samples(self, store: Drawing, want: Want, positions: list[int], *, wait: bool) -> list[Read]:
        call, slots = want.call, [*map(want.slot, positions)]
        samples = store.peek(call, slots) if slots else {}
        if gone := sorted(set(slots) - set(samples)):
            raise CacheMiss(
                f"Namespace {self.namespace!r} drew slot {gone[0]} of this call of {call.function} "
                f"({call.key.hex()}), and it is no longer stored. Draw in a namespace of its own to have another."
            )
        if not wait and any(weight(sample.record) > LARGE for sample in samples.values()):
            raise WouldBlock
        return [Read(at, slot, samples[slot]) for at, slot in zip(positions, slots, strict=True)]

    def give_back(self, store: Drawing, want: Want, positions: list[int]) -> None:
        """Let samples be read again, which nobody got after all.

        This may be a garbage collection in the middle of anything, so it waits for no lock.
        """
        self._left[id(store), want.call, want.lane].positions.extend(positions[::-1])

    def _exhausted(self, want: Want, left: int) -> ReplayExhausted:
        where = "" if want.lane is None else f" in lane {want.lane!r}"
        return ReplayExhausted(
            f"Namespace {self.namespace!r} drew no more of this call of {want.call.function}{where}: {want.n} more "
            f"{'was' if want.n == 1 else 'were'} asked for and {left} are left. To go on with new draws, replay with "
            'then="draw".'
        )
