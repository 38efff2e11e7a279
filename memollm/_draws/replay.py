"""Replays: reading what a namespace drew, from its start, without moving its cursor."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._spending.accounts import HIT
from memollm._types.calls import NAMESPACES
from memollm._types.locks import ForkedLock
from memollm.errors import CacheMiss, ReplayExhausted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._draws.engine import Engine
    from memollm._spending.accounts import Given
    from memollm._types.calls import Call, Want
    from memollm._types.samples import Sample
    from memollm.stores.base import Store

THEN: Final = ("raise", "draw")


class Read(NamedTuple):
    """A sample that was read again, and where it stands."""

    at: int
    slot: int
    sample: Sample


class Replay:
    """How far one block has read what its namespace drew of each call, in each lane."""

    def __init__(self, namespace: str, *, goes_on: bool) -> None:
        self.namespace = namespace
        self.goes_on = goes_on
        """Past the end draws go on, as the namespace's own."""
        self._lock = ForkedLock()
        self._left: dict[tuple[int, Call, str | None], list[int]] = {}

    def read(self, store: Store, want: Want) -> list[Read]:
        """Read the next samples that a draw wants, or as many as are left where draws go on after them."""
        call = want.call
        key = (id(store), call, want.lane)
        if key not in self._left:
            drawn = store.drawn(NAMESPACES + self.namespace, call, want.lane)
            with self._lock:
                self._left.setdefault(key, drawn[::-1])
        with self._lock:
            left = self._left[key]
            if len(left) < want.n and not self.goes_on:
                raise self._exhausted(want, len(left))
            positions = [left.pop() for _ in range(min(want.n, len(left)))]
        try:
            return self._samples(store, want, positions)
        except BaseException:
            self.give_back(store, want, positions)
            raise

    def _samples(self, store: Store, want: Want, positions: list[int]) -> list[Read]:
        call, slots = want.call, [*map(want.slot, positions)]
        samples = store.peek(call, slots) if slots else {}
        if gone := sorted(set(slots) - set(samples)):
            raise CacheMiss(
                f"Namespace {self.namespace!r} drew slot {gone[0]} of this call of {call.function} "
                f"({call.key.hex()}), and it is no longer stored. Draw in a namespace of its own to have another."
            )
        return [Read(at, slot, samples[slot]) for at, slot in zip(positions, slots, strict=True)]

    def give_back(self, store: Store, want: Want, positions: list[int]) -> None:
        """Let samples be read again, which nobody got after all.

        This may be a garbage collection in the middle of anything, so it waits for no lock.
        """
        self._left[id(store), want.call, want.lane].extend(positions[::-1])

    def _exhausted(self, want: Want, left: int) -> ReplayExhausted:
        where = "" if want.lane is None else f" in lane {want.lane!r}"
        return ReplayExhausted(
            f"Namespace {self.namespace!r} drew no more of this call of {want.call.function}{where}: {want.n} more "
            f"{'was' if want.n == 1 else 'were'} asked for and {left} are left. To go on with new draws, replay with "
            'then="draw".'
        )


class Replayed:
    """What a replay gives of one draw, and what is left to be drawn after it."""

    def __init__(self, engine: Engine, replay: Replay, wants: Sequence[Want]) -> None:
        self._engine = engine
        self._replay = replay
        self._wants = wants
        self._read: list[list[Read]] = []
        try:
            for want in wants:
                self._read.append(replay.read(engine.store, want))
            self._values = [
                [engine.codec.decode(each.sample.record, context=want.call.key) for each in read]
                for want, read in zip(wants, self._read, strict=True)
            ]
        except BaseException:
            self.give_back()
            raise
        left = [want._replace(n=want.n - len(read)) for want, read in zip(wants, self._read, strict=True)]
        self.short = [index for index, want in enumerate(left) if want.n]
        """Which of the wants it leaves something to be drawn of."""
        self.missing = [left[index] for index in self.short]

    @property
    def given(self) -> list[Given]:
        """Notes of the samples that were read, for the books."""
        return [
            (want.call, each.slot, each.sample[2:], 0.0, HIT)
            for want, read in zip(self._wants, self._read, strict=True)
            for each in read
        ]

    def joined(self, drawn: Sequence[Any]) -> list[Any]:
        """Return what was read and then what was drawn, want by want."""
        rest = iter(drawn)
        return [
            value
            for want, values in zip(self._wants, self._values, strict=True)
            for value in (*values, *islice(rest, want.n - len(values)))
        ]

    def give_back(self) -> None:
        """Let all of it be read again, which nobody got after all."""
        for want, read in zip(self._wants, self._read, strict=False):
            self._replay.give_back(self._engine.store, want, [each.at for each in read])
