"""What gates read of how words follow one another: their order, and one word in the place of another."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._similar.spelling import plain, stem, words
from memollm._similar.words import ALIKE, FREE, MONTHS, NUMBERS, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Order.

TOWARDS: Final = frozenset({"to", "from", "than", "by", "into", "before", "after", "without"})
"""What is said of the word behind it, and of another one if that stands there."""


class Ordered(NamedTuple):
    """The words of a text as they follow one another."""

    words: tuple[str, ...]
    content: tuple[str, ...]
    """Those that say something."""


def in_order(text: str) -> Ordered:
    """Read the words in their order."""
    said = tuple(word.removesuffix("'s") for word in words(text))
    return Ordered(said, tuple(word for word in said if word not in FREE or word in TOWARDS))


def agree_in_order(one: Ordered, other: Ordered) -> bool:
    """Refuse the same words in another order: whether A is larger than B is not whether B is larger than A.

    Where other words were added, what stands on both sides of a word must not have changed sides.
    """
    if one.words == other.words:
        return True
    if len(one.words) == len(other.words) and Counter(one.words) == Counter(other.words):
        return False
    # A word that stands in several places has several neighbours.
    both = _once(one.content) & _once(other.content)
    first, second = ([word for word in text.content if word in both] for text in (one, other))
    return first == second or not _exchanged(_around(first), _around(second))


def _once(said: Sequence[str]) -> set[str]:
    return {word for word, times in Counter(said).items() if times == 1}


def _around(said: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Tell of each word what stands before and behind it."""
    return {word: (before, behind) for before, word, behind in zip(("", *said), said, (*said[1:], ""), strict=False)}


def _exchanged(one: dict[str, tuple[str, str]], other: dict[str, tuple[str, str]]) -> bool:
    for word, (before, behind) in one.items():
        there = other[word]
        if before and behind and there == (behind, before):
            return True
        if word in TOWARDS and behind and there[1] and behind != there[1]:
            return True
    return False


# One word in the place of another.

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+|\.\w|[^\w\s.,;:!?\"'()\[\]{}…‐‑–—-]|(?<!\w)-|-(?!\w)")  # noqa: RUF001 - dashes between words say nothing
MOST: Final = 3
"""How many words in the place of as many others are taken to say another thing."""


class ReplacedWords(NamedTuple):
    """Words between two that both texts have."""

    before: str
    behind: str
    words: tuple[str, ...]


def swappable(text: str) -> tuple[str, ...]:
    """Read the words and signs; what other gates compare stands for itself."""
    found: list[str] = []
    for token in _TOKEN.findall(plain(text).casefold()):
        word = token.removesuffix("'s")
        if word.isdigit() or word in NUMBERS:
            word = "#"
        elif word in MONTHS:
            word = f"month {MONTHS[word]}"
        word = UNITS.get(word, word)
        if not (word == "#" and found[-1:] == ["#"]):
            found.append(word)
    return tuple(found)


def agree_in_swaps(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Tell whether in no place one says a word, and the other another one, between words that both say."""
    if one == other:
        return True
    here, there = {*one}, {*other}
    runs: dict[tuple[str, str], tuple[str, ...]] = {(run.before, run.behind): run.words for run in _runs(one, there)}
    return not any(
        _is_swap(runs[run.before, run.behind], run.words)
        for run in _runs(other, here)
        if (run.before, run.behind) in runs
    )


def _runs(said: Sequence[str], known: set[str]) -> Iterator[ReplacedWords]:
    before, run = "^", list[str]()
    for word in (*said, "$"):
        if word in known or word == "$":
            if run:
                yield ReplacedWords(before, word, tuple(run))
            before, run = word, []
        else:
            run.append(word)


def _is_swap(one: Sequence[str], other: Sequence[str]) -> bool:
    if len(one) != len(other):
        # They are worded in another way, and not one by one.
        return False
    first, second = ([word for word in words if word not in FREE] for words in (one, other))
    if len(first) != len(second) or len(first) > MOST:
        return False
    return not all(_are_alike(word, instead) for word, instead in zip(first, second, strict=True))


def _are_alike(one: str, other: str) -> bool:
    return bool(ALIKE.get(one, frozenset()) & ALIKE.get(other, frozenset())) or stem(one) == stem(other)
