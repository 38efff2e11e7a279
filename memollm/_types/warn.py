"""Warnings that point at the user's line, not at one of ours."""

from __future__ import annotations

import inspect
import warnings


def warn(message: str, category: type[Warning]) -> None:
    """Warn about the nearest caller outside this package."""
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "memollm":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
