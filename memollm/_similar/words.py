"""The words that gates go by, read from `words.txt`: months, numbers, units, what denies, opposites, names."""

from __future__ import annotations

from collections import defaultdict
from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def _lists() -> Mapping[str, Sequence[str]]:
    """Read the lists, each a line for what belongs together."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in files("memollm._similar").joinpath("words.txt").read_text("utf-8").splitlines():
        if line.startswith("["):
            lines = found.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


_LISTS: Final = _lists()


def _set(name: str) -> frozenset[str]:
    return frozenset(word for line in _LISTS[name] for word in line.split())


def _by_line(name: str) -> Mapping[str, str]:
    """Name each word of a line by its first one."""
    return {word: line.split()[0] for line in _LISTS[name] for word in line.split()}


def _sides(name: str) -> Mapping[str, frozenset[tuple[str, int]]]:
    """Say on which side of which opposites each word stands."""
    found: defaultdict[str, set[tuple[str, int]]] = defaultdict(set)
    for number, line in enumerate(_LISTS[name]):
        for side, words in enumerate(line.split("/")):
            for word in words.split():
                found[word].add((f"{name} {number}", side))
    return {word: frozenset(sides) for word, sides in found.items()}


def _groups(*names: str) -> Mapping[str, frozenset[str]]:
    """Say in which lines each word stands."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for name in names:
        for number, line in enumerate(_LISTS[name]):
            for word in line.split():
                found[word].add(f"{name} {number}")
    return {word: frozenset(lines) for word, lines in found.items()}


def _counted(text: str, *, first: int, step: int = 1) -> Mapping[str, int]:
    return {word: first + step * index for index, word in enumerate(text.split())}


MONTHS: Final = {word: number for number, line in enumerate(_LISTS["months"], 1) for word in line.split()}
DAYS: Final = _by_line("days")
NUMBERS: Final[Mapping[str, float]] = {
    **_counted("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen", first=2),
    **_counted("seventeen eighteen nineteen", first=17),
    **_counted("twenty thirty forty fifty sixty seventy eighty ninety", first=20, step=10),
    "zero": 0,
    "half": 0.5,
    "quarter": 0.25,
    "pair": 2,
    "couple": 2,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
ORDINALS: Final[Mapping[str, float]] = {
    "first": 1,
    **_counted("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth", first=3),
    **_counted("fifteenth sixteenth seventeenth eighteenth nineteenth", first=15),
    **_counted("twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth", first=20, step=10),
    **_counted("thirds fourths fifths sixths sevenths eighths ninths tenths", first=3),
}
"""Numbers that count a place, which are no others: the third of five is not three of five."""
TIMES_OVER: Final = {"twice": "2 times", "double": "2 times", "thrice": "3 times", "triple": "3 times"}
ROMAN: Final[Mapping[str, int]] = {
    word: number
    for word, number in _counted(
        "ii iii iv v vi vii viii ix x xi xii xiii xiv xv xvi xvii xviii xix xx xxi xxii xxiii xxiv xxv", first=2
    ).items()
    if len(word) > 1
}
"""Numbers as they stand behind the names of kings and wars."""
TIMES: Final = _set("times")
"""What a number before it is multiplied by."""
SCALES: Final = {"k": 1e3, "m": 1e6, "bn": 1e9, "b": 1e9}

UNITS: Final = _by_line("units")
SHORT_UNITS: Final = {
    "m": "meter", "g": "gram", "l": "liter", "s": "sec", "h": "hour", "c": "celsius", "f": "fahrenheit", "k": "kelvin",
    "in": "inch", "w": "watt", "v": "volt", "a": "amp",
}  # fmt: skip
"""What is a unit only right behind a number."""

NEGATIONS: Final = _set("negations")
CONTRACTED: Final = _set("contracted")
"""Negations without their apostrophe."""
PREFIXES: Final = tuple(sorted(_set("prefixes")))
"""What makes a word its own opposite."""

SIDES: Final = _sides("opposites")
"""On which side of which opposition a word stands,"""
OPPOSED: Final = _sides("opposed")
"""and of those that count against one another alone."""
LOOSE: Final = _set("loose")
"""Words that often say nothing of the kind: they count only against their opposite."""

FREE: Final = _set("free")
"""Words that say little."""
ALIKE: Final = _groups("free", "synonyms")
"""Which words say the same often enough."""

APART: Final = _by_line("apart")
"""Words that say little, and yet another thing than those of other lines,"""
ASKING: Final = _by_line("asking")
"""and those that do so where a question begins with them."""
POLITE: Final = tuple(sorted((tuple(line.split()) for line in _LISTS["polite"]), key=len, reverse=True))
"""What stands before a question or behind it and is no part of it."""

UNNAMED: Final = _set("unnamed")
"""Words that are written with a capital letter and name nothing."""
NAMES: Final = _set("names")
"""Words that are names also without one."""
