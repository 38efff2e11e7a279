"""What gates read of how words follow one another: their order, and one word in the place of another."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

from memollm._similar.spelling import plain, spelled, stem, words
from memollm._similar.words import ALIKE, APART, ASKING, FREE, MONTHS, NUMBERS, POLITE, ROMAN, UNITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# Order.

TOWARDS: Final = frozenset({"to", "from", "than", "by", "into", "before", "after", "without"})
"""What is said of the word behind it, and of another one if that stands there."""


class Ordered(NamedTuple):
    """The words of a text as they follow one another, as they stand there and without its frame."""

    whole: Sequenced
    bare: Sequenced


class Sequenced(NamedTuple):
    """Words as they follow one another."""

    words: tuple[str, ...]
    content: tuple[str, ...]
    """Those that say something."""


def in_order(text: str) -> Ordered:
    """Read the words in their order."""
    said = [[word.removesuffix("'s") for word in words(sentence)] for sentence in _sentences(plain(text))]
    return Ordered(*map(_sequenced, (said, _unframed(said))))


def _sequenced(sentences: Sequence[Sequence[str]]) -> Sequenced:
    said = tuple(chain.from_iterable(sentences))
    return Sequenced(said, tuple(word for word in said if word not in FREE or word in TOWARDS))


def agree_in_order(one: Ordered, other: Ordered) -> bool:
    """Refuse the same words in another order: whether A is larger than B is not whether B is larger than A.

    Where other words were added, what stands on both sides of a word must not have changed sides.
    """
    if one.whole.words == other.whole.words:
        return True
    if _are_same_words(one.whole, other.whole):
        return False
    if _are_same_words(one.bare, other.bare) and one.bare.content != other.bare.content:
        return False
    return all(_keep_sides(*pair) for pair in ((one.whole, other.whole), (one.bare, other.bare)))


def _are_same_words(one: Sequenced, other: Sequenced) -> bool:
    return len(one.words) == len(other.words) and Counter(one.words) == Counter(other.words)


def _keep_sides(one: Sequenced, other: Sequenced) -> bool:
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


# Frames.

_END: Final = re.compile(r"[.!?]+(?=\s|$)|\n")


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _END.split(text) if sentence.strip()]


def _unframed(sentences: Sequence[list[str]]) -> list[list[str]]:
    """Leave out what is said to be polite, before a question and behind it; what is nothing else says that."""
    found = [bare for bare in map(_without_frame, sentences) if bare]
    return found or [*sentences]


def _without_frame(said: list[str]) -> list[str]:
    begin, end = 0, len(said)
    while begin < end:
        begins = (phrase for phrase in POLITE if phrase[0] == said[begin])
        first = next((len(each) for each in begins if (*said[begin : min(end, begin + len(each))],) == each), 0)
        begin += first
        ends = (phrase for phrase in POLITE if begin < end and phrase[-1] == said[end - 1])
        last = next((len(each) for each in ends if (*said[max(begin, end - len(each)) : end],) == each), 0)
        end -= last
        if not (first or last):
            break
    return said[begin:end]


# One word in the place of another.

_TOKEN: Final = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?|\d+|\.\w|[^\w\s.,;:!?\"'()\[\]{}…‐‑–—-]|(?<!\w)-|-(?!\w)")  # noqa: RUF001 - dashes between words say nothing
MOST: Final = 3
"""How many words in the place of as many others are taken to say another thing."""


QUESTIONS: Final = frozenset({"when", "where", "why", "who"})
"""Words of which another one asks another thing, whatever stands beside it."""
BREAK: Final = "\n"
"""Stands between two sentences."""


class ReplacedWords(NamedTuple):
    """Words between two that both texts have."""

    before: str
    behind: str
    words: tuple[str, ...]


class Swappable(NamedTuple):
    """The words and signs of a text, as they stand there and without its frame."""

    whole: tuple[str, ...]
    bare: tuple[str, ...]


def swappable(text: str) -> Swappable:
    """Read the words and signs; what other gates compare stands for itself."""
    said = [_signs(sentence) for sentence in _sentences(plain(text).casefold())]
    return Swappable(*(tuple(word for each in found for word in (*each, BREAK)) for found in (said, _unframed(said))))


def _signs(sentence: str) -> list[str]:
    found: list[str] = []
    for token in _TOKEN.findall(sentence):
        word = token.removesuffix("'s")
        if word.isdigit() or word in NUMBERS or word in ROMAN:
            word = "#"
        elif word in MONTHS and word != "may":
            word = f"month {MONTHS[word]}"
        word = UNITS.get(word) or spelled(word)
        if not (word == "#" and found[-1:] == ["#"]):
            found.append(word)
    return found


def agree_in_swaps(one: Swappable, other: Swappable) -> bool:
    """Tell whether in no place one says a word, and the other another one, between words that both say."""
    return _swap_nothing(one.whole, other.whole) and _swap_nothing(one.bare, other.bare)


def _swap_nothing(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    if one == other:
        return True
    runs, others = _by_place(_runs(one, {*other})), _by_place(_runs(other, {*one}))
    places = runs.keys() & others.keys()
    # What stands in one place several times is compared in its order.
    return not any(_is_swap(*pair) for place in places for pair in zip(runs[place], others[place], strict=False))


def _by_place(runs: Iterator[ReplacedWords]) -> dict[tuple[str, str], list[ReplacedWords]]:
    found: defaultdict[tuple[str, str], list[ReplacedWords]] = defaultdict(list)
    for run in runs:
        found[run.before, run.behind].append(run)
    return found


def _runs(said: Sequence[str], known: set[str]) -> Iterator[ReplacedWords]:
    before, run = BREAK, list[str]()
    for word in said:
        if word in known or word == BREAK:
            if run:
                yield ReplacedWords(before, word, tuple(run))
            before, run = word, []
        else:
            run.append(word)


def _is_swap(one: ReplacedWords, other: ReplacedWords) -> bool:
    if one.before == BREAK and one.words in POLITE and other.words in POLITE:
        return False
    asked = [QUESTIONS.intersection(run.words) for run in (one, other)]
    if all(asked) and asked[0] != asked[1]:
        return True
    if len(one.words) != len(other.words):
        # They are worded in another way, and not one by one.
        return False
    asks = one.before == BREAK and one.behind != "you"
    if any(_are_apart(*pair, asks and not at) for at, pair in enumerate(zip(one.words, other.words, strict=True))):
        return True
    first, second = one.words, other.words
    if len(first) > 1 or FREE.issuperset(first + second):
        first, second = (tuple(word for word in words if word not in FREE) for words in (first, second))
    if len(first) != len(second) or len(first) > MOST:
        return False
    return not all(_are_alike(*pair) for pair in zip(first, second, strict=True))


def _are_apart(one: str, other: str, asks: bool) -> bool:  # noqa: FBT001 - of one caller
    """Tell whether words that say little say another thing: was and is, my and your; where one asks, can and will."""
    apart = (APART, ASKING) if asks else (APART,)
    return any(one in kinds and other in kinds and kinds[one] != kinds[other] for kinds in apart)


def _are_alike(one: str, other: str) -> bool:
    return bool(ALIKE.get(one, frozenset()) & ALIKE.get(other, frozenset())) or stem(one) == stem(other)
