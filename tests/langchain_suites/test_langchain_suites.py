"""LangChain's own suites for caches, unmodified: as a pool of one, and in a namespace."""

from __future__ import annotations

import pytest

pytest.importorskip("langchain_tests")

from langchain_tests.integration_tests import AsyncCacheTestSuite, SyncCacheTestSuite

from memollm import Cache
from memollm.integrations.langchain import LangChainCache


@pytest.fixture
def place(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


class TestPoolOfOne(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, place):
        return LangChainCache(cache=place, pool=1)


class TestNamespace(SyncCacheTestSuite):
    @pytest.fixture
    def cache(self, place):
        return LangChainCache(cache=place, namespace="a")


class TestPoolOfOneInTasks(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, place):
        return LangChainCache(cache=place, pool=1)


class TestNamespaceInTasks(AsyncCacheTestSuite):
    @pytest.fixture
    async def cache(self, place):
        return LangChainCache(cache=place, namespace="a")
