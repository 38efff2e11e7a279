"""Texts as gates read them: what looks different and is the same is written in one way."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_RAISED: Final = str.maketrans({digit: f"^{number}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_MINUS: Final = re.compile(r"−|(?<!\S)[–‒](?=\d)")  # noqa: RUF001 - they stand for a minus
WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def plain(text: str) -> str:
    """Write what looks different and is the same in one way."""
    raised = _MINUS.sub("-", text.translate(_RAISED))
    return unicodedata.normalize("NFKC", raised).replace("’", "'")


def words(text: str) -> list[str]:
    """Part a text into its words, in one case."""
    return [word.casefold() for word in WORD.findall(plain(text))]


ENDS: Final = ("ing", "ed", "es", "s", "ly", "er")


def stem(word: str) -> str:
    """Cut off how a word is bent."""
    for end in ENDS:
        if word.endswith(end) and len(word) - len(end) > 2:  # noqa: PLR2004 - "is" and "red" have no end
            word = word.removesuffix(end)
            break
    if len(word) > 3 and word[-1] == word[-2]:  # noqa: PLR2004 - as in "swimming"
        word = word[:-1]
    return word.removesuffix("e")
