"""Durations as users write them: seconds, a `timedelta`, or text such as "7d"; what is too old is for plans to say."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Final

from memollm.errors import OptionError

UNITS: Final = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31_557_600.0}
WRITTEN: Final = re.compile(rf"\s*(\d+(?:\.\d*)?|\.\d+)\s*({'|'.join(UNITS)})\s*", re.ASCII | re.IGNORECASE)


def seconds_of(option: str, value: object) -> float:
    """Return how many seconds an option's value means; an `OptionError` names the option if it means none."""
    seconds = _read(value)
    if not 0 < seconds < math.inf:
        raise OptionError(
            f"{option}={value!r} is no length of time. Give seconds above 0 (3600), a timedelta, or a number with one "
            'of the units s, m or min, h, d, w, y ("90s", "15m", "12h", "7d", "2w", "1y").'
        )
    return seconds


def _read(value: object) -> float:
    """Read a duration; what is none is not a number."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, str) and (written := WRITTEN.fullmatch(value)):
        return float(written[1]) * UNITS[written[2].lower()]
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return math.nan
