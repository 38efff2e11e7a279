"""pydantic-ai: what its models respond are samples, whatever run asks, streamed or not."""

from __future__ import annotations

from dataclasses import replace

import pytest

pytest.importorskip("pydantic_ai")

from models import run
from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, ModelHTTPError
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from traces import found, traces

import memollm
from memollm import Cache, CacheMiss
from memollm.integrations.pydantic_ai import MemoizedModel
from memollm.testing import FakeProvider, ToolUse


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


def asked(provider, cache, *prompts, settings=None, tools=(), output=str, stream=False, **options):
    """Ask an agent in a loop and with a client of its own."""

    async def main():
        async with AsyncOpenAI(base_url=provider.openai_url, api_key=provider.key, max_retries=0) as client:
            model = OpenAIChatModel("gpt-5-mini", provider=OpenAIProvider(openai_client=client), settings=settings)
            agent = Agent(MemoizedModel(model, cache=cache, **options), tools=tools, output_type=output)
            if stream:
                async with agent.run_stream(prompts[0]) as result:
                    return ["".join([text async for text in result.stream_text(delta=True)])]
            return [await agent.run(each) for each in prompts]

    return run(main())


def said(*args, **options):
    results = asked(*args, **options)
    return results if options.get("stream") else [each.output for each in results]


def test_a_pool_of_one_is_an_ordinary_cache(provider, cache):
    """The same question has the same response in every run, though each run stamps its messages."""
    first, again = said(provider, cache, "hi", "hi", pool=1)
    assert [first] == [again] == said(provider, cache, "hi", pool=1)
    assert said(provider, cache, "hi", pool=1, settings={"seed": 7}) != [first]
    assert provider.calls == 2


def test_a_namespace_draws_distinct_responses(provider, cache):
    """P1, P2: in a namespace no response comes twice, and another reads the same ones for nothing."""
    first = said(provider, cache, "hi", "hi", namespace="a") + said(provider, cache, "hi", namespace="a")
    assert said(provider, cache, "hi", "hi", "hi", namespace="b") == first
    assert len({*first}) == provider.calls == 3


def test_a_run_with_tools_is_replayed(cache):
    """Each request of a run is a draw: what tools returned counts, when they did and in which run does not."""

    def answer(body, number):
        return "done" if body["messages"][-1]["role"] == "tool" else ToolUse("look", {"timestamp": "noon"})

    def look(timestamp: str) -> str:
        return looked.pop(0)

    looked = ["sun", "sun", "rain"]
    with FakeProvider(answer=answer) as provider:
        for calls in (2, 2, 3):
            assert said(provider, cache, "weather?", tools=[look], pool=1) == ["done"]
            assert provider.calls == calls


def test_a_hit_keeps_what_the_response_took(provider, cache):
    """P14: tokens are told on a hit, too, and counted as saved."""
    paid, hit = asked(provider, cache, "hi", "hi", pool=1)
    assert replace(paid.usage, requests=0) == replace(hit.usage, requests=0)
    total = cache.stats().total
    assert total.spent.input_tokens == total.saved.input_tokens == paid.usage.input_tokens > 0


def test_streams_are_passed_on_kept_and_replayed(provider, cache):
    """A stream serves who asks for the whole, and the other way round."""
    streamed = said(provider, cache, "hi", pool=1, stream=True)
    assert said(provider, cache, "hi", pool=1) == said(provider, cache, "hi", pool=1, stream=True) == streamed
    whole = said(provider, cache, "you?", pool=1)
    assert said(provider, cache, "you?", pool=1, stream=True) == whole
    assert provider.calls == 2


def test_what_fails_gives_its_position_back(provider, cache):
    """P3: an error, and a stream that breaks, store nothing; the next one has the position."""
    provider.fail(500)
    with pytest.raises(ModelHTTPError):
        said(provider, cache, "hi", namespace="a")
    provider.cut(after=2)
    with pytest.raises(Exception, match=r"[Cc]onnection|peer|incomplete|protocol"):
        said(provider, cache, "hi", namespace="a", stream=True)
    first = said(provider, cache, "hi", namespace="a")
    assert said(provider, cache, "hi", namespace="b") == first


def test_answers_that_are_objects_are_read_anew(cache):
    """What an agent makes of a response is made on each draw; the types that it may be count."""

    class City(BaseModel):
        name: str

    with FakeProvider(answer=lambda body, number: ToolUse("final_result", {"name": "Rome"})) as provider:
        assert said(provider, cache, "where?", pool=1, output=City) == [City(name="Rome")]
        assert said(provider, cache, "where?", pool=1, output=City) == [City(name="Rome")]
        assert provider.calls == 1


def test_offline_asks_no_model(provider, cache):
    """A miss where nothing may be called is an error that pydantic-ai lets through."""
    first = said(provider, cache, "hi", pool=1)
    with memollm.mode("offline"):
        assert said(provider, cache, "hi", pool=1) == first
        for stream in (False, True):
            with pytest.raises(CacheMiss):
                said(provider, cache, "you?", pool=1, stream=stream)
    assert provider.calls == 1


def test_no_secret_is_kept(tmp_path, provider):
    """No key and no header is in the cache, in its export or in a report."""
    with Cache(tmp_path / "secret") as kept:
        settings = {"extra_headers": {"x-secret": "MARKER"}}
        said(provider, kept, "hi", namespace="a", settings=settings)
        left = traces(kept, tmp_path)
    assert len(found(left, *provider.samples)) >= 2
    assert found(left, provider.key, "MARKER") == []
