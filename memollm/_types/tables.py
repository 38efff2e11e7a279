"""Tables for people: as text, and as HTML for notebooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memollm.errors import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

CENT: Final = 0.01
THOUSAND: Final = 1000


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay rows out in columns; all but the first are flush right."""
    lines = [tuple(map(printable, line)) for line in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def html_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> str:
    """Lay rows out as an HTML table."""
    from html import escape

    def line(tag: str, cells: Sequence[str]) -> str:
        styles = ["text-align: left", *["text-align: right"] * (len(cells) - 1)]
        inner = (f'<{tag} style="{style}">{escape(cell)}</{tag}>' for cell, style in zip(cells, styles, strict=True))
        return f"<tr>{''.join(inner)}</tr>"

    body = "".join(line("td", row) for row in rows)
    above = f"<p>{escape(title)}</p>" if title else ""
    return f"{above}<table><thead>{line('th', head)}</thead><tbody>{body}</tbody></table>"


def money(dollars: float) -> str:
    """Write an amount: to the cent, and further where it is less than that or has more digits."""
    if 0 < dollars < CENT:
        return f"${dollars:.2g}"
    whole, _, parts = f"{dollars:,.2f}".partition(".") if dollars >= 1 else f"{dollars:.4f}".partition(".")
    return f"${whole}.{parts.rstrip('0').ljust(2, '0')}"


def cost_text(dollars: float, unknown: int) -> str:
    """Write what is known of an amount, and how many calls it does not contain since nobody knows what they cost."""
    if not unknown:
        return money(dollars)
    calls = f"{unknown:,} {'call' if unknown == 1 else 'calls'} of unknown cost"
    return f"{money(dollars)} and {calls}" if dollars else calls


def spent_text(calls: tuple[int, int | None], cost: tuple[str, float | None]) -> str:
    """Write how much of what is limited has been spent: each as it stands, and its limit if there is one."""
    told: list[str] = []
    if calls[1] is not None:
        told.append(f"{calls[0]:,} of {calls[1]:,} calls")
    if cost[1] is not None:
        told.append(f"{cost[0]} of {money(cost[1])}")
    return ", ".join(told)


def cost_cell(dollars: float, unknown: int) -> str:
    """Write the same where there is little room."""
    calls = f"{unknown:,} unpriced"
    return money(dollars) if not unknown else f"{money(dollars)} + {calls}" if dollars else calls


def seconds_text(seconds: float) -> str:
    """Write a duration in the unit that suits it."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} µs"


def counted(number: int, one: str, many: str = "") -> str:
    """Write how many of something there are."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size_text(size: float) -> str:
    """Write a number of bytes."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < THOUSAND:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= THOUSAND
    return f"{size:,.1f} TB"
