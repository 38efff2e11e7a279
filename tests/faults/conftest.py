"""Fixtures of the fault tests."""

from __future__ import annotations

import faulthandler
import sys
from typing import TYPE_CHECKING

import pytest
from programs import Project

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DEADLINE = 120.0
"""Seconds after which a test of a fault has hung, and takes the whole run with it instead of blocking it."""


@pytest.fixture(autouse=True)
def deadline() -> Iterator[None]:
    """End the run with every thread's stack when a test hangs."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    """Give a project in a folder of its own, and end its programs."""
    project = Project(tmp_path)
    yield project
    project.close()
