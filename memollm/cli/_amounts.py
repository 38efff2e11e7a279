"""Amounts that a user writes: ages such as `7d`."""

from __future__ import annotations

import click

from memollm._types import durations
from memollm.errors import OptionError


def seconds_of(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    """Read a time span, in seconds, as an option's callback."""
    try:
        return None if text is None else durations.seconds_of("age", text)
    except OptionError:
        raise click.BadParameter(f"{text!r} is no time span; write 90s, 30min, 12h, 7d, 2w or 1y.") from None
