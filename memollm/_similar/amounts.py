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
    SCALES,
    SHORT_UNITS,
    TIMES,
    TIMES_OVER,
    UNITS,
)

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

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

_STUCK: Final = re.compile(r"(?<![^\W\d_])[^\W\d_]+\d+(?:\.\d+)*")
"""What ends in digits that are part of a name: B12, sha256, GPT4."""


def numbers(text: str) -> Hashable:
    """Return the numbers outside of dates, in their order: "three hundred" and 300 are one; and names with digits."""
    stuck = tuple(each.casefold() for each in _STUCK.findall(_without_dates(text)[1]))
    return _alone(text), stuck


def _alone(text: str) -> tuple[float | str, ...]:
    found: list[float | str] = []
    last_end = -2
    _, rest = _without_dates(text)
    for match in _NUMBER.finditer(rest):
        word = (match["word"] or "").casefold()
        goes_on = match.start() <= last_end + 2
        if not word:
            found.append(_value(match))
        elif not _count(word, found, goes_on):
            continue
        last_end = match.end()
    return tuple(found)


def _count(word: str, found: list[float | str], goes_on: bool) -> bool:  # noqa: FBT001 - of one caller
    """Count a number in words, which may go on with the one before it; tell whether it is one."""
    value, place = NUMBERS.get(word, ONE.get(word)), ORDINALS.get(word)
    if word in TIMES_OVER:
        found.append(TIMES_OVER[word])
    elif place is not None:
        # A twenty-first is one number.
        tens = found.pop() if goes_on and place < TEN and _may_go_on(found) else 0.0
        found.append(_place(float(tens) + place))
    elif value is None or (word in ONE and not (goes_on and _may_go_on(found))):
        # Alone, one is a pronoun as often as a number.
        return False
    elif goes_on and found and isinstance(before := found[-1], float) and (word in TIMES or _joins(before, value)):
        found[-1] = before * value if word in TIMES else before + value
    else:
        found.append(float(value))
    return True


def _joins(before: float, value: float) -> bool:
    """Tell whether two numbers are one, as twenty and one are."""
    return value < TEN <= before and before % TEN == 0


def _may_go_on(found: Sequence[float | str]) -> bool:
    """Tell whether a number that was just read may go on with a digit, as thirty does with one."""
    before = found[-1] if found else 0.0
    return isinstance(before, float) and bool(before) and before % TEN == 0


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
