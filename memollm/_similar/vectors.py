"""The vectors of one kind: loaded once for a process, kept up with what others add, searched by NumPy."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from memollm._types.locks import ForkedLock
from memollm.errors import OptionError
from memollm.stores.matching import MOST_VECTORS, matching

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from memollm._draws.engine import Engine

    Vectors = NDArray[np.float32]
    Numbers = NDArray[np.int64]

MOST_SPACES: Final = 1000
"""How many kinds of vectors a process remembers."""
LEAST: Final = 256
"""For how many vectors there is room at first,"""
MOST_ROWS: Final = 16_384
"""and in a piece that is full."""
NUMBER_BYTES: Final = 4
SCORED: Final = 10**6
"""Scores are told in millionths: float32 has no more."""


def normalized(vector: Any, of: str) -> Vectors:
    """Return a vector in our form: float32 numbers, of length 1."""
    try:
        numbers = _numbers(vector)
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"embed= of {of} returned a {type(vector).__qualname__}: it must return numbers ({error})."
        ) from error
    with np.errstate(all="ignore"):
        length = float(np.sqrt(numbers @ numbers)) if numbers.ndim == 1 and numbers.size else 0.0
    if not (0 < length < float("inf")):
        shape = "x".join(map(str, numbers.shape)) or "one"
        raise OptionError(
            f"embed= of {of} returned {shape} numbers that are no direction. It must return one vector, of finite "
            "numbers that are not all zero; for lists of texts say Embedder(..., batch=True)."
        )
    return (numbers / length).astype(np.float32)


def _numbers(vector: Any) -> NDArray[np.float64]:
    given = np.asarray(vector)
    if given.size and given.dtype.kind in "bUScmM":
        # NumPy would make numbers of them.
        raise TypeError(f"its elements are {given.dtype}")
    return given.astype(np.float64)


class Near(NamedTuple):
    """A vector that is near another one."""

    number: int
    score: float


class _Piece(NamedTuple):
    """Some vectors, one after the other; what is behind the first `known` is room for more."""

    matrix: Vectors
    numbers: Numbers
    known: int

    @property
    def room(self) -> int:
        return len(self.numbers) - self.known

    def reached(self, vector: Vectors, at_least: float) -> tuple[Numbers, NDArray[np.float64]]:
        """Return the numbers and the cosines of those that are near enough."""
        scores = self.matrix[: self.known] @ vector
        found = np.flatnonzero(scores >= at_least)
        return self.numbers[found], scores[found].astype(np.float64)


class VectorBlock:
    """The vectors of one space, in pieces, so that no growth copies them all."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._pieces: tuple[_Piece, ...] = ()
        self.last = 0
        """The highest number that was read."""
        self._lock = ForkedLock()

    @property
    def known(self) -> int:
        """How many vectors are here."""
        return sum(piece.known for piece in self._pieces)

    def add(self, after: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Take up rows that were read behind a number, unless another thread has done so meanwhile."""
        if not rows:
            return
        whole = [row for row in rows if len(row[1]) == NUMBER_BYTES * self._width]
        numbers = np.fromiter((number for number, _ in whole), np.int64, len(whole))
        vectors = np.frombuffer(b"".join(vector for _, vector in whole), np.float32).reshape(-1, self._width)
        with self._lock:
            if self.last == after:
                while len(numbers):
                    taken = self._take(vectors, numbers)
                    vectors, numbers = vectors[taken:], numbers[taken:]
                # Those of another length are passed over, and are not read again.
                self.last = rows[-1][0]

    def _take(self, vectors: Vectors, numbers: Numbers) -> int:
        """Put as many as there is room for into the last piece, or into one more; return how many."""
        pieces = self._pieces
        if not pieces or (not pieces[-1].room and len(pieces[-1].numbers) == MOST_ROWS):
            pieces = (*pieces, self._piece(LEAST if not pieces and len(numbers) < LEAST else MOST_ROWS))
        *before, piece = pieces
        if not piece.room:
            more = self._piece(min(MOST_ROWS, 4 * piece.known))
            more.matrix[: piece.known], more.numbers[: piece.known] = piece.matrix, piece.numbers
            piece = more._replace(known=piece.known)
        taken = min(piece.room, len(numbers))
        end = piece.known + taken
        # Whoever searches meanwhile looks at what was there before.
        piece.matrix[piece.known : end], piece.numbers[piece.known : end] = vectors[:taken], numbers[:taken]
        self._pieces = (*before, piece._replace(known=end))
        return taken

    def _piece(self, rows: int) -> _Piece:
        return _Piece(np.empty((rows, self._width), np.float32), np.empty(rows, np.int64), 0)

    def nearest(self, vector: Vectors, at_least: float, most: int) -> list[Near]:
        """Return the vectors whose cosine is high enough, the nearest first, and of equals the one that came first."""
        reached = [piece.reached(vector, at_least - 1 / SCORED) for piece in self._pieces]
        if not reached:
            return []
        numbers, scores = (np.concatenate(parts) for parts in zip(*reached, strict=True))
        if len(numbers) > most:
            best = np.argpartition(-scores, most - 1)[:most]
            numbers, scores = numbers[best], scores[best]
        # What is compared here is what is kept, so that a score that reached a threshold does so for ever.
        told = np.minimum(np.round(scores * SCORED) / SCORED, 1.0)
        order = np.lexsort((numbers, -told))
        return [Near(int(numbers[at]), float(told[at])) for at in order if told[at] >= at_least]


class VectorBlocks:
    """The vectors that a process has read from one store."""

    def __init__(self) -> None:
        self._blocks: dict[bytes, VectorBlock] = {}

    def current(self, engine: Engine, space: bytes, width: int) -> VectorBlock:
        """Return the vectors of a space, with what was added since; this reads from the store."""
        block = self._blocks.get(space)
        if block is None:
            if len(self._blocks) >= MOST_SPACES:
                self._blocks.clear()
            block = self._blocks.setdefault(space, VectorBlock(width))
        while True:
            last = block.last
            rows = matching(engine.store).vectors(space, last)
            block.add(last, rows)
            if len(rows) < MOST_VECTORS:
                return block


_of_engines: weakref.WeakKeyDictionary[Engine, VectorBlocks] = weakref.WeakKeyDictionary()


def blocks_of(engine: Engine) -> VectorBlocks:
    """Return what this process has read by an engine."""
    return _of_engines.setdefault(engine, VectorBlocks())
