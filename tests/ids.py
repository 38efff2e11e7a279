"""Names of parametrized tests that are the same in every process."""

from __future__ import annotations

import re


def steady(value: object) -> str:
    """Write a value without the addresses of objects."""
    return re.sub(r" at 0x[0-9a-f]+", "", str(value))


def numbered(values: list) -> list[str]:
    """Give values numbers for names, where their text depends on their place in memory."""
    return [str(number) for number in range(len(values))]
