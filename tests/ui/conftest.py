"""Fixtures of the tests of the live page."""

from __future__ import annotations

import faulthandler
import sys

import pytest
from report_cache import fill
from visiting import visited

from memollm import Cache

DEADLINE = 180.0


@pytest.fixture(autouse=True)
def deadline():
    """End the run with every thread's stack when a test hangs."""
    faulthandler.dump_traceback_later(DEADLINE, exit=True, file=sys.__stderr__)
    yield
    faulthandler.cancel_dump_traceback_later()


@pytest.fixture(scope="module")
def filled():
    """Make a cache with a history, which no test of the module changes."""
    with fill(Cache("memory:")) as cache:
        yield cache


@pytest.fixture
def client(filled):
    with visited(filled) as made:
        yield made
