"""An embedder for tests: the hashed n-grams of a text, which every machine makes the same, and no model."""

from __future__ import annotations

import math
import re
import zlib

WIDTH = 128
WORD_WEIGHT = 2.0


def hashed_ngrams(text: str, *, width: int = WIDTH) -> list[float]:
    """Return the vector of a text: its words and its groups of three letters, each counted at a place of its own.

    Texts with the same words are near one another, in whatever order. It tells nothing of what words mean.
    """
    vector = [0.0] * width
    words = re.findall(r"\w+", text.casefold())
    for word in words:
        vector[_place(word, width)] += WORD_WEIGHT
        padded = f" {word} "
        for start in range(len(padded) - 2):
            vector[_place(padded[start : start + 3], width)] += 1.0
    length = math.sqrt(sum(number * number for number in vector))
    if not length:
        # A text without words has a direction, too.
        return [1.0, *vector[1:]]
    return [number / length for number in vector]


def _place(part: str, width: int) -> int:
    return zlib.crc32(part.encode()) % width
