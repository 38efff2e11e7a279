"""When this process began: what was written before is what it has loaded."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final


def _started() -> float:
    """Return when the process began, where the system tells it; else now, which is when memollm is imported."""
    now = time.time()
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        ran = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError, IndexError):
        return now
    return now - ran


STARTED: Final = _started()
"""Found out at the import and passed on by a fork, whose child has what its parent has loaded."""


def is_older(file: str) -> bool:
    """Tell whether a file was written, and put where it is, before this process began."""
    try:
        found = Path(file).stat()
    except OSError:
        return False
    return max(found.st_mtime, found.st_ctime) < STARTED
