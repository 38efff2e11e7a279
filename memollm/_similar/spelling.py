"""Texts as gates read them: what looks different and is the same is written in one way."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_RAISED: Final = str.maketrans({digit: f"^{number}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def plain(text: str) -> str:
    """Write what looks different and is the same in one way."""
    raised = text.translate(_RAISED)
    return unicodedata.normalize("NFKC", raised).replace("’", "'").replace("−", "-")


def words(text: str) -> list[str]:
    """Part a text into its words, in one case."""
    return [word.casefold() for word in WORD.findall(plain(text))]
