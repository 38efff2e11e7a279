"""Dollars against wall time as an SVG: a panel for each application, a cross of intervals for each system.

`python -m benchmarks._workload.scatter docs/benchmarks/dollars.svg` measures, prints the tables and draws.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks._workload.dollars import OPPONENT, PUZZLES, SEEDS, Mean, measure, relative
from benchmarks._workload.systems import Memollm, MemollmJoins, MemollmWaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks._workload.dollars import Done

Points = dict[str, dict[str, tuple[Mean, Mean]]]
"""Of each application and system: dollars and wall time, as multiples of the opponent's."""
COLUMNS, PANEL_WIDTH, PANEL_HEIGHT = 3, 250, 200
LEFT, TOP, BELOW = 40, 26, 34
"""Around the plane of a panel."""
HEAD, KEY = 46, 22
SECONDS, DOLLARS = (0.75, 1.25), (0.7, 1.2)
"""What the axes show; the same in all panels, so that they can be compared."""
TITLE = f"Dollars (up) against wall time (right), as multiples of {OPPONENT.name}"
SYSTEMS = [system.name for system in (Memollm, MemollmJoins, MemollmWaves)]
STYLE = """
.back{fill:#fff}text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#3d444d}
.name{font-size:15px;font-weight:600}.figure{font-weight:600}.axis{font-size:10px;fill:#6b737c}
.r{text-anchor:end}.m{text-anchor:middle}.plane{fill:none;stroke:#d0d7de}.one{stroke:#8b949e;stroke-dasharray:3 3}
.peer{fill:#6b737c}.c0{fill:#f0a04b;stroke:#f0a04b}.c1{fill:#4d8df5;stroke:#4d8df5}.c2{fill:#1b4fa8;stroke:#1b4fa8}
.bar{stroke-width:1.5;fill:none}
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#d5dbe2}.axis{fill:#98a1ab}.plane{stroke:#30363d}
.c2{fill:#a9c8ff;stroke:#a9c8ff}.peer{fill:#98a1ab}}
"""


def points(done: Done) -> Points:
    """Return what is drawn; nothing where the opponent is not installed."""
    found: Points = {}
    for application, system in done:
        dollars = relative(done, application, system, "dollars")
        seconds = relative(done, application, system, "seconds")
        if system in SYSTEMS and dollars is not None and seconds is not None:
            found.setdefault(application.name, {})[system] = dollars, seconds
    return found


def scatter(found: Points) -> str:
    rows = -(-len(found) // COLUMNS)
    width, height = 16 + COLUMNS * PANEL_WIDTH, HEAD + KEY + rows * PANEL_HEIGHT + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<style>{STYLE}</style><rect class="back" width="{width}" height="{height}"/>',
        f'<text class="name" x="16" y="24">{TITLE}</text>',
        *_key(),
    ]
    for number, (name, of) in enumerate(found.items()):
        row, column = divmod(number, COLUMNS)
        at = f"translate({16 + column * PANEL_WIDTH} {HEAD + KEY + row * PANEL_HEIGHT})"
        parts += [f'<g transform="{at}">', *_panel(name, of), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _key() -> Iterator[str]:
    for number, (name, kind) in enumerate([(OPPONENT.name, "peer"), *((n, f"c{i}") for i, n in enumerate(SYSTEMS))]):
        x = 22 + number * 160
        yield f'<circle class="{kind}" cx="{x}" cy="{HEAD}" r="4.5"/>'
        yield f'<text x="{x + 10}" y="{HEAD + 4}">{escape(name)}</text>'


def _panel(name: str, of: dict[str, tuple[Mean, Mean]]) -> Iterator[str]:
    width, height = PANEL_WIDTH - LEFT - 12, PANEL_HEIGHT - TOP - BELOW

    def x(value: float) -> float:
        return LEFT + width * (_within(value, SECONDS) - SECONDS[0]) / (SECONDS[1] - SECONDS[0])

    def y(value: float) -> float:
        return TOP + height * (DOLLARS[1] - _within(value, DOLLARS)) / (DOLLARS[1] - DOLLARS[0])

    yield f'<text class="figure" x="{LEFT}" y="{TOP - 8}">{escape(name)}</text>'
    yield f'<rect class="plane" x="{LEFT}" y="{TOP}" width="{width}" height="{height}"/>'
    yield f'<path class="one" d="M{x(1):.1f} {TOP}v{height}M{LEFT} {y(1):.1f}h{width}"/>'
    for value in (*SECONDS, 1.0):
        yield f'<text class="axis m" x="{x(value):.1f}" y="{TOP + height + 14}">{value:g}</text>'
    for value in (*DOLLARS, 1.0):
        yield f'<text class="axis r" x="{LEFT - 5}" y="{y(value) + 3:.1f}">{value:g}</text>'
    yield f'<circle class="peer" cx="{x(1):.1f}" cy="{y(1):.1f}" r="4"/>'
    for system, (dollars, seconds) in of.items():
        kind, (low, high) = f"c{SYSTEMS.index(system)}", _ends(seconds)
        yield f'<path class="{kind} bar" d="M{x(low):.1f} {y(dollars.value):.1f}H{x(high):.1f}"/>'
        low, high = _ends(dollars)
        yield f'<path class="{kind} bar" d="M{x(seconds.value):.1f} {y(low):.1f}V{y(high):.1f}"/>'
        yield f'<circle class="{kind}" cx="{x(seconds.value):.1f}" cy="{y(dollars.value):.1f}" r="3.5"/>'


def _ends(mean: Mean) -> tuple[float, float]:
    return mean.value - mean.half_width, mean.value + mean.half_width


def _within(value: float, ends: tuple[float, float]) -> float:
    return min(max(value, ends[0]), ends[1])


def main() -> int:
    done: Done = {}
    seeds = range(1, 1 + int(sys.argv[2])) if len(sys.argv) > 2 else SEEDS
    for text in measure(done, seeds, int(sys.argv[3]) if len(sys.argv) > 3 else PUZZLES):
        print(text, flush=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(scatter(points(done)), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
