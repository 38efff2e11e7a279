"""Fixtures of the tests of the live page."""

from __future__ import annotations

import pytest
from report_cache import fill
from visiting import visited

from memollm import Cache


@pytest.fixture(scope="module")
def filled():
    """Make a cache with a history, which no test of the module changes."""
    with fill(Cache("memory:")) as cache:
        yield cache


@pytest.fixture
def client(filled):
    with visited(filled) as made:
        yield made
