"""What gates read of the words of a text: what denies, what has an opposite, and names."""

from __future__ import annotations

import re
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._similar.spelling import WORD, plain, stem, words
from memollm._similar.words import (
    CONTRACTED,
    DAYS,
    LOOSE,
    MONTHS,
    NAMES,
    NEGATIONS,
    OPPOSED,
    PREFIXES,
    ROMAN,
    SIDES,
    UNNAMED,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Negations.

_FREE: Final = re.compile(r"-free\b", re.IGNORECASE)
_LIKE_DENIED: Final = re.compile(rf"(?:{'|'.join(PREFIXES)})\w|.*less$")


class Denied(NamedTuple):
    """How often a text denies, and its words."""

    times: int
    words: Counter[str]
    of: frozenset[str]
    """What is denied: the word behind what denies."""
    ends: frozenset[str]
    """The words that may have in them what denies them, as a prefix or as an end."""


def denied(text: str) -> Denied:
    """Read what denies."""
    said = words(text)
    times = sum(map(_denies, said)) + len(_FREE.findall(text))
    of = frozenset(after for word, after in pairwise(said) if _denies(word))
    return Denied(
        times, Counter(said), of, frozenset(word for word in said if word != "into" and _LIKE_DENIED.match(word))
    )


def agree_in_negations(one: Denied, other: Denied) -> bool:
    """Tell whether both deny as often and the same, and neither has a word that the other has with what denies it."""
    if one.times != other.times:
        return False
    if one.of != other.of and (one.of - other.of) & other.words.keys() and (other.of - one.of) & one.words.keys():
        return False
    return not (_denies_a_word(one, other) or _denies_a_word(other, one))


def _denies_a_word(one: Denied, other: Denied) -> bool:
    """Tell whether a text has a word that the other has with what denies it."""
    if one.ends <= other.words.keys():
        return False
    more = {stem(word) for word in other.words - one.words}
    return any(stem(each) in more for word in one.ends if one.words[word] > other.words[word] for each in _freed(word))


def _denies(word: str) -> bool:
    return word in NEGATIONS or word.endswith("n't") or word in CONTRACTED


def _freed(word: str) -> Iterator[str]:
    yield from (word.removeprefix(prefix) for prefix in PREFIXES if word.startswith(prefix) and word != prefix)
    if word.endswith("less"):
        freed = word.removesuffix("less")
        yield from (freed, f"{freed}ful", f"{freed}y")


# Comparatives and other opposites.

Sides = frozenset[tuple[str, int]]


class OpposedWords(NamedTuple):
    """On which sides of which opposites a text's words stand: surely, and perhaps."""

    surely: Sides
    perhaps: Sides


def compared(text: str) -> OpposedWords:
    """Read what has an opposite."""
    said = words(text)
    sides = frozenset[tuple[str, int]]()
    surely = sides.union(*(SIDES[word] for word in said if word in SIDES and word not in LOOSE))
    perhaps = sides.union(*(found.get(word, sides) for word in said for found in (SIDES, OPPOSED)))
    return OpposedWords(surely, perhaps)


def agree_in_comparatives(one: OpposedWords, other: OpposedWords) -> bool:
    """Tell whether neither says the opposite of what the other says: more and less, first and last, buy and sell."""
    if not (one.surely <= other.perhaps and other.surely <= one.perhaps):
        return False
    return not any((axis, 1 - side) in other.perhaps - one.perhaps for axis, side in one.perhaps - other.perhaps)


# Names.

_SENTENCE: Final = re.compile(r"(?:^|[.!?:\n]\s*|[\"'“‘(]\s*)$")
NO_NAMES: Final = UNNAMED | MONTHS.keys() | DAYS.keys()


class Named(NamedTuple):
    """The names in a text, in their order, and all its words."""

    names: tuple[str, ...]
    words: frozenset[str]


def named(text: str) -> Named:
    """Read the names: words with a capital letter inside of a sentence, and known ones."""
    return Named(tuple(_names(plain(text))), frozenset(word.removesuffix("'s") for word in words(text)))


def _names(text: str) -> Iterator[str]:
    for match in WORD.finditer(text):
        word = match.group()
        begins = _SENTENCE.search(text[max(0, match.start() - 3) : match.start()]) is not None
        name = word.casefold().removesuffix("'s")
        has_capital = word[0].isupper() and (not begins or word.isupper()) and word.casefold() not in NO_NAMES
        if (has_capital and name not in ROMAN) or name in NAMES:
            yield name


def agree_in_names(one: Named, other: Named) -> bool:
    """Tell whether each says the names that the other does, in whatever case, and those of both in one order."""
    if not (other.words.issuperset(one.names) and one.words.issuperset(other.names)):
        return False
    both = {*one.names} & {*other.names}
    return _only(one.names, both) == _only(other.names, both)


def _only(names: Sequence[str], both: set[str]) -> list[str]:
    return [*dict.fromkeys(name for name in names if name in both)]
