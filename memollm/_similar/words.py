"""The words that gates go by: months, numbers, units, what denies, and what says the opposite of what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _by_line(text: str) -> Mapping[str, str]:
    """Name each word of a line by its first one."""
    return {word: line.split()[0] for line in text.strip().splitlines() for word in line.split()}


def _counted(text: str, *, first: int, step: int = 1) -> Mapping[str, int]:
    return {word: first + step * index for index, word in enumerate(text.split())}


_MONTHS: Final = """
january jan
february feb
march mar
april apr
may
june jun
july jul
august aug
september sep sept
october oct
november nov
december dec
"""
MONTHS: Final = {word: number for number, line in enumerate(_MONTHS.strip().splitlines(), 1) for word in line.split()}
DAYS: Final = _by_line(
    """
    monday mondays mon
    tuesday tuesdays tue
    wednesday wednesdays wed
    thursday thursdays thu
    friday fridays fri
    saturday saturdays
    sunday sundays
    """
)
NUMBERS: Final[Mapping[str, float]] = {
    **_counted("two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen", first=2),
    **_counted("seventeen eighteen nineteen", first=17),
    **_counted("twenty thirty forty fifty sixty seventy eighty ninety", first=20, step=10),
    **_counted("third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth", first=3),
    **_counted("fifteenth sixteenth seventeenth eighteenth nineteenth", first=15),
    **_counted("twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth", first=20, step=10),
    "zero": 0,
    "first": 1,
    "half": 0.5,
    "quarter": 0.25,
    "twice": 2,
    "double": 2,
    "thrice": 3,
    "triple": 3,
    "pair": 2,
    "couple": 2,
    "dozen": 12,
    "hundred": 100,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
}
TIMES: Final = _set("hundred thousand million billion trillion dozen")
"""What a number before it is multiplied by."""
SCALES: Final = {"k": 1e3, "m": 1e6, "bn": 1e9, "b": 1e9}

UNITS: Final = _by_line(
    """
    mm millimeter millimeters millimetre millimetres
    cm centimeter centimeters centimetre centimetres
    km kilometer kilometers kilometre kilometres
    meter meters metre metres
    mi mile miles
    inch inches
    ft foot feet
    yd yard yards
    mg milligram milligrams
    kg kilo kilos kilogram kilograms kilogramme
    gram grams gramme
    lb lbs pound pounds
    oz ounce ounces
    ton tons tonne tonnes
    ml milliliter milliliters millilitre millilitres
    liter liters litre litres
    gallon gallons gal
    cup cups
    tbsp tablespoon tablespoons
    tsp teaspoon teaspoons
    celsius centigrade
    fahrenheit
    kelvin
    ms millisecond milliseconds
    sec secs second seconds
    min mins minute minutes
    hour hours hr hrs
    day days
    week weeks
    month months
    year years yr yrs
    decade decades
    century centuries
    kb kilobyte kilobytes
    mb megabyte megabytes
    gb gigabyte gigabytes
    tb terabyte terabytes
    byte bytes
    bit bits
    hz hertz
    khz kilohertz
    mhz megahertz
    ghz gigahertz
    watt watts
    kw kilowatt kilowatts
    kwh
    volt volts
    amp amps ampere amperes
    joule joules
    calorie calories kcal cal
    kph kmh
    mph
    knot knots
    $ dollar dollars usd
    € euro euros eur
    £ gbp sterling
    ¥ yen jpy
    yuan rmb cny
    ₹ rupee rupees inr
    cent cents
    % percent pct
    radian radians
    acre acres
    hectare hectares
    psi
    pascal pascals
    bar bars
    px pixel pixels
    token tokens
    mol mole moles
    """
)
SHORT_UNITS: Final = {
    "m": "meter", "g": "gram", "l": "liter", "s": "sec", "h": "hour", "c": "celsius", "f": "fahrenheit", "k": "kelvin",
    "in": "inch", "w": "watt", "v": "volt", "a": "amp",
}  # fmt: skip
"""What is a unit only right behind a number."""

NEGATIONS: Final = _set(
    "not no never none nobody nothing nowhere neither nor cannot without hardly barely except excluding unless lack "
    "lacks lacking fail fails failed refuse refuses avoid avoids stop stops"
)
CONTRACTED: Final = _set(
    "dont doesnt didnt cant couldnt wont wouldnt shouldnt isnt arent wasnt werent hasnt havent hadnt mustnt"
)
"""Negations without their apostrophe."""
PREFIXES: Final = ("un", "in", "im", "il", "ir", "dis", "non", "mis", "de", "anti")
"""What makes a word its own opposite."""

_OPPOSITES: Final = """
more greater bigger larger higher longer taller heavier above exceed exceeds / less fewer smaller shorter lighter below
most maximum max highest largest biggest longest tallest / least minimum min lowest smallest shortest
best / worst
better / worse
good / bad
fast faster fastest quick / slow slower slowest
old older oldest / young younger youngest new newer newest
early earlier earliest before / late later latest after
cheap cheaper cheapest / expensive dear costlier
hot hotter hottest warm / cold colder coldest cool
increase increases increasing increased raise raises rise rises / decrease decreases decreased reduce reduces fall falls
ascending / descending
open opens opened / close closes closed shut
start starts begin begins / end ends finish finishes
enable enables enabled on / disable disables disabled off
add adds plus / remove removes delete deletes minus subtract
install / uninstall
import imports / export exports
buy buys purchase / sell sells
encrypt encode compress upload push lock / decrypt decode decompress download pull unlock
accept approve allow / reject deny forbid
pro pros advantage advantages benefit benefits / con cons disadvantage disadvantages drawback drawbacks
all every always everyone everybody / some sometimes any only nobody
left / right
north / south
east / west
true / false
male man men boy father husband king / female woman women girl mother wife queen
with / without
first / last
internal inside inner / external outside outer
win wins won / lose loses lost
up / down
positive / negative
public / private
input / output
question / answer
sync synchronous / async asynchronous
multiply multiplied times / divide divided
love like likes / hate dislike dislikes
over / under
"""
SIDES: Final = {
    word: (number, side)
    for number, line in enumerate(_OPPOSITES.strip().splitlines())
    for side, words in enumerate(line.split("/"))
    for word in words.split()
}
"""On which side of which opposition a word stands."""
LOOSE: Final = _set("on like times over right end question new dear only any all every late close up down left")
"""Words that often say nothing of the kind: they count only against their opposite."""

UNNAMED: Final = _set(
    "i i'm i'd i've i'll what who whom whose which when where why how is are was were do does did can could should "
    "would will please tell give explain describe the a an may might"
)
"""Words that are written with a capital letter and name nothing."""
