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
"""For how many vectors there is room at first."""
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


class _Held(NamedTuple):
    """The vectors that are known; what is behind the first `known` is room for more."""

    matrix: Vectors
    numbers: Numbers
    known: int
    last: int
    """The highest number that was read, also of what is no vector."""


class VectorBlock:
    """The vectors of one space."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._held = _Held(np.empty((0, width), np.float32), np.empty(0, np.int64), 0, 0)
        self._lock = ForkedLock()

    @property
    def last(self) -> int:
        """The highest number that is known."""
        return self._held.last

    def add(self, after: int, rows: Sequence[tuple[int, bytes]]) -> None:
        """Take up rows that were read behind a number, unless another thread has done so meanwhile."""
        if not rows:
            return
        whole = [row for row in rows if len(row[1]) == NUMBER_BYTES * self._width]
        numbers = np.fromiter((number for number, _ in whole), np.int64, len(whole))
        vectors = np.frombuffer(b"".join(vector for _, vector in whole), np.float32).reshape(-1, self._width)
        with self._lock:
            if self._held.last == after:
                self._held = self._grown(self._held, numbers, vectors, rows[-1][0])

    def _grown(self, held: _Held, numbers: Numbers, vectors: Vectors, last: int) -> _Held:
        end = held.known + len(numbers)
        matrix, ids = held.matrix, held.numbers
        if end > len(ids):
            room = max(LEAST, end, 2 * held.known)
            matrix, ids = np.empty((room, self._width), np.float32), np.empty(room, np.int64)
            matrix[: held.known], ids[: held.known] = held.matrix[: held.known], held.numbers[: held.known]
        # Whoever searches meanwhile looks at what was there before.
        matrix[held.known : end], ids[held.known : end] = vectors, numbers
        return _Held(matrix, ids, end, last)

    def nearest(self, vector: Vectors, at_least: float, most: int) -> list[Near]:
        """Return the vectors whose cosine is high enough, the nearest first, and of equals the one that came first."""
        held = self._held
        scores = held.matrix[: held.known] @ vector
        found = np.flatnonzero(scores >= at_least - 1 / SCORED)
        if len(found) > most:
            found = found[np.argpartition(-scores[found], most - 1)[:most]]
        # What is compared here is what is kept, so that a score that reached a threshold does so for ever.
        told = {int(at): min(1.0, round(float(scores[at]) * SCORED) / SCORED) for at in found}
        nearest = sorted((at for at in told if told[at] >= at_least), key=lambda at: (-told[at], at))
        return [Near(int(held.numbers[at]), told[at]) for at in nearest]


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
