"""Fixtures of the tests of the proxy: a provider, a proxy before it, and a client that knows the proxy alone."""

from __future__ import annotations

import httpx
import pytest
from served import PLAIN, Served

from memollm.testing import FakeProvider


@pytest.fixture(scope="module")
def provider():
    with FakeProvider() as made:
        yield made


@pytest.fixture(scope="module")
def proxy(provider):
    """Serve before the provider, with nothing said; tests read as runs of their own."""
    with Served(provider) as made:
        yield made


@pytest.fixture
def client(proxy, provider, request):
    """Ask the proxy, as a run that is named after the test."""
    headers = {"authorization": f"Bearer {provider.key}", "x-memollm-run": request.node.name}
    with httpx.Client(base_url=proxy.url, headers=headers, verify=PLAIN, timeout=60) as made:
        yield made
