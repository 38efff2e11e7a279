"""LiteLLM: what its calls answer are samples, told in time and by another task, and a call that fails holds nothing."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import threading

import pytest

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # Else it asks the network as it is imported.
litellm = pytest.importorskip("litellm")

import httpx
from models import PATIENCE, run as run_in_loop, until_in_loop
from traces import found, traces

import memollm
import memollm.http
from memollm import Cache, CacheMiss, OptionError
from memollm.integrations.litellm import LiteLLMCache, material_of

# What LiteLLM does within itself is its own business.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.filterwarnings("error::memollm.MemollmWarning")]

HI = [{"role": "user", "content": "hi"}]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "cache") as made:
        yield made


@pytest.fixture(autouse=True)
def quiet():
    """Have LiteLLM send through clients of ours, which are closed, and leave nothing behind."""
    with httpx.Client() as litellm.client_session:
        yield
    litellm.cache = litellm.client_session = litellm.aclient_session = None
    litellm.in_memory_llm_clients_cache.flush_cache()
    # What LiteLLM leaves open is closed here, where no warning about it counts.
    gc.collect()


def run(main, transport=None):
    """Run a coroutine in a loop, which has a client of its own."""

    async def within():
        async with httpx.AsyncClient(transport=transport) as litellm.aclient_session:
            litellm.in_memory_llm_clients_cache.flush_cache()
            return await main

    return run_in_loop(within())


def asked(provider, **options):
    return {"model": "openai/gpt-4o-mini", "messages": HI, "api_base": provider.openai_url, "api_key": provider.key} | {
        "max_retries": 0,
        **options,
    }


def text(response):
    return response.choices[0].message.content


def said(provider, **options):
    return text(litellm.completion(**asked(provider, **options)))


async def said_async(provider, **options):
    return text(await litellm.acompletion(**asked(provider, **options)))


def told(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


# The cache.


def test_other_caches_are_pools_of_one(cache, provider):
    """With `pool=1` the same call has the same answer, from threads and tasks alike."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    assert len({said(provider), said(provider), run(said_async(provider))}) == 1
    assert said(provider, temperature=0.5) != said(provider)
    assert provider.calls == 2


def test_a_namespace_draws_distinct_answers(cache, provider):
    """P1, P2: in a namespace no answer comes twice, and another reads the same ones for nothing."""
    litellm.cache = LiteLLMCache(cache=cache, namespace="a")

    async def two():
        return [await said_async(provider) for _ in range(2)]

    first = [said(provider), *run(two()), said(provider)]
    with memollm.namespace("b"):
        assert [*run(two()), said(provider), said(provider)] == first
    assert len({*first}) == provider.calls == 4


def test_answers_that_another_task_brings_are_those_of_who_asked(cache, provider):
    """P1, P5: each task's answer goes to its own slot, though LiteLLM tells of it in a task of its own."""
    litellm.cache = LiteLLMCache(cache=cache, namespace="a")

    async def main():
        said = await asyncio.gather(*(said_async(provider) for _ in range(8)))
        await until_in_loop(lambda: len(litellm.cache.door.peek(material_of(asked(provider)))) == 8)
        return said

    answers = run(main())
    with memollm.namespace("b"):
        assert {said(provider) for _ in range(8)} == {*answers}
    assert provider.calls == 8


def test_equal_calls_of_a_pool_of_one_are_made_once(cache, provider):
    """P5: tasks that ask the same wait for the one that asks the model."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)

    async def main():
        return await asyncio.gather(*(said_async(provider) for _ in range(20)))

    assert len({*run(main())}) == provider.calls == 1


def test_a_list_of_messages_that_goes_on_is_kept_as_it_was(cache, provider):
    """P8: LiteLLM tells of an answer later, when the program has gone on with its list of messages."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)

    async def main():
        messages = [*HI]
        first = await said_async(provider, messages=messages)
        messages.append({"role": "assistant", "content": first})
        longer = await said_async(provider, messages=messages)
        while cache.holds().samples < 2:
            # What LiteLLM tells of is told by a task of its own.
            await asyncio.sleep(0)
        return first, longer, await said_async(provider)

    first, longer, again = run(main())
    assert first == again != longer


def test_a_hit_keeps_what_the_answer_took(cache, provider):
    """P11, P14: tokens are told on a hit, too, and counted as saved; a hit is an object of its own."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    paid = litellm.completion(**asked(provider))
    hit = litellm.completion(**asked(provider))
    assert (hit.usage.total_tokens, hit.model, text(hit)) == (paid.usage.total_tokens, paid.model, text(paid))
    hit.choices[0].message.content = "changed"
    assert said(provider) == text(paid)
    total, took = litellm.cache.door.stats().total, paid.usage.prompt_tokens
    assert (total.paid, total.spent.input_tokens, total.saved.input_tokens) == (1, took, 2 * took)


@pytest.mark.parametrize("colour", ["sync", "async"])
@pytest.mark.parametrize("retries", [0, 2])
def test_a_failed_call_is_tried_again(cache, provider, colour, retries):
    """P3: a retry in the same thread or task draws the position that failed, by hand or by LiteLLM."""
    litellm.cache = LiteLLMCache(cache=cache, namespace="a")
    provider.fail(500, times=1)
    ask = {"sync": lambda: said(provider, num_retries=retries), "async": lambda: run(twice())}[colour]

    async def twice():
        try:
            return await said_async(provider, num_retries=retries)
        except litellm.InternalServerError:
            return await said_async(provider)

    try:
        first = ask()
    except litellm.InternalServerError:
        first = ask()
    with memollm.namespace("b"):
        assert [said(provider), said(provider)] == [first, provider.requests[-1].samples[0]]
    with memollm.namespace("a"):
        assert said(provider) == provider.requests[-1].samples[0]


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_a_failed_call_holds_nothing(cache, provider, colour):
    """P3: the position goes back before the error is raised, to whoever asks next."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    provider.fail(500, times=1)
    with pytest.raises(litellm.InternalServerError):
        said(provider) if colour == "sync" else run(said_async(provider))
    heard = []
    thread = threading.Thread(target=lambda: heard.append(said(provider)))
    thread.start()
    thread.join(PATIENCE)
    assert heard == [said(provider)]


@pytest.mark.parametrize("ends", [True, False])
def test_a_call_that_is_cancelled_holds_nothing(cache, provider, ends):
    """P3: of a cancelled call LiteLLM tells nobody; the task's next call, or its end, lets go of the slot."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)

    async def main():
        with provider.held():
            cancelled = asyncio.Event()

            async def gives_up():
                try:
                    await said_async(provider)
                except asyncio.CancelledError:
                    asyncio.current_task().uncancel()
                    cancelled.set()
                    return None if ends else await said_async(provider)

            task = asyncio.create_task(gives_up())
            await until_in_loop(lambda: provider.requests)
            task.cancel()
            await cancelled.wait()
            if not ends:
                await until_in_loop(lambda: len(provider.requests) == 2)
        await task
        return await said_async(provider)

    assert run(main()) == said(provider)


def test_streams_are_kept_whole_and_replayed(cache, provider):
    """A stream is kept at its end, and serves who asks for the whole; one that is left stores nothing."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    first = told(litellm.completion(**asked(provider, stream=True)))
    assert [said(provider), told(litellm.completion(**asked(provider, stream=True)))] == [first, first]

    async def main():
        stream = await litellm.acompletion(**asked(provider, stream=True))
        return told([chunk async for chunk in stream])

    assert run(main()) == first
    assert provider.calls == 1


def test_embeddings_are_made_once_for_each_text(cache, provider):
    """P4: in tasks each text of a list is a call of its own; in threads the list is."""
    litellm.cache = LiteLLMCache(cache=cache, namespace="a")
    model = {"model": "openai/text-embedding-3-small", "api_base": provider.openai_url, "api_key": provider.key}

    async def main():
        first = await litellm.aembedding(**model, input=["a", "b"])
        await until_in_loop(lambda: litellm.cache._door(None, embeds=True).stats().total.paid == 2)
        more = await litellm.aembedding(**model, input=["b", "c"])
        return [each["embedding"] for each in first.data], [each["embedding"] for each in more.data]

    (_, b), (again, _) = run(main())
    assert b == again
    assert provider.requests[-1].body["input"] == ["c"]
    lists = [litellm.embedding(**model, input=["a", "b"]).data[1]["embedding"] for _ in range(2)]
    assert lists == [b, b]
    assert provider.calls == 3


def test_offline_asks_no_model(cache, provider):
    """A miss where nothing may be called is an error that LiteLLM lets through, and does not retry."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    said(provider)
    with memollm.mode("offline"):
        assert run(said_async(provider)) == said(provider)
        with pytest.raises(CacheMiss):
            said(provider, temperature=0.5, num_retries=2)
        with pytest.raises(CacheMiss):
            run(said_async(provider, temperature=0.5, num_retries=2))
    assert provider.calls == 1


def test_what_one_call_says_of_its_caching_holds(cache, provider):
    """LiteLLM's own words for one call: no-store keeps nothing, no-cache asks the model, an age is a limit."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    said(provider, cache={"no-store": True})
    first = said(provider)
    assert first != said(provider, cache={"no-cache": True})
    assert first == said(provider, cache={"s-maxage": 3600})
    assert provider.calls == 3


@pytest.mark.parametrize(
    ("given", "counts"),
    [
        ({"top_x": 3}, True),
        ({"api_base": "http://elsewhere/v1"}, True),
        ({"extra_headers": {"anthropic-beta": "x"}}, True),
        ({"extra_headers": {"authorization": "sk-secret"}}, False),
        ({"api_key": "sk-secret"}, False),
        ({"user": "ann"}, False),
        ({"stream": True, "timeout": 3, "num_retries": 2, "metadata": {"run": 7}}, False),
        ({"temperature": None}, False),
    ],
)
def test_what_counts_of_a_call(given, counts):
    """P8: all that is sent to the model counts, also what LiteLLM leaves out of its keys; no secret does."""
    plain = {"model": "m", "messages": HI}
    assert (material_of({**plain, **given}) != material_of(plain)) == counts


def test_conversations_of_any_length_are_kept(cache, provider):
    """LiteLLM's own limit of four messages does not hold here."""
    litellm.cache = LiteLLMCache(cache=cache, pool=1)
    assert said(provider, messages=HI * 9) == said(provider, messages=HI * 9)


def test_a_misspelt_option_is_refused(cache):
    """Options are those of a door."""
    with pytest.raises(OptionError, match="pool"):
        LiteLLMCache(cache=cache, pol=1)


@pytest.mark.parametrize("way", ["cache", "transport"])
def test_no_secret_is_kept(tmp_path, provider, way, caplog):
    """No key and no header is in the cache, an export, a report or the log; through the transport neither."""
    caplog.set_level(logging.DEBUG, logger="memollm")
    through = None
    with Cache(tmp_path / "secret") as kept:
        if way == "cache":
            litellm.cache = LiteLLMCache(cache=kept, namespace="a")
        else:
            options = {"cache": kept, "namespace": "a"}
            litellm.client_session = httpx.Client(transport=memollm.http.Transport(httpx.HTTPTransport(), **options))
            through = memollm.http.AsyncTransport(httpx.AsyncHTTPTransport(), **options)
        marked = {"extra_headers": {"x-secret": "MARKER-header", "Cookie": "MARKER-cookie"}}
        answers = [said(provider, **marked), run(said_async(provider, **marked), through)]
        with memollm.mode("offline"), pytest.raises(Exception, match=r"Nothing is stored|calls nothing") as miss:
            said(provider, temperature=0.5, **marked)
        left = traces(kept, tmp_path, miss.value, caplog.text)
    litellm.client_session.close()
    assert len(found(left, *answers)) >= 4
    assert found(left, provider.key, "MARKER") == []


# The transport.


def test_through_the_transport_offline_holds_for_all(cache, provider):
    """Offline: nothing is sent whatever LiteLLM's own switches say, and the miss is told in the error."""
    options = {"cache": cache, "namespace": "a"}
    litellm.client_session = httpx.Client(transport=memollm.http.Transport(httpx.HTTPTransport(), **options))

    def through(**given):
        return run(said_async(provider, **given), memollm.http.AsyncTransport(httpx.AsyncHTTPTransport(), **options))

    first = [said(provider), through()]
    with memollm.namespace("b"), memollm.mode("offline"):
        assert [said(provider), through()] == first
        for ask in (lambda **given: said(provider, **given), through):
            with pytest.raises(Exception, match="Nothing is stored") as refused:
                ask(caching=False, temperature=0.5)
            assert isinstance(refused.value, CacheMiss | litellm.InternalServerError)
    assert len({*first}) == provider.calls == 2
    litellm.client_session.close()
