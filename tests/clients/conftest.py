"""Fixtures of the tests with real SDKs: a provider on loopback, and clients that talk to it alone."""

from __future__ import annotations

import contextlib
import ssl

import anthropic
import httpx
import httpx2
import openai
import pytest

from memollm import Cache

OF_GPT = httpx2 if int(openai.__version__.partition(".")[0]) >= 3 else httpx
OF_CLAUDE = httpx2 if int(anthropic.__version__.partition(".")[0]) >= 2 else httpx
"""What their SDKs stand on: older versions on httpx."""
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Loading certificates, for which nothing here asks, takes longer than most tests."""


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture
def gpt(provider):
    """Make OpenAI's client, which tries twice again."""
    http = OF_GPT.Client(verify=PLAIN)
    with openai.OpenAI(base_url=provider.openai_url, api_key=provider.key, http_client=http) as client:
        yield client


@pytest.fixture
def claude(provider):
    """Make Anthropic's client, which tries twice again."""
    http = OF_CLAUDE.Client(verify=PLAIN)
    with anthropic.Anthropic(base_url=provider.url, api_key=provider.key, http_client=http) as client:
        yield client


@pytest.fixture
def gpt_async(provider):
    """Return what makes OpenAI's async client, in the loop that uses it."""

    @contextlib.asynccontextmanager
    async def make(**options):
        http = OF_GPT.AsyncClient(verify=PLAIN)
        async with openai.AsyncOpenAI(
            base_url=provider.openai_url, api_key=provider.key, http_client=http, **options
        ) as client:
            yield client

    return make


@pytest.fixture
def claude_async(provider):
    """Return what makes Anthropic's async client, in the loop that uses it."""

    @contextlib.asynccontextmanager
    async def make(**options):
        http = OF_CLAUDE.AsyncClient(verify=PLAIN)
        async with anthropic.AsyncAnthropic(
            base_url=provider.url, api_key=provider.key, http_client=http, **options
        ) as client:
            yield client

    return make
