"""Replays of a namespace: reading what it drew, from its start, without moving its cursor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._types.calls import NAMESPACES
from memollm._types.locks import ForkedLock, WouldBlock
from memollm._types.suggest import did_you_mean
from memollm._types.warn import warn
from memollm.errors import CacheMiss, MemollmWarning, ReplayExhausted
from memollm.stores.looking import drawn, looking

if TYPE_CHECKING:
    from memollm._types.calls import Call, Want
    from memollm._types.samples import Sample
    from memollm._values.codec import Codec
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
        self._looked_for: list[Drawing] = []
        """The stores where it is known whether there is such a namespace."""

    def read(self, store: Drawing, codec: Codec, want: Want, *, wait: bool, all_of_it: bool = True) -> list[Read]:
        """Read the next samples that a draw wants, or as many as are left where something comes after them.

        Where that is much, or what there is was not listed yet, it is `WouldBlock` unless it may `wait`.
        """
        call = want.call
        key = (id(store), call, want.lane)
        if not wait and (want.n > IN_LINE or key not in self._left):
            raise WouldBlock
        if key not in self._left:
            listed = drawn(looking(store), NAMESPACES + self.namespace, call, want.lane)
            if not listed:
                self._look_for_it(store)
            with self._lock:
                self._left.setdefault(key, _Left(store, listed[::-1]))
        with self._lock:
            left = self._left[key].positions
            if len(left) < want.n and all_of_it and not self.goes_on:
                raise self._exhausted(want, len(left))
            positions = [left.pop() for _ in range(min(want.n, len(left)))]
        try:
            return self._samples(store, codec, want, positions, wait=wait)
        except BaseException:
            self.give_back(store, want, positions)
            raise

    def _samples(self, store: Drawing, codec: Codec, want: Want, positions: list[int], *, wait: bool) -> list[Read]:
        call, slots = want.call, [*map(want.slot, positions)]
        samples = store.peek(call, slots) if slots else {}
        if gone := sorted(set(slots) - set(samples)):
            raise CacheMiss(
                f"Namespace {self.namespace!r} drew slot {gone[0]} of this call of {call.function} "
                f"({call.key.hex()}), and it is no longer stored. Draw in a namespace of its own to have another."
            )
        if not wait and any(codec.is_heavy(sample.record) for sample in samples.values()):
            raise WouldBlock
        return [Read(at, slot, samples[slot]) for at, slot in zip(positions, slots, strict=True)]

    def _look_for_it(self, store: Drawing) -> None:
        """Refuse a namespace that there is not; where draws go on it begins, with a warning if it looks misspelt."""
        if any(known is store for known in self._looked_for):
            return
        readers = [reader.name for reader in looking(store).readers()]
        there = [name.removeprefix(NAMESPACES) for name in readers if name.startswith(NAMESPACES)]
        if self.namespace not in there:
            near = did_you_mean(self.namespace, there)
            reason = f"There is no namespace {self.namespace!r} to replay in this cache{near}"
            if not self.goes_on:
                raise ReplayExhausted(reason)
            if near.endswith("?"):
                warn(f"{reason} It begins with this draw.", MemollmWarning)
        self._looked_for.append(store)

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
