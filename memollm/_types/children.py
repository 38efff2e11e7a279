"""Whether this process is a child of multiprocessing, as far as that is loaded."""

from __future__ import annotations

import sys
from contextlib import suppress


def is_child() -> bool:
    """Tell it without an import; a module that another thread is importing at this moment has started nobody."""
    processes = sys.modules.get("multiprocessing.process")
    with suppress(AttributeError, NameError):
        return processes is not None and processes.parent_process() is not None
    return False
