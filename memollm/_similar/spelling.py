"""Texts as gates read them: what looks different and is the same is written in one way."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_RAISED: Final = str.maketrans({digit: f"^{number}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
_MINUS: Final = re.compile(r"−|(?<!\S)[–‒](?=\d)")  # noqa: RUF001 - they stand for a minus
_DOTTED: Final = re.compile(r"\b(?:[A-Za-z]\.){2,}")
_BRITISH: Final = tuple(
    (re.compile(pattern), instead)
    for pattern, instead in (
        (r"(?<=\w{3})our(?=(?:s|ed|ing|ful|ite|ites|able)?$)", "or"),
        (r"(?<=\w{3})is(?=(?:e|es|ed|ing|er|ers|ation|ations)$)", "iz"),
        (r"(?<=\w{3})tre(?=s?$)", "ter"),
        (r"(?<=\w{3})ogue(?=s?$)", "og"),
        (r"(?<=\w{4})ll(?=(?:ed|ing|er|ers)$)", "l"),
        (r"(?<=\w{3})ence(?=s?$)", "ense"),
    )
)
_PERHAPS: Final = re.compile(r"our|is[eia]|tre|ogue|lle|lli|ence")
WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def plain(text: str) -> str:
    """Write what looks different and is the same in one way."""
    raised = _MINUS.sub("-", text.translate(_RAISED))
    return without_dots(unicodedata.normalize("NFKC", raised).replace("’", "'"))


def without_dots(text: str) -> str:
    """Write abbreviations without their dots: U.S.A. is USA, and p.m. is pm."""
    return _DOTTED.sub(lambda match: match[0].replace(".", ""), text)


def spelled(word: str) -> str:
    """Write a word as Americans do; what it makes of one that has no other spelling, it makes of it everywhere."""
    for pattern, instead in _BRITISH if _PERHAPS.search(word) else ():
        word = pattern.sub(instead, word)
    return word


def words(text: str) -> list[str]:
    """Part a text into its words, in one case."""
    return [spelled(word.casefold()) for word in WORD.findall(plain(text))]


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
