"""Gates: what two texts must agree in, however close their vectors are.

An embedding tells what a text is about. "Convert 5 km" and "convert 50 km" are about the same, and so are a question
and its negation. Each gate here takes one kind of such things out of both texts and lets them pass if they are equal.
Where it cannot tell, it does not let pass: the price of that is a call.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from typing import TYPE_CHECKING, Final

from memollm._similar.words import (
    CONTRACTED,
    DAYS,
    LOOSE,
    MONTHS,
    NEGATIONS,
    NUMBERS,
    PREFIXES,
    SCALES,
    SHORT_UNITS,
    SIDES,
    TIMES,
    UNITS,
    UNNAMED,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence

    Gate = Callable[[str, str], bool]

_RAISED: Final = str.maketrans({digit: f"^{number}" for number, digit in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")})
WORD: Final = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")


def _plain(text: str) -> str:
    """Write what looks different and is the same in one way."""
    raised = text.translate(_RAISED)
    return unicodedata.normalize("NFKC", raised).replace("’", "'").replace("−", "-")


def _words(text: str) -> list[str]:
    return [word.casefold() for word in WORD.findall(_plain(text))]


# Dates.

RELATIVE: Final = re.compile(
    r"\b(today|tonight|tomorrow|yesterday|now|"
    r"(?:last|next|this|previous|coming|past)\s+(?:second|minute|hour|day|night|week|weekend|month|quarter|year|decade|century))\b",
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

    text = _plain(text)
    for pattern in _DATES:
        text = pattern.sub(take, text)
    text = RELATIVE.sub(take_relative, _TIME.sub(take_time, text))
    named = ((match.start(), DAYS.get(match[0].casefold())) for match in WORD.finditer(text))
    found += [(at, day) for at, day in named if day is not None]
    return tuple(each for _, each in sorted(found, key=lambda entry: entry[0])), text


def _dates(text: str) -> Hashable:
    return _without_dates(text)[0]


# Numbers and units.

_NUMBER: Final = re.compile(
    r"(?<![\w.])(?P<sign>-)?(?P<digits>\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)*|\.\d+)"
    r"(?:e(?P<exponent>[+-]?\d+))?(?:(?P<scale>k|m|bn|b)(?![^\W_]))?(?:(?:st|nd|rd|th)\b)?|(?P<word>[^\W\d_]+)",
    re.IGNORECASE,
)


EXACT: Final = 15
"""How many digits of a number a float keeps."""


def _value(match: re.Match[str]) -> float | str:
    digits = match["digits"].replace(",", "")
    if digits.count(".") > 1:
        # A version, which is no number.
        return digits
    value = float(f"{digits}e{match['exponent'] or 0}") * SCALES.get(str(match["scale"] or "").casefold(), 1)
    if len(digits) > EXACT or not 0 < value < float("inf"):
        # Of numbers that a float cannot tell apart, each is what is written.
        return match.group() if value else 0.0
    return -value if match["sign"] else value


ONE: Final = {"one": 1.0}


def _goes_on(found: Sequence[float | str], is_next: bool) -> bool:  # noqa: FBT001 - of one caller
    """Tell whether a number that was just read may go on with a digit, as thirty does with one."""
    before = found[-1] if found else 0.0
    return is_next and isinstance(before, float) and bool(before) and before % 10 == 0


_STUCK: Final = re.compile(r"(?<![^\W\d_])[^\W\d_]+\d+(?:\.\d+)*")
"""What ends in digits that are part of a name: B12, sha256, GPT4."""


def _numbers(text: str) -> Hashable:
    """Return the numbers outside of dates, in their order: "three hundred" and 300 are one; and names with digits."""
    stuck = tuple(each.casefold() for each in _STUCK.findall(_without_dates(text)[1]))
    return _alone(text), stuck


def _alone(text: str) -> tuple[float | str, ...]:
    found: list[float | str] = []
    last_end = -2
    _, rest = _without_dates(text)
    for match in _NUMBER.finditer(rest):
        word = match["word"]
        if word is None:
            found.append(_value(match))
        elif (value := NUMBERS.get(word.casefold(), ONE.get(word.casefold()))) is None:
            continue
        elif value == 1 and word.casefold() in ONE and not _goes_on(found, match.start() <= last_end + 2):
            # Alone it is a pronoun as often as a number.
            continue
        elif found and isinstance(before := found[-1], float) and match.start() <= last_end + 2:
            joins = word.casefold() in TIMES or (value < 10 <= before and before % 10 == 0)  # noqa: PLR2004 - twenty-one
            found[-1:] = (
                [before * value if word.casefold() in TIMES else before + value] if joins else [before, float(value)]
            )
        else:
            found.append(float(value))
        last_end = match.end()
    return tuple(found)


_SYMBOL: Final = re.compile(r"(?<=\d)\s?([kKMGTmµμn]?(?:Hz|[WAVgBb]))(?![^\W_])")


_UNIT: Final = re.compile(r"(?P<behind>(?<=[\d°])\s?)?(?P<unit>[^\W\d_]+|[$€£¥₹%])", re.IGNORECASE)


def _units(text: str) -> Hashable:
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


# Negations and comparatives.


def _agree_in_negations(one: str, other: str) -> bool:
    """Tell whether both deny as often, and neither has a word that the other has with a prefix that denies it."""
    first, second = _words(one), _words(other)
    if _denials(first) != _denials(second):
        return False
    here, there = {*first} - {*second}, {*second} - {*first}
    return not ({*_denied(here)} & there or {*_denied(there)} & here)


def _denials(words: Sequence[str]) -> int:
    return sum(word in NEGATIONS or word.endswith("n't") or word in CONTRACTED for word in words)


def _denied(words: Iterable[str]) -> Iterator[str]:
    return (
        word.removeprefix(prefix) for word in words for prefix in PREFIXES if word.startswith(prefix) and word != prefix
    )


def _agree_in_comparatives(one: str, other: str) -> bool:
    """Tell whether neither says the opposite of what the other says: more and less, first and last, buy and sell."""
    first, second = _words(one), _words(other)
    return (
        _sides(first) <= _sides(second, loose=True)
        and _sides(second) <= _sides(first, loose=True)
        and not (_opposed(first, second))
    )


def _sides(words: Iterable[str], *, loose: bool = False) -> set[tuple[int, int]]:
    return {SIDES[word] for word in words if word in SIDES and (loose or word not in LOOSE)}


def _opposed(first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell whether one says what the other says the opposite of, and not itself."""
    here, there = _sides(first, loose=True), _sides(second, loose=True)
    return any((axis, 1 - side) in there - here for axis, side in here - there)


# What is said word by word.

_QUOTED: Final = re.compile(r"\"([^\"\n]+)\"|“([^“”]+)”|„([^„“”]+)[“”]|«([^«»]+)»|‘([^‘’]+)’|(?<!\w)'([^'\n]+)'(?!\w)")
# Lengths are bounded, so that no text makes a pattern go over it again and again.
_CODE: Final = re.compile(
    r"```.*?```|`[^`\n]+`|https?://[^\s)>\]]+|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}\.[\w.]{1,64}|"
    r"[~.]{0,2}/[\w.~-]+(?:/[\w.~-]+)*|\b[A-Za-z_]\w{0,60}(?:\.\w{1,60}){0,6}\([^)\n]{0,200}\)|\b\w*_\w+\b|"
    r"\b[a-z]+(?:[A-Z][a-z0-9]+)+\b|\b[A-Za-z_]\w{0,60}(?:\.[A-Za-z_]\w{0,60})+\b|\b0x[0-9a-f]+\b|"
    r"(?<!\w)--?[A-Za-z][\w-]*|[=!<>]=|=>|->|&&|\|\||[<>^*+/%=](?=\s*[\w(])",
    re.DOTALL,
)


_SIGNS: Final = re.compile(r"(?<!\w)[A-Za-z](?:\+\+|#)|[≥≤≠≈]|>=|<=|!=|==")
_ERAS: Final = re.compile(r"(?<=\d)\s*\b(bce?|ad|ce)\b")


def _quotations(text: str) -> Hashable:
    return tuple("".join(filter(None, found)).strip() for found in _QUOTED.findall(unicodedata.normalize("NFKC", text)))


def _code(text: str) -> Hashable:
    return tuple(_CODE.findall(text)), tuple(_SIGNS.findall(text)), tuple(_ERAS.findall(text.casefold()))


_SENTENCE: Final = re.compile(r"(?:^|[.!?:\n]\s*|[\"'“‘(]\s*)$")


NO_NAMES: Final = UNNAMED | MONTHS.keys() | DAYS.keys()


def _names(text: str) -> set[str]:
    text = _plain(text)
    found: set[str] = set()
    for match in WORD.finditer(text):
        word = match.group()
        begins = _SENTENCE.search(text[max(0, match.start() - 3) : match.start()]) is not None
        if word[0].isupper() and (not begins or word.isupper()) and word.casefold() not in NO_NAMES:
            found.add(word.casefold().removesuffix("'s"))
    return found


def _agree_in_names(one: str, other: str) -> bool:
    """Tell whether each says the names that the other does, in whatever case."""
    first, second = ({word.removesuffix("'s") for word in _words(text)} for text in (one, other))
    return _names(one) <= second and _names(other) <= first


def _agree_in_order(one: str, other: str) -> bool:
    """Refuse the same words in another order: whether A is larger than B is not whether B is larger than A."""
    first, second = _words(one), _words(other)
    return first == second or Counter(first) != Counter(second)


def _equal(taken: Callable[[str], Hashable]) -> Gate:
    return lambda one, other: taken(one) == taken(other)


GATES: Final[dict[str, Gate]] = {
    "numbers": _equal(_numbers),
    "dates": _equal(_dates),
    "units": _equal(_units),
    "negations": _agree_in_negations,
    "comparatives": _agree_in_comparatives,
    "quotations": _equal(_quotations),
    "code": _equal(_code),
    "names": _agree_in_names,
    "order": _agree_in_order,
}
"""All of them, by their names."""


def passed(gates: Iterable[str | Gate], asked: str, stored: str) -> tuple[str, ...] | None:
    """Return the names of the gates that two texts have passed; None if one of them is closed."""
    names: list[str] = []
    for gate in gates:
        if not (GATES[gate] if isinstance(gate, str) else gate)(asked, stored):
            return None
        names.append(name_of(gate))
    return tuple(names)


def closed(gates: Iterable[str | Gate], asked: str, stored: str) -> str | None:
    """Return the name of the first gate that is closed."""
    return next((name_of(gate) for gate in gates if passed((gate,), asked, stored) is None), None)


def name_of(gate: str | Gate) -> str:
    """Name a gate: one of a user's by its function's name."""
    return gate if isinstance(gate, str) else getattr(gate, "__name__", type(gate).__name__)
