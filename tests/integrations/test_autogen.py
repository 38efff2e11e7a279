"""AutoGen: what its clients answer are samples, and each client has its own."""

from __future__ import annotations

import asyncio
import gc

import pytest

pytest.importorskip("autogen_core")

from autogen_core import CacheStore
from autogen_core.models import CreateResult, UserMessage
from autogen_ext.models.cache import ChatCompletionCache
from autogen_ext.models.openai import OpenAIChatCompletionClient
from models import run
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss, OptionError
from memollm.integrations.autogen import AutoGenStore

# What AutoGen does within itself is its own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]

HI = [UserMessage(content="hi", source="user")]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def tidy():
    """Have what AutoGen leaves open closed here, where no warning about it counts."""
    yield
    gc.collect()


def said(provider, store, times=1, *, stream=False, at_once=False, **options):
    async def main():
        inner = OpenAIChatCompletionClient(
            model="gpt-4o", base_url=provider.openai_url, api_key=provider.key, max_retries=0, **options
        )
        client = ChatCompletionCache(inner, store)

        async def ask():
            if not stream:
                return (await client.create(HI)).content
            (whole,) = [each async for each in client.create_stream(HI) if isinstance(each, CreateResult)]
            return whole.content

        answers = (
            await asyncio.gather(*(ask() for _ in range(times))) if at_once else [await ask() for _ in range(times)]
        )
        await client.close()
        return answers

    return run(main())


def test_other_stores_are_pools_of_one(provider, cache):
    """With `pool=1` the same messages have the same answer, streamed or not."""
    store = AutoGenStore(client="one", cache=cache, pool=1)
    first = said(provider, store, 2)
    assert [first[0]] * 2 == first == said(provider, store) * 2 == said(provider, store, stream=True) * 2
    streamed = AutoGenStore(client="streamed", cache=cache, pool=1)
    assert said(provider, streamed, stream=True) == said(provider, streamed) == said(provider, streamed, stream=True)
    assert provider.calls == 2


@pytest.mark.parametrize("at_once", [False, True])
def test_a_namespace_draws_distinct_answers(provider, cache, at_once):
    """P1, P2: in a namespace no answer comes twice, and another reads the same ones for nothing."""
    store = AutoGenStore(client="one", cache=cache, namespace="a")
    first = said(provider, store, 4, at_once=at_once)
    with memollm.namespace("b"):
        assert sorted(said(provider, store, 4)) == sorted(first)
    assert len({*first}) == provider.calls == 4


def test_each_client_has_its_own(provider, cache):
    """P8: AutoGen's key is the same for all models and settings; the client's name is what tells them apart."""
    stores = [AutoGenStore(client=client, cache=cache, pool=1) for client in ("warm", "cold")]
    assert said(provider, stores[0]) != said(provider, stores[1], temperature=0.0)
    with pytest.raises(OptionError, match="client"):
        AutoGenStore(client="", cache=cache)


def test_a_failed_client_gives_its_position_back(provider, cache):
    """P3: whoever asks next has the position, in the same task or in another."""
    store = AutoGenStore(client="one", cache=cache, namespace="a")
    provider.fail(500)
    with pytest.raises(Exception, match="500"):
        said(provider, store)
    first = said(provider, store)
    with memollm.namespace("b"):
        assert said(provider, store) == first


def test_offline_asks_no_model(provider, cache):
    """A miss where nothing may be called is an error that AutoGen lets through."""
    store = AutoGenStore(client="one", cache=cache, pool=1)
    first = said(provider, store)
    with memollm.mode("offline"):
        assert said(provider, store) == first
        with pytest.raises(CacheMiss):
            said(provider, AutoGenStore(client="another", cache=cache, pool=1))
    assert provider.calls == 1


def test_a_store_is_a_component(provider, tmp_path, cache):
    """It can be described and made again of its description; one with a cache of its own says why not."""
    store = AutoGenStore(client="one", cache=tmp_path / "kept", pool=1, ttl="7d")
    again = CacheStore.load_component(store.dump_component())
    assert said(provider, store) == said(provider, again)
    assert provider.calls == 1
    with pytest.raises(OptionError, match="path"):
        AutoGenStore(client="one", cache=cache).dump_component()


def test_no_secret_is_kept(tmp_path, provider):
    """No key is in the cache, in its export or in a report."""
    with Cache(tmp_path / "secret") as kept:
        said(provider, AutoGenStore(client="one", cache=kept, namespace="a"))
        left = traces(kept, tmp_path)
    assert len(found(left, *provider.samples)) >= 2
    assert found(left, provider.key) == []
