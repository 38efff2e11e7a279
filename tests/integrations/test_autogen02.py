"""AutoGen 0.2: what models answer its agents are samples, and each client has its own."""

from __future__ import annotations

import concurrent.futures
import gc

import pytest

autogen = pytest.importorskip("autogen")

from autogen import AssistantAgent, OpenAIWrapper, UserProxyAgent
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss, OptionError
from memollm.integrations.autogen02 import AutoGenCache

# What AutoGen does within itself is its own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def tidy():
    """Have what AutoGen leaves open closed here, where no warning about it counts."""
    yield
    gc.collect()


def settings(provider, **options):
    return {"model": "gpt-4o", "base_url": provider.openai_url, "api_key": provider.key, "max_retries": 0, **options}


def said(provider, kept, messages=HI, **options):
    client = OpenAIWrapper(config_list=[settings(provider, **options)])
    return client.create(messages=messages, cache=kept).choices[0].message.content


def test_other_caches_are_pools_of_one(provider, cache):
    """With `pool=1` the same messages have the same answer, as from any cache of AutoGen, with its price."""
    kept = AutoGenCache(client="one", cache=cache, pool=1)
    client = OpenAIWrapper(config_list=[settings(provider)])
    first, again = (client.create(messages=HI, cache=kept) for _ in range(2))
    assert first.choices[0].message.content == again.choices[0].message.content
    assert again.cost == first.cost > 0
    assert said(provider, kept, temperature=0.5) != again.choices[0].message.content
    assert provider.calls == 2


def test_a_namespace_draws_distinct_answers(provider, cache):
    """P1, P2: in a namespace no answer comes twice, in threads neither, and another reads the same ones for nothing."""
    kept = AutoGenCache(client="one", cache=cache, namespace="a")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        first = [*pool.map(lambda _: said(provider, kept), range(4))]
    with memollm.namespace("b"):
        assert sorted(said(provider, kept) for _ in range(4)) == sorted(first)
    assert len({*first}) == provider.calls == 4


def test_a_conversation_is_replayed(provider, cache):
    """Agents ask through it, and a rerun is the same conversation for nothing."""
    kept = AutoGenCache(client="one", cache=cache)

    def conversation():
        assistant = AssistantAgent("assistant", llm_config={"config_list": [settings(provider)], "cache_seed": None})
        user = UserProxyAgent(
            "user", human_input_mode="NEVER", max_consecutive_auto_reply=2, code_execution_config=False
        )
        user.initiate_chat(assistant, message="hi", cache=kept, silent=True)
        return [message["content"] for message in user.chat_messages[assistant]]

    first = conversation()
    with memollm.run():
        assert conversation() == first
    assert conversation() != first
    assert provider.calls == 6


def test_each_client_has_its_own(provider, cache):
    """P8: AutoGen's key leaves out where the model is; the client's name is what tells them apart."""
    kept = [AutoGenCache(client=client, cache=cache, pool=1) for client in ("here", "there")]
    assert said(provider, kept[0]) != said(provider, kept[1])
    with pytest.raises(OptionError, match="client"):
        AutoGenCache(client="", cache=cache)


def test_a_failed_client_gives_its_position_back(provider, cache):
    """P3: whoever asks next has the position; where the next client of a list answers, that is its own sample."""
    kept = AutoGenCache(client="one", cache=cache, namespace="a")
    provider.fail(500)
    with pytest.raises(Exception, match="500"):
        said(provider, kept)
    first = said(provider, kept)
    with memollm.namespace("b"):
        assert said(provider, kept) == first
    provider.fail(500)
    client = OpenAIWrapper(config_list=[settings(provider), settings(provider, model="gpt-4o-mini")])
    other = client.create(messages=HI, cache=kept)
    with memollm.namespace("b"):
        assert said(provider, kept, model="gpt-4o-mini") == other.choices[0].message.content
    assert provider.calls == 2


def test_offline_asks_no_model(provider, cache):
    """A miss where nothing may be called is an error that AutoGen lets through."""
    kept = AutoGenCache(client="one", cache=cache, pool=1)
    first = said(provider, kept)
    with memollm.mode("offline"):
        assert said(provider, kept) == first
        with pytest.raises(CacheMiss):
            said(provider, kept, temperature=0.5)
    assert provider.calls == 1


def test_no_secret_is_kept(tmp_path, provider):
    """No key and no header is in the cache, in its export or in a report."""
    with Cache(tmp_path / "secret") as kept:
        told = AutoGenCache(client="one", cache=kept, namespace="a")
        said(provider, told, default_headers={"X-Secret": "MARKER"})
        left = traces(kept, tmp_path)
    assert len(found(left, *provider.samples)) >= 2
    assert found(left, provider.key, "MARKER") == []
