"""What gates read of amounts: dates and times, numbers, units."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memollm._similar.spelling import WORD, plain
from memollm._similar.words import (
    DAYS,
    MONTHS,
    NUMBERS,
    ORDINALS,
    ROMAN,
    SCALES,
    SHORT_UNITS,
    TIMES,
    TIMES_OVER,
    UNITS,
)

if TYPE_CHECKING:
    from collections.abc import Hashable

# Dates.

RELATIVE: Final = re.compile(
    r"\b(today|tonight|tomorrow|yesterday|now|"
    r"(?:last|next|this|previous|coming|past)\s+(?:second|minute|hour|day|night|week|weekend|month|quarter|year|decade|century|"
    r"mon|tues?|wed|thurs?|fri|mondays?|tuesdays?|wednesdays?|thursdays?|fridays?|saturdays?|sundays?|"
    r"spring|summer|autumn|fall|winter|morning|afternoon|evening))\b",
    re.IGNORECASE,
)
_MONTH: Final = "|".join(sorted(MONTHS, key=len, reverse=True))
_DATES: Final = (
    re.compile(r"\b(?P<y>\d{4})[-/.](?P<m>\d{1,2})[-/.](?P<d>\d{1,2})\b"),
    re.compile(
        rf"\b(?P<d>\d{{1,2}})(?:st|nd|rd|th)?\s+(?:of\s+)?(?P<m>{_MONTH})\.?(?:,?\s+(?P<y>\d{{4}}))?\b", re.IGNORECASE
    ),
    re.compile(
        rf"\b(?P<m>{_MONTH})\.?\s+(?P<d>\d{{1,2}})(?:st|nd|rd|th)?(?:,?\s+(?P<y>\d{{4}}))?(?!\d)\b", re.IGNORECASE
    ),
    re.compile(rf"\b(?P<m>(?!may\b)(?:{_MONTH}))\.?(?:\s+(?P<y>\d{{4}}))?\b", re.IGNORECASE),
    re.compile(r"\b(?P<m>May)(?:\s+(?P<y>\d{4}))\b"),
    re.compile(r"\b(?P<a>\d{1,2})[/.](?P<b>\d{1,2})[/.](?P<y>\d{2}|\d{4})\b"),
)
_TIME: Final = re.compile(
    r"\b(?P<h>\d{1,2}):(?P<m>\d{2})(?:\s*(?P<half>[ap])\.?m\b)?|\b(?P<h2>\d{1,2})\s*(?P<half2>[ap])\.?m\b",
    re.IGNORECASE,
)
NOON: Final = 12


def _without_dates(text: str) -> tuple[tuple[Hashable, ...], str]:
    """Take the dates and times out of a text, and return what is left of it, too."""
    found: list[tuple[int, Hashable]] = []

    def take(match: re.Match[str]) -> str:
        groups = match.groupdict()
        month = (groups.get("m") or "0").casefold()
        number = int(month) if month.isdecimal() else MONTHS.get(month, month)
        # Whether 3/4 is in March or in April nobody can tell, so it is compared as it is written.
        rest = tuple(each and int(each) for each in map(groups.get, "yabd"))
        found.append((match.start(), (number, rest)))
        return " " * len(match.group())

    def take_time(match: re.Match[str]) -> str:
        hour, half = int(match["h"] or match["h2"]), (match["half"] or match["half2"] or "").casefold()
        minute = int(match["m"] or 0)
        found.append((match.start(), ("time", hour % NOON + NOON * (half == "p") if half else hour, minute)))
        return " " * len(match.group())

    def take_relative(match: re.Match[str]) -> str:
        found.append((match.start(), " ".join(match.group().casefold().split())))
        return " " * len(match.group())

    text = plain(text)
    for pattern in _DATES:
        text = pattern.sub(take, text)
    text = RELATIVE.sub(take_relative, _TIME.sub(take_time, text))
    named = ((match.start(), DAYS.get(match[0].casefold())) for match in WORD.finditer(text))
    found += [(at, day) for at, day in named if day is not None]
    return tuple(each for _, each in sorted(found, key=lambda entry: entry[0])), text


def dates(text: str) -> Hashable:
    """Return the dates and times, in their order."""
    return _without_dates(text)[0]


# Numbers and units.

_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>-)?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*|\.\d+)"
    r"(?:e(?P<exponent>[+-]?\d+))?(?:(?P<scale>k|m|bn|b)(?![^\W_]))?(?P<place>(?:st|nd|rd|th)\b)?|(?P<word>[^\W\d_]+)",
    re.IGNORECASE,
)


EXACT: Final = 15
"""How many digits of a number a float keeps."""


def _value(match: re.Match[str]) -> float | str:
    digits = match["digits"].replace(",", "")
    if digits.count(".") > 1 or (_LIKE_A_VERSION.fullmatch(digits) and not _measured(match)):
        # A version, or a number that may be one: 3.1 is not 3.10, and 007 not 7.
        return digits
    value = float(f"{digits}e{match['exponent'] or 0}") * SCALES.get(str(match["scale"] or "").casefold(), 1)
    if len(digits) > EXACT or not 0 < value < float("inf"):
        # Of numbers that a float cannot tell apart, each is what is written.
        return match.group() if value else 0.0
    if match["place"]:
        return _place(value)
    return -value if match["sign"] else value


_LIKE_A_VERSION: Final = re.compile(r"\d+\.\d*0|0\d+")
_MEASURES: Final = re.compile(r"\s?([^\W\d_]+|[%°$€£¥₹])")


def _measured(match: re.Match[str]) -> bool:
    """Tell whether a number stands beside a unit or a currency, so that it is no version."""
    behind = _MEASURES.match(match.string, match.end())
    word = "" if behind is None else behind[1].casefold()
    return (
        word in UNITS
        or word in SHORT_UNITS
        or word == "°"
        or match.string[: match.start()].rstrip()[-1:] in set("$€£¥₹")
    )


def _place(value: float) -> str:
    return f"{value:g}th"


ONE: Final = {"one": 1.0}


TEN: Final = 10

_STUCK: Final = re.compile(
    r"(?<![\w.])(?P<head>[^\W\d_]+-?)?(?P<digits>\d+(?:\.\d+)*)(?P<tail>[^\W\d_][^\W_]*)?(?P<more>(?:-[^\W_]+)*)"
)
"""What has digits that are part of a name: B12, sha256, gpt-4o-mini, 3070ti, 1.0.0-beta."""
_NO_NAME: Final = re.compile(r"st|nd|rd|th|s|e\d+|x|k|m|bn|b|am|pm", re.IGNORECASE)


def numbers(text: str) -> Hashable:
    """Return the numbers outside of dates, in their order: "three hundred" and 300 are one; and names with digits."""
    rest = _without_dates(text)[1]
    return _alone(text), tuple(name for match in _STUCK.finditer(rest) if (name := _stuck(match)))


def _stuck(match: re.Match[str]) -> str:
    """Return what is more than a number of digits and what they stand with; "gpt-4" and "gpt 4" are the same."""
    head, digits, tail, more = (each.casefold() for each in match.groups(default=""))
    if tail and (
        _NO_NAME.fullmatch(tail)
        or tail in UNITS
        or tail in SHORT_UNITS
        or _SYMBOL.match(match.string, match.end("digits"))
    ):
        tail = ""
    if not (head or tail or digits.count(".") > 1):
        more = ""
    return (
        f"{head if head[-1:] != '-' else ''}{digits}{tail}{more}" if tail or more or (head and head[-1] != "-") else ""
    )


def _alone(text: str) -> tuple[float | str, ...]:
    read = _Numbers()
    _, rest = _without_dates(text)
    for match in _NUMBER.finditer(rest):
        read.take(match)
    return tuple(read.found)


HUNDRED: Final = 100


class _Numbers:
    """Reads numbers as they come, and those in words, which may go on with one another."""

    def __init__(self) -> None:
        self.found: list[float | str] = []
        self._end = -2
        """Where the last one ended."""
        self._whole, self._part, self._last = 0.0, 0.0, 0.0
        """Of one in words: what is multiplied already, what comes behind that, and what was added last."""

    def take(self, match: re.Match[str]) -> None:
        """Take a number, or a word that may be one."""
        word, goes_on = (match["word"] or "").casefold(), match.start() <= self._end + 2
        if not word:
            self.found.append(value := _value(match))
            self._whole, self._part, self._last = 0.0, value if isinstance(value, float) else -1.0, 0.0
        elif not (self._joins_by(word) if goes_on and word == "and" else self._count(word, goes_on)):
            return
        self._end = match.end()

    def _joins_by(self, word: str) -> bool:
        """Tell whether a number may go on behind "and": one hundred and one."""
        return word == "and" and self._is_round(HUNDRED)

    def _is_round(self, by: int) -> bool:
        number = self._whole + self._part
        return bool(self.found) and isinstance(self.found[-1], float) and number >= by and self._part % by == 0

    def _count(self, word: str, goes_on: bool) -> bool:  # noqa: FBT001 - of one caller
        """Count a number in words, which may go on with the one before it; tell whether it is one."""
        value, place = NUMBERS.get(word, ONE.get(word, ROMAN.get(word))), ORDINALS.get(word)
        if word in TIMES_OVER:
            self.found.append(TIMES_OVER[word])
        elif place is not None:
            # A twenty-first is one number.
            tens = self.found.pop() if goes_on and place < TEN and self._is_round(TEN) else 0.0
            self.found.append(_place(float(tens) + place))
        elif value is None or (word in ONE and not (goes_on and self._is_round(TEN))):
            # Alone, one is a pronoun as often as a number.
            return False
        elif not (goes_on and self._goes_on(word, float(value))):
            self._begin(float(value))
            return True
        else:
            return True
        self._whole, self._part, self._last = 0.0, -1.0, 0.0
        return True

    def _begin(self, value: float) -> None:
        self.found.append(value)
        self._whole, self._part, self._last = 0.0, value, value

    def _goes_on(self, word: str, value: float) -> bool:
        """Tell whether a number goes on with a word, and add it or multiply by it."""
        if self._part < 0 or not (self.found and isinstance(self.found[-1], float)):
            return False
        if word in TIMES:
            if value == HUNDRED and self._part > HUNDRED:
                # One hundred and two hundred are two numbers.
                self.found[-1] = self._whole + self._part - self._last
                self._begin(self._last * value)
                return True
            if value == HUNDRED:
                self._part *= value
            else:
                self._whole, self._part = self._whole + (self._part or 1.0) * value, 0.0
        elif value >= 1 and ((value < TEN and self._is_round(TEN)) or (value < HUNDRED and self._is_round(HUNDRED))):
            self._part, self._last = self._part + value, value
        else:
            return False
        self.found[-1] = self._whole + self._part
        return True


_SYMBOL: Final = re.compile(r"(?<=\d)\s?([kKMGTmµμn]?(?:Hz|[WAVgBb]))(?![^\W_])")


_UNIT: Final = re.compile(r"(?P<behind>(?<=[\d°])\s?)?(?P<unit>[^\W\d_]+|[$€£¥₹%])", re.IGNORECASE)


def units(text: str) -> Hashable:
    """Return the units in their order: from dollars to euros is not from euros to dollars."""
    _, rest = _without_dates(text)
    found: list[str] = []
    for match in _UNIT.finditer(rest):
        name = match["unit"].casefold()
        short = SHORT_UNITS.get(name) if match["behind"] is not None else None
        unit = UNITS.get(name) or short
        if unit is not None:
            found.append(unit)
    # With one letter for a thousandth and another for a million, case tells them apart: mW and MW, MB and Mb.
    return tuple(found), tuple(each.replace("K", "k") for each in _SYMBOL.findall(rest))
