"""Which code is installed, and so not the user's."""

from __future__ import annotations

import functools
import os
from pathlib import Path


@functools.lru_cache(maxsize=1000)
def is_of_library(file: str) -> bool:
    """Tell whether a file belongs to Python or to an installed package, whose code differs by version."""
    import sysconfig

    paths = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    if any(file.startswith((path + os.sep, os.path.realpath(path) + os.sep)) for path in paths):
        return True
    # Another environment's, or what the system's packages bring.
    return not {"site-packages", "dist-packages"}.isdisjoint(Path(file).parts)
