"""A wrapped client draws: distinct samples in a namespace, the same for all namespaces, and every request as before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import warnings

import httpx
import httpx2
import openai
import pytest
from asking import (
    HI,
    TOOL,
    chat,
    message,
    message_async,
    said,
    said_async,
    source,
    streamed,
    streamed_message,
    streamed_message_async,
)

import memollm
from memollm import Cache, OptionError, wrap
from memollm.http import AsyncTransport, Transport
from memollm.testing import FakeClock


def test_a_wrapped_client_is_of_the_same_type(gpt, claude, cache):
    """What takes the one takes the other; the given client stays as it is."""
    assert type(wrap(gpt, cache=cache)) is type(gpt)
    assert type(wrap(claude, cache=cache)) is type(claude)
    with httpx.Client() as http:
        assert type(wrap(http, cache=cache)) is httpx.Client
    assert type(gpt._client._transport).__name__ == "HTTPTransport"


def test_samples_are_distinct_in_a_namespace_and_shared_by_all(gpt, claude, cache, provider):
    """P1, P2: a namespace gets another sample each time, and another namespace the same ones for nothing."""
    gpt, claude = wrap(gpt, cache=cache), wrap(claude, cache=cache)

    def respond():
        return gpt.responses.create(model="m", input="hi").output_text

    for ask in (lambda: said(gpt), lambda: message(claude), respond):
        before = provider.calls
        with memollm.namespace("a"):
            drawn = [ask() for _ in range(3)]
        with memollm.namespace("b"):
            assert [ask() for _ in range(3)] == drawn
        assert len({*drawn}) == 3
        assert provider.calls == before + 3


def test_a_response_says_where_it_came_from(gpt, cache):
    """`x-memollm` is "paid" where the provider was asked, and "hit" where it was not."""
    gpt = wrap(gpt, cache=cache, pool=1)
    assert [source(gpt), source(gpt)] == ["paid", "hit"]


def test_n_asks_for_what_is_missing(gpt, cache, provider):
    """P4: n draws n samples, of which the stored ones are not asked for again."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    with memollm.namespace("b"):
        first = said(gpt)
    answer = chat(gpt, n=3)
    texts = [choice.message.content for choice in answer.choices]
    assert texts == provider.samples
    assert texts[0] == first
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert [asked.body.get("n") for asked in provider.requests] == [None, 2]
    with memollm.namespace("c"):
        assert [said(gpt) for _ in range(3)] == texts


def test_what_several_samples_took_adds_up(gpt, cache, provider):
    """The parts of one request's usage are whole numbers, and their sum is what it told."""
    gpt = wrap(gpt, cache=cache)
    whole = chat(gpt, n=3).usage
    assert whole.completion_tokens == sum(len(sample.split()) for sample in provider.samples)
    with memollm.namespace("b"):
        parts = [chat(gpt).usage for _ in range(3)]
    assert sum(part.completion_tokens for part in parts) == whole.completion_tokens
    assert sum(part.total_tokens for part in parts) == whole.total_tokens


def test_embeddings_are_asked_for_once(gpt, cache, provider):
    """They are no samples, so there is one of each."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    vectors = [gpt.embeddings.create(model="m", input="x").data[0].embedding for _ in range(2)]
    assert vectors[0] == vectors[1]
    assert provider.calls == 1


def test_usage_is_counted_and_priced(gpt, claude, cache, provider):
    """What the bodies tell is in tracks and statistics, and has a price."""
    memollm.configure(prices={"m": (1.0, 2.0)})
    with memollm.track() as tracked:
        for _ in range(2):
            said(wrap(gpt, cache=cache, pool=1))
            message(wrap(claude, cache=cache, pool=1))
    made = sum(len(sample.split()) for sample in provider.samples)
    assert (tracked.paid, tracked.hits, tracked.spent.output_tokens) == (2, 2, made)
    assert tracked.spent.cost == pytest.approx((tracked.spent.input_tokens + 2 * made) / 1e6)
    assert [line.name for line in cache.stats()] == ["chat.completions", "messages"]


def test_a_budget_of_the_program_limits_a_wrapped_client(gpt, cache, provider):
    """P14: its requests count as calls of functions do; what is stored is free."""
    memollm.configure(cache=cache, budget={"calls": 2})
    gpt = wrap(gpt, namespace="a")
    drawn = [said(gpt), said(gpt)]
    with pytest.raises(memollm.BudgetExceeded, match=r"2 of 2 calls"):
        said(gpt)
    with memollm.namespace("b"):
        assert [said(gpt), said(gpt)] == drawn
    assert provider.calls == 2


def test_options_work_as_for_functions(gpt, cache, provider):
    """A pool, a predicate on the body, a budget, a time to live."""
    assert len({said(wrap(gpt, cache=cache, pool=2, namespace="a")) for _ in range(5)}) == 2
    picky = wrap(gpt, cache=cache, namespace="b", ignore=("temperature",), accept=lambda body: body["model"] != "m")
    assert [said(picky, temperature=1), said(picky, temperature=2)] == [*provider.samples[:1], *provider.samples[1:2]]
    with memollm.budget(calls=0), pytest.raises(memollm.BudgetExceeded):
        said(wrap(gpt, cache=cache), temperature=0)


@pytest.mark.parametrize("which", ["gpt", "claude"])
def test_a_miss_offline_is_an_exception_that_no_sdk_retries(which, gpt, claude, cache, provider):
    """The error says what the nearest stored call differs in, and the provider is not asked."""
    client = wrap(gpt if which == "gpt" else claude, cache=cache)
    ask = said if which == "gpt" else message
    ask(client)
    with memollm.mode("offline"), pytest.raises(memollm.CacheMiss, match=r"body\.tool_choice"):
        ask(client, tool_choice={"type": "none"})
    with memollm.mode("offline"), memollm.run():
        assert ask(client) == provider.samples[0]
        with pytest.raises(memollm.CacheMiss):
            streamed_message(client) if which == "claude" else [*chat(client, stream=True)]
    assert len(provider.requests) == 1


def test_an_async_client_draws_as_a_plain_one(gpt, gpt_async, cache, provider):
    """Tasks of one namespace get distinct samples, and the stored ones are those of the plain client."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            assert type(wrapped) is openai.AsyncOpenAI
            drawn = await asyncio.gather(*(said_async(wrapped) for _ in range(5)))
            several = await chat(wrapped, n=3)
            with memollm.mode("offline"), pytest.raises(memollm.CacheMiss):
                await said_async(wrapped)
            return [*drawn, *(choice.message.content for choice in several.choices)]

    drawn = asyncio.run(main())
    assert sorted(drawn) == sorted(provider.samples)
    assert len({*drawn}) == 8
    with memollm.namespace("b"):
        assert {said(wrap(gpt, cache=cache)) for _ in range(8)} == {*drawn}


def test_an_async_client_of_anthropic_draws_as_a_plain_one(claude, claude_async, cache, provider):
    """Whole answers and streams of tasks are samples of one sequence, which the plain client reads."""

    async def main():
        async with claude_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            assert type(wrapped) is type(client)
            ways = (message_async, streamed_message_async, message_async, streamed_message_async)
            drawn = await asyncio.gather(*(way(wrapped) for way in ways))
            with memollm.mode("offline"), pytest.raises(memollm.CacheMiss):
                await message_async(wrapped)
            return drawn

    drawn = asyncio.run(main())
    assert sorted(drawn) == sorted(provider.samples)
    with memollm.namespace("b"):
        assert {message(wrap(claude, cache=cache)) for _ in range(4)} == {*drawn}


def test_what_holds_around_functions_holds_around_requests(gpt, provider, tmp_path):
    """Lanes, replays, resuming, a time to live and "refresh" say for a client what they say for a function."""
    clock = FakeClock()
    with Cache(tmp_path / "c", clock=clock) as cache:
        asking = wrap(gpt, cache=cache)

        def in_lanes():
            told = []
            for name in "abba":
                with memollm.lane(name):
                    told.append(said(asking))
            return told

        with memollm.namespace("a"):
            drawn = [*in_lanes(), streamed(asking)]
        with memollm.replay("a"):
            assert [*in_lanes(), said(asking)] == drawn
        with memollm.namespace("a", resume=True):
            assert [*in_lanes(), said(asking)] == drawn
        assert provider.samples == drawn
        kept = wrap(gpt, cache=cache, pool=1, ttl="1h")
        first = said(kept, seed=1)
        assert said(kept, seed=1) == first
        with memollm.mode("refresh"):
            second = said(kept, seed=1)
        assert said(kept, seed=1) == second != first
        clock.advance(3601)
        assert said(kept, seed=1) not in {first, second}


def test_tasks_that_want_one_sample_share_one_request(gpt_async, cache, provider):
    """P5: whoever asks while it is under way waits for it, and its response says so."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, pool=1)

            async def ask():
                raw = await wrapped.chat.completions.with_raw_response.create(model="m", messages=HI)
                return raw.headers["x-memollm"]

            with provider.held():
                tasks = [asyncio.ensure_future(ask()) for _ in range(10)]
                await asyncio.to_thread(provider.wait_for, 1)
            return await asyncio.gather(*tasks)

    assert sorted(asyncio.run(main())) == ["paid"] + 9 * ["shared"]
    assert provider.calls == 1


def test_an_answer_is_kept_when_its_client_has_left(gpt_async, cache, provider):
    """P13: a task that is cancelled leaves a request under way, whose answer the next one gets."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            with provider.held():
                task = asyncio.ensure_future(said_async(wrapped))
                await asyncio.to_thread(provider.wait_for, 1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            return await said_async(wrapped)

    assert [asyncio.run(main())] == provider.samples


def test_a_request_under_way_is_no_block_that_other_threads_miss(gpt, cache, provider):
    """A thread that draws while the main one waits for the provider is not told that it stands outside of a block."""
    gpt = wrap(gpt, cache=cache, pool=1)
    ask = cache.cached_llm(lambda: "drawn", name="ask", version=1, pool=1)
    drawn = []

    def draw():
        with held:
            provider.wait_for(1)
            drawn.append(ask())

    with contextlib.ExitStack() as held, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        held.enter_context(provider.held())
        thread = threading.Thread(target=draw)
        thread.start()
        said(gpt)
        thread.join()
    assert drawn == ["drawn"]
    assert memollm.OutsideBlockWarning not in {each.category for each in told}


# What is memoized, and by what it is keyed.


@pytest.fixture
def asked(gpt, cache, provider):
    """Return what tells how many requests two ways of asking took."""

    def ask(one, other, **options):
        client, before = wrap(gpt, cache=cache, pool=1, **options), len(provider.requests)
        for extra in (one, other):
            chosen = client.with_options(**extra.pop("client", {}))
            chosen.chat.completions.create(**{"model": "m", "messages": HI, **extra})
        return len(provider.requests) - before

    return ask


def test_what_changes_no_answer_does_not_count(asked, provider):
    """Users, metadata, time-outs, retries and the key may differ."""
    for number, other in enumerate(
        (
            {"user": "u"},
            {"metadata": {"a": "b"}},
            {"timeout": 3.0},
            {"client": {"max_retries": 7, "default_headers": {"X-Trace": "1"}}},
            {"client": {"default_query": {"api_key": "sk-abcdefgh1234567", "sig": "x", "subscription-key": "y"}}},
            {"stream": False},
        )
    ):
        assert asked({"seed": number}, {**other, "seed": number}) == 1


def test_what_changes_answers_counts(asked):
    """Everything else in the body does, and so do some headers and the query."""
    for number, other in enumerate(
        (
            {"temperature": 0.5},
            {"model": "m2"},
            {"messages": [{"role": "user", "content": "hi!"}]},
            {"client": {"default_headers": {"OpenAI-Beta": "x=1"}}},
            {"client": {"default_query": {"api-version": "2"}}},
        )
    ):
        assert asked({"seed": number}, {**other, "seed": number}) == 2


def test_users_say_what_else_counts(asked):
    """Headers and parts of the body can be added and left out."""
    other = {"client": {"default_headers": {"X-Region": "eu"}}}
    assert asked({}, other, headers=["X-Region"]) == 2
    assert asked({"seed": 1, "top_p": 0.5}, {"seed": 2, "top_p": 0.5}, ignore=["seed"]) == 1
    assert asked({"seed": 3}, {"seed": 3, "user": "u"}, keyed=["user"]) == 2


def test_the_host_can_be_left_out(gpt, cache, provider):
    """Who moves between gateways keeps their samples."""
    for host, calls in ((True, 2), (False, 3)):
        client = wrap(gpt, cache=cache, pool=1, host=host)
        said(client)
        said(client.with_options(base_url=provider.openai_url.replace("127.0.0.1", "localhost")))
        assert provider.calls == calls


def test_requests_on_changing_state_pass_unstored(gpt, cache, provider):
    """What the server goes on changing is asked for each time, and so is everything that calls no model."""
    gpt = wrap(gpt, cache=cache, pool=1)
    for options in ({"background": True}, {"conversation": "conv_1"}):
        before = len(provider.requests)
        first = gpt.responses.create(model="m", input="hi", **options)
        assert gpt.responses.create(model="m", input="hi", **options).id != first.id
        assert len(provider.requests) == before + 2
    assert [gpt.models.list().data[0].id for _ in range(2)] == ["fake-model"] * 2
    assert [*cache.stats()] == []


def test_other_paths_can_be_added(provider, cache):
    """An API that is not known is memoized by its path: whole answers are kept, and streams that came to their end."""
    headers = {"authorization": f"Bearer {provider.key}"}
    with wrap(httpx.Client(base_url=provider.url), cache=cache, paths=["/mine/completions"], pool=1) as client:
        for body in ({"prompt": "x"}, {"prompt": "x", "stream": True}):
            texts = [client.post("/v1/mine/completions", json=body, headers=headers).text for _ in range(2)]
            assert texts[0] == texts[1]
    assert provider.calls == 2
    assert [line.name for line in cache.stats()] == ["mine.completions", "mine.completions.stream"]


def test_wrong_options_are_refused_at_once(gpt):
    """An error names what was meant."""
    for options, says in (
        ({"namespaces": "a"}, "Did you mean 'namespace'"),
        ({"pool": 0}, "pool=0"),
        ({"headers": "X-A"}, "a list of texts"),
        ({"host": "x"}, "host='x'"),
        ({"mode": "of"}, "mode='of'"),
    ):
        with pytest.raises(OptionError, match=says):
            wrap(gpt, **options)
    with pytest.raises(OptionError, match="no client of httpx"):
        wrap(object())


def test_a_gateways_own_cache_is_warned_of(gpt, cache):
    """OpenRouter's gives equal requests one answer, so samples would not be distinct."""
    loud = wrap(gpt, cache=cache).with_options(default_headers={"X-OpenRouter-Cache": "true"})
    with pytest.warns(memollm.MemollmWarning, match="X-OpenRouter-Cache"):
        said(loud)
    said(wrap(gpt, cache=cache, pool=1).with_options(default_headers={"X-OpenRouter-Cache": "true"}))


# Which clients.


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_transports_serve_clients_built_by_hand(library, provider, cache):
    """Of both libraries, plain and async; an error is raised where no SDK asks."""
    url, headers = f"{provider.openai_url}/chat/completions", {"authorization": f"Bearer {provider.key}"}
    body = {"model": "m", "messages": HI}
    with library.Client(transport=Transport(cache=cache, namespace="a"), headers=headers) as client:
        first = client.post(url, json=body)
        with pytest.raises(memollm.CacheMiss), memollm.mode("offline"):
            client.post(url, json=body)

    async def main():
        async with library.AsyncClient(transport=AsyncTransport(cache=cache, namespace="b"), headers=headers) as client:
            return await client.post(url, json=body)

    again = asyncio.run(main())
    assert (first.headers["x-memollm"], again.headers["x-memollm"]) == ("paid", "hit")
    assert first.content == again.content


def test_the_given_client_need_not_be_kept(provider, cache):
    """It lives as long as what was made of it, and closing the one closes the other."""
    client = wrap(openai.OpenAI(base_url=provider.openai_url, api_key=provider.key), cache=cache)
    gc.collect()
    said(client)
    client.close()
    with pytest.raises((openai.APIConnectionError, RuntimeError)):
        said(client, temperature=0)


def test_a_wrapped_client_that_goes_leaves_the_given_one_open(provider, cache):
    """Both share their connections; who drops one goes on with the other."""
    client = openai.OpenAI(base_url=provider.openai_url, api_key=provider.key)
    with provider.held(after=2):
        stream = chat(client, stream=True)
        next(stream)
        wrap(client, cache=cache)
        gc.collect()
    assert len([*stream]) > 2
    client.close()


def test_clients_inside_other_objects_are_found(provider, cache):
    """An SDK that holds its HTTP client deeper, and in several places, is wrapped in all of them."""

    class Resource:
        def __init__(self, http):
            self.http = http

    class Sdk:
        def __init__(self):
            self.http = httpx.Client(headers={"authorization": f"Bearer {provider.key}"})
            self.chat, self.again = Resource(self.http), Resource(self.http)
            self.other = [1]

    sdk = Sdk()
    wrapped = wrap(sdk, cache=cache, pool=1)
    assert type(wrapped) is Sdk
    assert wrapped.chat.http is wrapped.again.http is wrapped.http is not sdk.http
    assert wrapped.other is sdk.other
    url = f"{provider.openai_url}/chat/completions"
    texts = {each.http.post(url, json={"messages": HI}).text for each in (wrapped, wrapped.chat, wrapped.again)}
    sdk.http.close()
    assert len(texts) == provider.calls == 1


def test_tools_and_schemas_come_back_as_they_were(gpt, claude, cache, provider):
    """A call of a tool is the same object from the store."""
    gpt, claude = wrap(gpt, cache=cache, pool=1), wrap(claude, cache=cache, pool=1)
    calls = [chat(gpt, tools=[{"type": "function", "function": TOOL}]).choices[0].message.tool_calls for _ in range(2)]
    assert calls[0] == calls[1]
    tools = [{"name": "find", "input_schema": TOOL["parameters"]}]
    inputs = [claude.messages.create(model="m", max_tokens=9, messages=HI, tools=tools).content for _ in range(2)]
    assert inputs[0] == inputs[1]
    assert provider.calls == 2


def test_importing_memollm_imports_no_http_library():
    """Nor does wrapping itself: what a client brings along is used."""
    program = """if True:
        import sys, memollm
        print({"httpx", "httpx2", "memollm.http"} & {*sys.modules})
        memollm.wrap
        print({"httpx", "httpx2"} & {*sys.modules})
    """
    result = subprocess.run([sys.executable, "-c", program], timeout=30, check=True, capture_output=True, text=True)
    assert result.stdout == "set()\nset()\n"


def test_an_async_client_waits_for_nothing_in_its_loop(gpt_async, tmp_path):
    """P12: hits of many tasks do not wait for the disk one by one."""

    async def main():
        async with gpt_async() as client:
            with Cache(tmp_path / "other") as cache:
                wrapped = wrap(client, cache=cache, namespace="a")
                drawn = await asyncio.gather(*(said_async(wrapped) for _ in range(50)))
                with memollm.namespace("b"):
                    assert {*await asyncio.gather(*(said_async(wrapped) for _ in range(50)))} == {*drawn}

    asyncio.run(main())
