"""What goes wrong with a provider: nothing is stored, the position is free, and the SDK does as it always does."""

from __future__ import annotations

import asyncio
import logging

import anthropic
import httpx
import httpx2
import openai
import pytest
from asking import (
    USAGE,
    chat,
    message,
    message_async,
    said,
    said_async,
    streamed,
    streamed_async,
    streamed_message,
    streamed_message_async,
)
from traces import found, traces

import memollm
from memollm import wrap
from memollm.http import Transport
from memollm.stores.looking import looking

BROKEN = (openai.APIConnectionError, httpx.RemoteProtocolError)
"""Older SDKs pass on what the library under them raises in the middle of a stream."""
MARK = "sk-ant-MARK0123456789abcdefMARK"


def kept(cache):
    """Return how many samples are stored."""
    return sum(item.samples for item in looking(cache.store).inventory())


@pytest.mark.parametrize("ask", [said, streamed])
def test_an_error_is_retried_and_not_stored(gpt, cache, provider, ask):
    """P3: a limit of rate and an error pass to the SDK, which waits as it is told; the answer has their position."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    provider.fail(429, retry_after=0.001)
    provider.fail(500, retry_after=0.001)
    assert ask(gpt) == provider.samples[0]
    assert [asked.status for asked in provider.requests] == [429, 500, 200]
    provider.fail(429)
    with pytest.raises(openai.RateLimitError):
        ask(gpt.with_options(max_retries=0))
    with memollm.namespace("b"):
        assert ask(gpt) == provider.samples[0]
    assert kept(cache) == 1


def test_the_same_holds_for_anthropic_and_for_tasks(claude, gpt_async, cache, provider):
    """Of every SDK, in every colour."""
    provider.fail(529 - 100, retry_after=0.001)
    assert message(wrap(claude, cache=cache, namespace="a")) == provider.samples[0]

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            provider.fail(429, retry_after=0.001)
            provider.fail(503, retry_after=0.001)
            return await asyncio.gather(said_async(wrapped), streamed_async(wrapped))

    assert sorted(asyncio.run(main())) == sorted(provider.samples[1:])


def test_a_broken_body_is_not_stored(gpt, cache, provider):
    """A connection that breaks is the SDK's to retry; what is no answer is passed on."""
    gpt = wrap(gpt, cache=cache, namespace="a").with_options(max_retries=0)
    provider.cut()
    with pytest.raises(openai.APIConnectionError):
        said(gpt)
    provider.garble()
    assert "gateway" in gpt.chat.completions.with_raw_response.create(model="m", messages=[]).text
    assert kept(cache) == 0
    assert said(gpt) == provider.samples[-1]
    with memollm.namespace("b"):
        assert said(gpt) == provider.samples[-1]


def test_a_broken_stream_is_not_stored(gpt, claude, cache, provider):
    """It breaks for its reader as without memollm, and the next one takes its position."""
    gpt, claude = wrap(gpt, cache=cache, namespace="a"), wrap(claude, cache=cache, namespace="a")
    provider.cut(after=2)
    with pytest.raises(BROKEN):
        streamed(gpt)
    provider.err_in_stream(after=2)
    with pytest.raises(openai.APIError, match="As planned"):
        streamed(gpt)
    provider.err_in_stream(after=2)
    with pytest.raises(anthropic.APIStatusError, match="As planned"):
        streamed_message(claude)
    assert kept(cache) == 0
    assert (streamed(gpt), streamed_message(claude)) == (*provider.samples[-2:],)


def test_async_streams_break_the_same(gpt_async, cache, provider):
    """P3: in a task, too."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            provider.cut(after=2)
            with pytest.raises(BROKEN):
                await streamed_async(wrapped)
            return await streamed_async(wrapped)

    assert asyncio.run(main()) == provider.samples[1]


@pytest.mark.parametrize(
    ("path", "events"),
    [
        ("chat/completions", ['data: {"choices":[]}\n\n']),
        ("messages", ['event: message_start\ndata: {"type":"message_start","message":{}}\n\n']),
        ("responses", ['data: {"type":"response.failed"}\n\n', 'data: {"type":"response.completed"}\n\n']),
        ("chat/completions", ['data: {"error":{}}\n\n', 'data: {"error":{"code":1}}\n\n', "data: [DONE]\n\n"]),
    ],
)
def test_a_stream_that_ends_without_its_mark_is_not_stored(cache, path, events):
    """Its reader gets what there is, and the next one asks again; so it is where it has told of an error."""
    asked = []

    def answer(_):
        asked.append(1)
        return httpx2.Response(200, headers={"content-type": "text/event-stream"}, content="".join(events))

    with httpx2.Client(transport=Transport(httpx2.MockTransport(answer), cache=cache, pool=1)) as client:
        told = [client.post(f"http://x/v1/{path}", json={"x": 1, "stream": True}).text for _ in range(2)]
    assert told == ["".join(events)] * 2
    assert len(asked) == 2


def test_an_answer_that_is_not_final_is_not_stored(cache):
    """A response in progress is given, and asked for again."""
    statuses = ["in_progress", "queued", "failed", "completed"]
    asked = iter(statuses)
    provider = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"status": next(asked)}))
    with httpx2.Client(transport=Transport(provider, cache=cache, pool=1)) as client:
        told = [client.post("http://x/v1/responses", json={"input": "hi"}).json()["status"] for _ in range(6)]
    assert told == [*statuses, "completed", "completed"]


def test_an_error_inside_an_answer_is_not_stored(cache):
    """Some gateways say with status 200 that they have failed."""
    bodies = iter([{"error": {"message": "no"}}, [1], {"choices": []}])
    provider = httpx2.MockTransport(lambda _: httpx2.Response(200, json=next(bodies)))
    with httpx2.Client(transport=Transport(provider, cache=cache, pool=1)) as client:
        told = [client.post("http://x/v1/completions", json={"prompt": "hi"}).json() for _ in range(4)]
    assert told == [{"error": {"message": "no"}}, [1], {"choices": []}, {"choices": []}]


MARKED = {"api_key": MARK, "default_headers": {"X-Secret": MARK, "Cookie": MARK}, "default_query": {"key": MARK}}
SAID = ("kelp", "jade")
"""Words that the provider's answers are made of, which must be found."""


def with_password(provider):
    """Let everybody in, and return the address with a password in it."""
    provider.key = None
    return provider.openai_url.replace("://", f"://user:{MARK}@")


def test_no_key_and_no_header_is_written(provider, gpt, claude, cache, tmp_path, caplog):  # noqa: PLR0917
    """Not in the file, an export, the report, the statistics, a listing, an error or the log, wherever it was given."""
    caplog.set_level(logging.DEBUG, logger="memollm")
    gpt = wrap(gpt, cache=cache, namespace="a").with_options(base_url=with_password(provider), **MARKED)
    claude = wrap(claude, cache=cache, namespace="a").with_options(**MARKED)
    said(gpt), streamed(gpt), [*chat(gpt, stream=True)], message(claude), chat(gpt, n=2), streamed_message(claude)
    provider.fail(500, times=3, retry_after=0.001)
    with pytest.raises(openai.InternalServerError):
        said(gpt, temperature=0)
    with pytest.raises(memollm.CacheMiss) as miss, memollm.mode("offline"):
        said(gpt, temperature=0.5)
    raw = gpt.chat.completions.with_raw_response.create(model="m", messages=[])
    told = (raw.http_response.extensions["memollm"], wrap(gpt, cache=cache), Transport(cache=cache))
    left = traces(cache, tmp_path, miss.value, caplog.text, *told)
    assert len(found(left, *SAID)) >= 2
    assert found(left, MARK, "X-Secret") == []


def test_no_key_and_no_header_of_tasks_is_written(provider, gpt_async, claude_async, cache, tmp_path, caplog):  # noqa: PLR0917
    """Nor of the async clients."""
    caplog.set_level(logging.DEBUG, logger="memollm")

    async def main():
        async with gpt_async() as plain, claude_async() as other:
            url = with_password(provider)
            gpt = wrap(plain, cache=cache, namespace="a").with_options(base_url=url, **MARKED)
            claude = wrap(other, cache=cache, namespace="a").with_options(**MARKED)
            await asyncio.gather(said_async(gpt), streamed_async(gpt), chat(gpt, n=2), message_async(claude))
            await streamed_message_async(claude)
            provider.fail(500, times=3, retry_after=0.001)
            with pytest.raises(anthropic.InternalServerError):
                await message_async(claude, stop_sequences=["x"])
            with pytest.raises(memollm.CacheMiss) as miss, memollm.mode("offline"):
                await message_async(claude, stop_sequences=["y"])
            return miss.value

    left = traces(cache, tmp_path, asyncio.run(main()), caplog.text)
    assert len(found(left, *SAID)) >= 2
    assert found(left, MARK, "X-Secret") == []


def test_usage_of_streams_left_early_is_not_counted_as_paid(gpt, cache, provider):
    """What was left has no answer; the statistics say so."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    with memollm.track() as tracked, provider.held(after=2):
        stream = chat(gpt, **USAGE)
        next(stream)
        stream.close()
    assert (tracked.paid, tracked.draws) == (0, [])
