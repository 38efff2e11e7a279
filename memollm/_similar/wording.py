"""What gates read of the words of a text: what denies, what has an opposite, names, and their order."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._similar.spelling import WORD, plain, words
from memollm._similar.words import CONTRACTED, DAYS, LOOSE, MONTHS, NEGATIONS, PREFIXES, SIDES, UNNAMED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

# Negations.


class Denied(NamedTuple):
    """How often a text denies, and its words."""

    times: int
    words: frozenset[str]


def denied(text: str) -> Denied:
    """Read what denies."""
    said = words(text)
    return Denied(_denials(said), frozenset(said))


def agree_in_negations(one: Denied, other: Denied) -> bool:
    """Tell whether both deny as often, and neither has a word that the other has with a prefix that denies it."""
    if one.times != other.times:
        return False
    here, there = one.words - other.words, other.words - one.words
    return not ({*_without_prefix(here)} & there or {*_without_prefix(there)} & here)


def _denials(said: Sequence[str]) -> int:
    return sum(word in NEGATIONS or word.endswith("n't") or word in CONTRACTED for word in said)


def _without_prefix(said: Iterable[str]) -> Iterator[str]:
    return (
        word.removeprefix(prefix) for word in said for prefix in PREFIXES if word.startswith(prefix) and word != prefix
    )


# Comparatives and other opposites.

Sides = frozenset[tuple[int, int]]


class OpposedWords(NamedTuple):
    """On which sides of which opposites a text's words stand: surely, and perhaps."""

    surely: Sides
    perhaps: Sides


def compared(text: str) -> OpposedWords:
    """Read what has an opposite."""
    said = words(text)
    return OpposedWords(_sides(word for word in said if word not in LOOSE), _sides(said))


def _sides(said: Iterable[str]) -> Sides:
    return frozenset(SIDES[word] for word in said if word in SIDES)


def agree_in_comparatives(one: OpposedWords, other: OpposedWords) -> bool:
    """Tell whether neither says the opposite of what the other says: more and less, first and last, buy and sell."""
    if not (one.surely <= other.perhaps and other.surely <= one.perhaps):
        return False
    return not any((axis, 1 - side) in other.perhaps - one.perhaps for axis, side in one.perhaps - other.perhaps)


# Names.

_SENTENCE: Final = re.compile(r"(?:^|[.!?:\n]\s*|[\"'“‘(]\s*)$")
NO_NAMES: Final = UNNAMED | MONTHS.keys() | DAYS.keys()


class Named(NamedTuple):
    """The names in a text, and all its words."""

    names: frozenset[str]
    words: frozenset[str]


def named(text: str) -> Named:
    """Read the names: words with a capital letter inside of a sentence."""
    return Named(frozenset(_names(plain(text))), frozenset(word.removesuffix("'s") for word in words(text)))


def _names(text: str) -> Iterator[str]:
    for match in WORD.finditer(text):
        word = match.group()
        begins = _SENTENCE.search(text[max(0, match.start() - 3) : match.start()]) is not None
        if word[0].isupper() and (not begins or word.isupper()) and word.casefold() not in NO_NAMES:
            yield word.casefold().removesuffix("'s")


def agree_in_names(one: Named, other: Named) -> bool:
    """Tell whether each says the names that the other does, in whatever case."""
    return one.names <= other.words and other.names <= one.words


# Order.


def in_order(text: str) -> tuple[str, ...]:
    """Read the words as they follow one another."""
    return tuple(words(text))


def agree_in_order(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Refuse the same words in another order: whether A is larger than B is not whether B is larger than A."""
    return one == other or Counter(one) != Counter(other)
