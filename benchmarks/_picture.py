"""One benchmark's figures as an SVG of horizontal bars, readable in light and dark; same rows, same bytes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple
from xml.sax.saxutils import escape

from benchmarks._measure import OURS, TIMES, UNITS, Row, Spread, number

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WIDTH = 760
LEFT, RIGHT = 206, 120
"""What is left of the bars for their labels, and right of them for their values."""
PLOT = WIDTH - LEFT - RIGHT
MARGIN, LINE, BAR = 16, 17, 11
LOG_FROM = 20.0
"""Bars whose values differ by more than this factor are drawn on a log scale."""
STYLE = """
.back{fill:#fff}text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#3d444d}
.name{font-size:15px;font-weight:600}.figure{font-weight:600}.small,.axis{font-size:11px;fill:#6b737c}
.value{paint-order:stroke;stroke:#fff;stroke-width:3px}.r{text-anchor:end}.m{text-anchor:middle}
.ours{fill:#2f6fdb}.theirs{fill:#b6bdc6}.grid{stroke:#e7eaee}.spread{stroke:#1f2328}
.floor{stroke:#6b737c}.target{stroke:#c2410c;stroke-width:1.5;stroke-dasharray:4 2}.missed{fill:#c2410c}
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#d5dbe2}.small,.axis{fill:#98a1ab}
.ours{fill:#4d8df5}.theirs{fill:#525b66}.grid{stroke:#242b33}.spread{stroke:#f0f3f6}
.value{stroke:#0d1117}.floor{stroke:#98a1ab}.target{stroke:#fb8f4d}.missed{fill:#fb8f4d}}
"""


class Bar(NamedTuple):
    """A measured figure, ours or what it is held against."""

    label: str
    measured: Spread
    ours: bool


class Group(NamedTuple):
    """The bars of one figure, what they are held against, and the rows that have a target."""

    title: str
    bars: list[Bar]
    floor: float | None
    judged: list[Row]


class Scale:
    """From a number to a place between the ends of the bars."""

    def __init__(self, values: Iterable[float]) -> None:
        values = [value for value in values if value > 0] or [1.0]
        low, high = min(values), max(values)
        self.is_log = high / low > LOG_FROM
        self.low = 10.0 ** math.floor(math.log10(low / 1.5)) if self.is_log else 0.0
        self.high = high * 1.02

    def at(self, value: float) -> float:
        if self.is_log:
            part = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            part = max(value, 0.0) / self.high
        return PLOT * part

    def ticks(self) -> list[float]:
        if self.is_log:
            first, last = math.ceil(math.log10(self.low)), math.floor(math.log10(self.high))
            return [10.0**power for power in range(first, last + 1)]
        step = 10.0 ** math.floor(math.log10(self.high))
        step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if self.high / (step * part) <= 6)
        return [step * turn for turn in range(math.floor(self.high / step) + 1)]


def picture(name: str, about: str, rows: list[Row], machine: str) -> str:
    """Draw the rows of a benchmark, each unit on a scale of its own."""
    drawn, y = [], 64.0
    for unit in dict.fromkeys(row.unit for row in rows):
        panel, y = _panel([row for row in rows if row.unit == unit], unit, y)
        drawn += panel
    height = round(y + 24)
    legend = "bar: median · thin line: quartiles · grey line: the floor · dashed line: the target"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img">',  # noqa: E501
        f"<title>{escape(name)}: {escape(about)}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="6"/>',
        _text(MARGIN, 24, name, "name"),
        _text(WIDTH - MARGIN, 24, f"python -m benchmarks {name}", "small r"),
        _text(MARGIN, 42, _shortened(about), "small"),
    ]
    foot = [_text(MARGIN, height - 24, legend, "small"), _text(MARGIN, height - 9, machine, "small"), "</svg>"]
    return "\n".join([*head, *drawn, *foot]) + "\n"


def groups(rows: list[Row]) -> list[Group]:
    """Put together what belongs to one figure; a bar that stands in several rows is drawn once."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.figure.strip(), []).append(row)
    return [_group(title, members) for title, members in found.items()]


def _group(title: str, rows: list[Row]) -> Group:
    bars = {row.whose: Bar(row.whose, row.measured, ours=True) for row in rows}
    floors = [(row.floor, row.floor_measured) for row in rows if row.floor_measured is not None]
    bars |= {label: Bar(label, measured, ours=False) for label, measured in floors}
    # Where all are ours, as in a smaller and a larger cache, the smaller comes first.
    ordered = sorted(bars.values(), key=lambda bar: bar.ours) if OURS not in bars else list(bars.values())
    floor = floors[0][1].median if floors else None
    return Group(title, ordered, floor, [row for row in rows if row.met is not None])


def _target(row: Row) -> float:
    """Return where the target of a row stands, in what its figure was measured in."""
    if row.target is None:
        return math.nan
    if row.target.unit:
        return row.target.value / UNITS[row.target.unit]
    return row.target.value * (row.floor_measured.median if row.floor_measured else math.nan)


def _panel(rows: list[Row], unit: str, y: float) -> tuple[list[str], float]:
    """Draw the groups of one unit from a height on, and return the height below them."""
    grouped = groups(rows)
    measured = [value for group in grouped for bar in group.bars for value in bar.measured]
    scale = Scale([*measured, *(_target(row) for group in grouped for row in group.judged)])
    top, drawn = y, []
    for group in grouped:
        drawn += _drawn_group(group, scale, unit, y)
        y += LINE * (len(group.bars) + 1) + 9
    return [*_axis(scale, unit, top - 10, y), *drawn], y + 38


def _axis(scale: Scale, unit: str, top: float, bottom: float) -> Iterator[str]:
    for tick in scale.ticks():
        x = LEFT + scale.at(tick)
        yield _upright(x, top, bottom, "grid")
        yield _text(x, bottom + 12, number(tick * UNITS[unit]), "axis m")
    kind = f"{unit}, log scale" if scale.is_log else unit
    yield _text(WIDTH - MARGIN, bottom + 12, kind, "axis r")


def _drawn_group(group: Group, scale: Scale, unit: str, y: float) -> Iterator[str]:
    yield _text(MARGIN, y, group.title, "figure")
    if group.judged:
        verdicts = " · ".join(map(_verdict, group.judged))
        yield f'<text x="{WIDTH - MARGIN}" y="{y:g}" class="small r">{verdicts}</text>'
    places = [y + LINE * turn for turn in range(1, len(group.bars) + 1)]
    top, bottom = y + 4, places[-1] + 6
    for bar, place in zip(group.bars, places, strict=True):
        yield from _drawn_bar(bar, scale, place)
    if group.floor is not None:
        yield _upright(LEFT + scale.at(group.floor), top, bottom, "floor")
    for row in group.judged:
        yield _upright(LEFT + scale.at(_target(row)), top, bottom, "target")
    for bar, place in zip(group.bars, places, strict=True):
        end = scale.at(max(bar.measured.median, bar.measured.high))
        yield _text(LEFT + end + 6, place, f"{number(bar.measured.median * UNITS[unit])} {unit}", "value")


def _drawn_bar(bar: Bar, scale: Scale, y: float) -> Iterator[str]:
    low, middle, high = map(scale.at, bar.measured)
    yield _text(LEFT - 8, y, bar.label, "r")
    kind = "ours" if bar.ours else "theirs"
    yield f'<rect class="{kind}" x="{LEFT}" y="{y - BAR + 1:g}" width="{middle:.1f}" height="{BAR}"/>'
    if high - low >= 1:
        yield f'<path class="spread" d="M{LEFT + low:.1f} {y - BAR / 2 + 1:g}H{LEFT + high:.1f}"/>'


def _verdict(row: Row) -> str:
    """Say what a row must be and, of a ratio, what it is."""
    if row.target is None or row.judged is None:
        return ""
    times = "" if row.target.unit else f"{number(row.judged)} {TIMES} {row.floor}, "
    said = escape(f"{times}must be {row.target.text()}")
    return said if row.met else f'<tspan class="missed">{said}</tspan>'


def _shortened(text: str) -> str:
    """Cut what would not fit on a line, and leave out the marks of code."""
    text = text.replace("`", "")
    return text if len(text) <= 128 else text[:127].rstrip() + "…"


def _upright(x: float, top: float, bottom: float, kind: str) -> str:
    return f'<path class="{kind}" d="M{x:.1f} {top:g}V{bottom:g}"/>'


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:g}" class="{kind}">{escape(text)}</text>' if text else ""
