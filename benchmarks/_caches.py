"""Caches on disk for one benchmark, removed after it."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from memollm import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator


def parent() -> Path:
    """Return the folder that caches are made in: BENCH_DIR, or the system's for temporary files."""
    return Path(os.environ.get("BENCH_DIR") or tempfile.gettempdir())


@contextmanager
def folder() -> Iterator[Path]:
    """Make a folder and remove it."""
    made = Path(tempfile.mkdtemp(prefix="memollm-bench-", dir=parent()))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def new_cache() -> Iterator[Cache]:
    """Make an empty cache and remove it."""
    with folder() as made, Cache(made / "cache.db") as cache:
        yield cache
