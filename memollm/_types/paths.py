"""Paths where the working directory may be gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final


def working_directory() -> Path | None:
    """Return it, unless somebody has removed it."""
    try:
        return Path.cwd()
    except FileNotFoundError:
        return None


ROOT_MARKS: Final = (".memollm", "pyproject.toml", ".git")


def root_above(place: Path) -> Path | None:
    """Find the nearest of a folder and its parents that looks like a project's root."""
    for folder in (place, *place.parents):
        # Path.exists() raises where it may not look.
        if any(os.path.exists(folder / mark) for mark in ROOT_MARKS):  # noqa: PTH110
            return folder
    return None


def absolute(place: str | os.PathLike[str]) -> Path:
    """Make a path absolute that may begin with `~`; it stays as it is where nobody can tell what it is relative to."""
    path = Path(place).expanduser()
    here = None if path.is_absolute() else working_directory()
    # resolve() would follow a link that may be moved.
    return Path(os.path.normpath(path if here is None else here / path))
