"""Dollars against wall time as an SVG: a panel for each application, a point for each seed, a ring for each mean.

`python -m benchmarks._workload.scatter docs/benchmarks/dollars.svg` measures, prints the tables and draws.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from benchmarks._workload.dollars import PUZZLES, SEEDS, SYSTEMS, measure
from benchmarks._workload.systems import NoCache, PlainCache

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks._workload.applications import Application
    from benchmarks._workload.dollars import Done, Spent

COLUMNS, PANEL_WIDTH, PANEL_HEIGHT = 3, 250, 190
LEFT, TOP, BELOW = 44, 26, 30
"""Around the plane of a panel."""
HEAD, KEY = 44, 26
SHOWN = [system.name for system in SYSTEMS if system not in {NoCache, PlainCache}]
"""What gives samples their statistics and saves: the others lie far off."""
COLORS = {name: f"c{number}" for number, name in enumerate(SHOWN)}
STYLE = """
.back{fill:#fff}text{font:12px ui-sans-serif,system-ui,sans-serif;fill:#3d444d}
.name{font-size:15px;font-weight:600}.figure{font-weight:600}.axis{font-size:10px;fill:#6b737c}
.r{text-anchor:end}.m{text-anchor:middle}.plane{fill:none;stroke:#d0d7de}
.c0{fill:#b6bdc6;stroke:#8b949e}.c1{fill:#6b737c;stroke:#3d444d}.c2{fill:#9ec1f7;stroke:#4d8df5}
.c3{fill:#4d8df5;stroke:#2f6fdb}.c4{fill:#1b4fa8;stroke:#123a80}.seed{fill-opacity:.45;stroke:none}.mean{stroke-width:1.5}
@media (prefers-color-scheme:dark){.back{fill:#0d1117}text{fill:#d5dbe2}.axis{fill:#98a1ab}.plane{stroke:#30363d}
.c1{fill:#98a1ab;stroke:#d5dbe2}.c4{fill:#7fb0ff;stroke:#cfe1ff}}
"""


def scatter(done: Done) -> str:
    applications = [*dict.fromkeys(of for of, _ in done)]
    rows = -(-len(applications) // COLUMNS)
    width, height = 16 + COLUMNS * PANEL_WIDTH, HEAD + KEY + rows * PANEL_HEIGHT + 12
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<style>{STYLE}</style><rect class="back" width="{width}" height="{height}"/>',
        '<text class="name" x="16" y="24">Dollars (up) against wall time in seconds (right)</text>',
        *_key(),
    ]
    for number, application in enumerate(applications):
        row, column = divmod(number, COLUMNS)
        of = {name: done[application, name] for name in SHOWN if (application, name) in done}
        at = f"translate({16 + column * PANEL_WIDTH} {HEAD + KEY + row * PANEL_HEIGHT})"
        parts += [f'<g transform="{at}">', *_panel(application, of), "</g>"]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _key() -> Iterator[str]:
    for number, name in enumerate(SHOWN):
        x = 20 + number * 148
        yield f'<circle class="{COLORS[name]} mean" cx="{x}" cy="{HEAD}" r="4.5"/>'
        yield f'<text x="{x + 10}" y="{HEAD + 4}">{escape(name)}</text>'


def _panel(application: Application, of: dict[str, list[Spent]]) -> Iterator[str]:
    width, height = PANEL_WIDTH - LEFT - 12, PANEL_HEIGHT - TOP - BELOW
    seconds = [each.seconds for spent in of.values() for each in spent]
    dollars = [each.dollars for spent in of.values() for each in spent]

    def x(value: float) -> float:
        return LEFT + width * value / (max(seconds) * 1.05)

    def y(value: float) -> float:
        return TOP + height * (1 - value / (max(dollars) * 1.08))

    yield f'<text class="figure" x="{LEFT}" y="{TOP - 8}">{escape(application.name)}</text>'
    yield f'<rect class="plane" x="{LEFT}" y="{TOP}" width="{width}" height="{height}"/>'
    for value in (0.0, max(seconds)):
        yield f'<text class="axis m" x="{x(value):.1f}" y="{TOP + height + 14}">{value:.0f}</text>'
    for value in (0.0, max(dollars)):
        yield f'<text class="axis r" x="{LEFT - 5}" y="{y(value) + 3:.1f}">{value:.2g}</text>'
    for name, spent in of.items():
        for each in spent:
            yield _circle(x(each.seconds), y(each.dollars), 2.2, f"{COLORS[name]} seed")
    for name, spent in of.items():
        yield _circle(x(_mean(spent, 1)), y(_mean(spent, 0)), 4.5, f"{COLORS[name]} mean")


def _mean(spent: Sequence[Spent], field: int) -> float:
    return statistics.fmean(each[field] for each in spent)


def _circle(x: float, y: float, radius: float, kind: str) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"/>'


def main() -> int:
    done: Done = {}
    seeds = range(1, 1 + int(sys.argv[2])) if len(sys.argv) > 2 else SEEDS
    for text in measure(done, seeds, int(sys.argv[3]) if len(sys.argv) > 3 else PUZZLES):
        print(text, flush=True)
    if len(sys.argv) > 1:
        Path(sys.argv[1]).write_text(scatter(done), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
