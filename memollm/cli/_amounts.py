"""Amounts that a user writes: ages such as `7d`."""

from __future__ import annotations

import re
from typing import Final

import click

SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800, "y": 31_557_600}
AGE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII)


def seconds_of(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Read a time span, in seconds, as an option's callback."""
    if text is None:
        return None
    match = AGE.fullmatch(text.strip().lower())
    if match is None or match[2] not in SECONDS:
        raise click.BadParameter(f"{text!r} is no time span; write 90s, 30min, 12h, 7d, 2w or 1y.")
    return float(match[1]) * SECONDS[match[2]]
