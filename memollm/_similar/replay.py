"""Replaying calls that were made: what a cache that lends from a threshold on would have lent of them, and learned.

All thresholds are replayed at once, the calls in the order in which they were made. At each call a threshold knows the
texts that it has not lent to. Which do is a bit for each threshold, so that a text is looked at once for all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from memollm._similar.gates import GATES, ReadText, is_open
from memollm._similar.matcher import COMPARED, VERIFIED
from memollm._similar.vectors import SCORED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from memollm._similar.gates import Gate

    Bits = NDArray[np.uint64]
    Marks = NDArray[np.bool_]
    Places = NDArray[np.intp]

MOST: Final = 64
"""How many thresholds are replayed at once."""
BLOCK: Final = 256
"""Of how many texts the cosines to all before them are computed at a time."""
CHEAPEST: Final[tuple[str | Gate, ...]] = ("names", "comparatives", "negations", "order", "swaps")
"""In which order gates are asked: the user's own come last."""
CHUNK: Final = 256
"""How many of the nearest texts are looked at first."""


class Replayed(NamedTuple):
    """What one threshold would have done."""

    threshold: float
    lent: int
    agreed: int
    """How often what was lent agrees with the answer that the call got."""
    squares: int
    """The squares of how often each call has lent, added up."""
    unknown: int
    """Calls of which nobody knows whether they would have been lent to, as `verify` was never asked."""


class ShadowedCalls(NamedTuple):
    """Calls that differ in one text alone, in the order in which they were made."""

    texts: Sequence[str]
    vectors: NDArray[np.float32]
    agree: Callable[[int, int], bool]
    """Tells whether the answers to two of them agree."""
    verified: Callable[[int, int], bool | None] | None = None
    """Tells what `verify` said of two of them; None: it was never asked."""


def replay(course: ShadowedCalls, gates: Iterable[str | Gate], thresholds: Sequence[float]) -> list[Replayed]:
    """Replay calls for at most 64 thresholds, in ascending order."""
    run = _Replay(course, tuple(gates), np.asarray(thresholds))
    lowest: float = run.levels[0].item()
    for place, near, scores in _nearby(course.vectors, lowest):
        run.meet(place, near, scores)
    squares = np.square(run.lends).sum(axis=1)
    return [
        Replayed(float(level), int(lent), int(agreed), int(square), int(unknown))
        for level, lent, agreed, square, unknown in zip(
            run.levels, run.lent, run.agreed, squares, run.unknown, strict=True
        )
    ]


def _nearby(vectors: NDArray[np.float32], lowest: float) -> Iterator[tuple[int, Places, NDArray[np.float64]]]:
    """Give of each text those before it that are near enough, and their scores, as a search tells them."""
    for begin in range(0, len(vectors), BLOCK):
        end = min(begin + BLOCK, len(vectors))
        block: NDArray[np.float32] = vectors[begin:end] @ vectors[:end].T
        for place in range(begin, end):
            scores = block[place - begin, :place]
            near = np.flatnonzero(scores >= lowest - 1 / SCORED)
            told = np.minimum(np.round(scores[near].astype(np.float64) * SCORED) / SCORED, 1.0)
            yield place, near, told


class _Replay:
    """What is known so far."""

    def __init__(self, course: ShadowedCalls, gates: Sequence[str | Gate], levels: NDArray[np.float64]) -> None:
        size, number = len(course.texts), len(levels)
        if number > MOST:
            raise ValueError(f"{number} thresholds: at most {MOST} are replayed at once.")
        self._course = course
        self.levels = levels
        self._every = (1 << number) - 1
        self._bits = np.left_shift(np.uint64(1), np.arange(number, dtype=np.uint64))
        # The bits of those that a score reaches: no level, the lowest one, the two lowest, …
        self._reached = np.array([(1 << reached) - 1 for reached in range(number + 1)], np.uint64)
        self._learned = np.zeros(size, np.uint64)
        self.lent, self.agreed, self.unknown = (np.zeros(number, np.int64) for _ in range(3))
        self.lends = np.zeros((number, size), np.int32)
        self._readings = [ReadText(text) for text in course.texts]
        # What must be equal is compared by numbers; the rest of the gates are asked one by one.
        self._equal = _classes(self._readings, gates)
        self._others = sorted((gate for gate in gates if not _asks_for_equal(gate)), key=_cost)

    def meet(self, place: int, near: Places, scores: NDArray[np.float64]) -> None:
        """Let each threshold lend to a call, or learn it."""
        known = self._learned[near] & self._reached[np.searchsorted(self.levels, scores, side="right")]
        there = np.flatnonzero(known)
        lent = self._search(place, near[there], scores[there], known[there]) if len(there) else 0
        self._learned[place] = self._every & ~lent

    def _search(self, place: int, near: Places, scores: NDArray[np.float64], known: Bits) -> int:
        """Give each threshold the nearest of what it knows, as the search does; return the bits of those that lend."""
        search = _Search(self, place)
        while len(near) and search.open:
            first = _first(scores)
            search.look(near[first], known[first])
            rest = np.ones(len(near), np.bool_)
            rest[first] = False
            rest &= (known & np.uint64(search.open)) != 0
            near, scores, known = near[rest], scores[rest], known[rest]
        return search.lent

    def may(self, place: int, near: Places) -> Marks:
        """Tell which texts agree in what must be equal."""
        agree: Marks = (self._equal[near] == self._equal[place]).all(axis=1)
        return agree

    def decide(self, place: int, other: int) -> tuple[bool, bool | None]:
        """Tell whether the rest of the gates let two texts pass, and what `verify` said of them."""
        asked, stored = self._readings[place], self._readings[other]
        if not all(is_open(gate, asked, stored) for gate in self._others):
            return False, False
        return True, True if self._course.verified is None else self._course.verified(place, other)

    def marks(self, known: Bits) -> Marks:
        """Spread bits: a row for each text, a column for each threshold."""
        marks: Marks = (known[:, np.newaxis] & self._bits) != 0
        return marks

    def lend(self, place: int, other: int, where: Marks) -> None:
        """Count a sample that was lent."""
        self.lent += where
        self.lends[where, other] += 1
        if self._course.agree(place, other):
            self.agreed += where

    @property
    def every(self) -> int:
        """The bits of all thresholds."""
        return self._every

    @property
    def most_verified(self) -> int | None:
        """How many texts `verify` is shown for each call; None: there is no `verify`."""
        return None if self._course.verified is None else VERIFIED


class _Search:
    """The search for one call, for all thresholds at once."""

    def __init__(self, run: _Replay, place: int) -> None:
        self._run = run
        self._place = place
        self.open = run.every
        """The bits of those that go on."""
        self.lent = 0
        number = len(run.levels)
        self._compared, self._refused = np.zeros(number, np.int64), np.zeros(number, np.int64)

    def look(self, near: Places, known: Bits) -> None:
        """Look at texts, the nearest first."""
        run, marks = self._run, self._run.marks(known & np.uint64(self.open))
        ranks = self._compared + np.cumsum(marks, axis=0)
        usable = marks & (ranks <= COMPARED)
        passes, refused = run.may(self._place, near), np.zeros(len(near), np.bool_)
        told: dict[int, bool | None] = {}
        ahead = 1
        while True:
            hits = usable & passes[:, np.newaxis] & ~refused[:, np.newaxis]
            if run.most_verified is not None:
                # Each is shown so many at most.
                shown = self._refused + np.cumsum(usable & refused[:, np.newaxis], axis=0)
                hits &= shown < run.most_verified
            found: Marks = np.asarray(hits.any(axis=0))
            first = hits.argmax(axis=0)
            unseen = [int(row) for row in np.unique(first[found]) if int(row) not in told]
            if not unseen:
                break
            if run.most_verified is None:
                # Where many are kept out one by one, more are asked at a time.
                rows = np.flatnonzero(usable.any(axis=1))
                unseen += [int(row) for row in rows[rows > max(unseen)][: ahead - 1] if passes[row]]
                ahead *= 2
            for row in unseen:
                passes[row], told[row] = run.decide(self._place, int(near[row]))
                refused[row] = passes[row] and told[row] is False
        self._settle(near, found, first, told)
        self._compared = ranks[-1]
        self._refused += (usable & refused[:, np.newaxis]).sum(axis=0)
        ended = self._compared >= COMPARED
        if run.most_verified is not None:
            ended |= self._refused >= run.most_verified
        self.open &= ~_packed(found | ended)

    def _settle(self, near: Places, found: Marks, first: Places, told: dict[int, bool | None]) -> None:
        for row in np.unique(first[found]):
            where = found & (first == row)
            if told[int(row)] is None:
                # Nobody knows, so the call counts as made.
                self._run.unknown += where
            else:
                self._run.lend(self._place, int(near[row]), where)
                self.lent |= _packed(where)


def _packed(marks: Marks) -> int:
    return sum(1 << int(at) for at in np.flatnonzero(marks))


def _first(scores: NDArray[np.float64]) -> Places:
    """Return where the nearest are, in their order; of equals the one that came first."""
    if len(scores) > CHUNK:
        least = np.partition(scores, -CHUNK)[-CHUNK]
        best = np.flatnonzero(scores >= least)
        return best[np.argsort(-scores[best], kind="stable")]
    return np.argsort(-scores, kind="stable")


def _cost(gate: str | Gate) -> int:
    return CHEAPEST.index(gate) if gate in CHEAPEST else len(CHEAPEST)


def _asks_for_equal(gate: str | Gate) -> bool:
    return isinstance(gate, str) and GATES[gate].wants_equal


def _classes(readings: Sequence[ReadText], gates: Sequence[str | Gate]) -> NDArray[np.int64]:
    """Give numbers to what must be equal: texts agree in a gate if they have the same number there."""
    columns: list[list[int]] = []
    for gate in gates:
        if isinstance(gate, str) and _asks_for_equal(gate):
            numbers: dict[Any, int] = {}
            columns.append([numbers.setdefault(reading.part(gate), len(numbers)) for reading in readings])
    return np.array(columns, np.int64).reshape(len(columns), len(readings)).T
