"""Streams of a wrapped client: live as they come, replayed event by event, and the same samples as whole answers."""

from __future__ import annotations

import asyncio

import openai
import pytest
from asking import HI, TOOL, USAGE, chat, message, said, said_async, streamed, streamed_async, streamed_message, told

import memollm
from memollm import wrap
from memollm.http.endpoints import KNOWN
from memollm.http.events import data_of
from memollm.http.speech import body_from, events_from
from memollm.testing import FakeProvider
from memollm.testing._provider.dialects import DIALECTS
from memollm.testing._provider.replies import Reply, ToolUse


def test_streams_are_passed_on_as_they_come(gpt, cache, provider):
    """The first events are here before the last ones are made."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    with provider.held(after=2):
        stream = chat(gpt, **USAGE)
        first = [next(stream), next(stream)]
    assert told([*first, *stream]) == provider.samples[0]


def test_streams_are_replayed_event_by_event(gpt, claude, cache, provider):
    """Another namespace gets the events that the first got, and pays for none."""
    gpt, claude = wrap(gpt, cache=cache), wrap(claude, cache=cache)

    def messages():
        with claude.messages.stream(model="m", max_tokens=100, messages=HI) as stream:
            return [event.model_dump() for event in stream]

    for events in (
        lambda: [*chat(gpt, stream=True)],
        lambda: [*chat(gpt, **USAGE)],
        lambda: [*gpt.completions.create(model="m", prompt="x", **USAGE)],
        lambda: [*gpt.responses.create(model="m", input="hi", stream=True)],
        messages,
    ):
        before = provider.calls
        with memollm.namespace("a"):
            live = [events(), events()]
        with memollm.namespace("b"):
            assert [events(), events()] == live
        assert live[0] != live[1]
        assert provider.calls == before + 2


def test_one_answer_serves_whole_and_streamed(gpt, claude, cache, provider):
    """Where a stream tells all that an answer does, both are samples of one call, in one order."""
    gpt, claude = wrap(gpt, cache=cache), wrap(claude, cache=cache)

    def response(**options):
        return gpt.responses.create(model="m", input="hi", **options)

    def responded():
        return [*response(stream=True)][-1].response.output_text

    for whole, stream in (
        (lambda: said(gpt), lambda: streamed(gpt)),
        (lambda: message(claude), lambda: streamed_message(claude)),
        (lambda: response().output_text, responded),
    ):
        before = len(provider.samples)
        with memollm.namespace("a"):
            drawn = [whole(), stream(), whole(), stream()]
        assert drawn == provider.samples[before:]
        with memollm.namespace("b"):
            assert [stream(), whole(), stream(), whole()] == drawn
        assert len(provider.samples) == before + 4


def test_a_stream_without_usage_is_a_call_of_its_own(gpt, cache, provider):
    """It could not serve who asks for a whole answer, which has usage."""
    gpt = wrap(gpt, cache=cache, pool=1)
    assert told(chat(gpt, stream=True)) == provider.samples[0]
    assert said(gpt) == streamed(gpt) == provider.samples[1]
    assert chat(gpt).usage.total_tokens > 0


def test_tools_are_told_in_both_forms(gpt, claude, cache, provider):
    """A call of a tool that was streamed can be had whole, and the other way round."""
    gpt, claude = wrap(gpt, cache=cache, pool=1), wrap(claude, cache=cache, pool=1)
    tools = [{"type": "function", "function": TOOL}]
    with memollm.namespace("a"):
        parts = [chunk.choices[0].delta.tool_calls for chunk in chat(gpt, tools=tools, **USAGE) if chunk.choices]
    arguments = "".join(part[0].function.arguments for part in parts if part)
    assert chat(gpt, tools=tools).choices[0].message.tool_calls[0].function.arguments == arguments
    tools = [{"name": "find", "input_schema": TOOL["parameters"]}]
    whole = claude.messages.create(model="m", max_tokens=9, messages=HI, tools=tools)
    with claude.messages.stream(model="m", max_tokens=9, messages=HI, tools=tools) as stream:
        assert stream.get_final_message().content[0].input == whole.content[0].input
    assert provider.calls == 2


def test_a_stream_that_is_left_gives_its_position_back(gpt, cache, provider):
    """P3: nothing of it is stored, and the next one is the namespace's first."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    with provider.held(after=2):
        stream = chat(gpt, **USAGE)
        next(stream)
        stream.close()
    assert streamed(gpt) == provider.samples[1]
    with memollm.namespace("b"):
        assert streamed(gpt) == provider.samples[1]


@pytest.mark.parametrize("read", [0, 1, 2])
def test_a_stored_answer_that_is_left_as_a_stream_is_given_again(gpt, claude, cache, provider, read):
    """P3: also where it was stored whole, and where nothing of it was read."""
    gpt, claude = wrap(gpt, cache=cache), wrap(claude, cache=cache)
    for whole, stream in (
        (lambda: said(gpt), lambda: chat(gpt, **USAGE)),
        (lambda: message(claude), lambda: claude.messages.create(model="m", max_tokens=100, messages=HI, stream=True)),
    ):
        with memollm.namespace("a"):
            stored = whole()
        with memollm.namespace("b"):
            left = stream()
            for _ in range(read):
                next(left)
            left.close()
            assert whole() == stored
    assert provider.calls == 2


def test_a_stored_answer_that_is_left_in_a_task_is_given_again(gpt_async, cache, provider):
    """P3: the very next draw gets it."""

    async def main():
        async with gpt_async() as plain:
            client = wrap(plain, cache=cache)
            with memollm.namespace("a"):
                stored = await said_async(client)
            with memollm.namespace("b"):
                for read in range(3):
                    left = await chat(client, **USAGE)
                    for _ in range(read):
                        await anext(left)
                    await left.close()
                assert await streamed_async(client) == stored

    asyncio.run(main())
    assert provider.calls == 1


def test_a_stream_is_stored_when_its_reader_knows_its_end(gpt, cache, provider):
    """SDKs stop reading at the end mark, whatever comes after it; who reads on from there has another sample."""
    gpt = wrap(gpt, cache=cache, namespace="a")
    seen = [streamed(gpt) for _ in range(3)]
    assert seen == provider.samples
    with memollm.replay("a"):
        assert [streamed(gpt) for _ in range(3)] == seen


def test_async_streams_are_the_same(gpt, gpt_async, cache, provider):
    """Live, left, replayed and shared with the plain client; many at a time."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, namespace="a")
            with provider.held(after=2):
                stream = await chat(wrapped, **USAGE)
                await anext(stream)
                await stream.close()
            return await asyncio.gather(*(streamed_async(wrapped) for _ in range(5)))

    drawn = asyncio.run(main())
    assert sorted(drawn) == sorted(provider.samples[1:])
    with memollm.namespace("b"):
        assert {streamed(wrap(gpt, cache=cache)) for _ in range(5)} == {*drawn}


def test_async_readers_of_one_stream_wait_for_it(gpt_async, cache, provider):
    """P5: a second reader replays what the first has got."""

    async def main():
        async with gpt_async() as client:
            wrapped = wrap(client, cache=cache, pool=1)
            return await asyncio.gather(*(streamed_async(wrapped) for _ in range(5)))

    assert {*asyncio.run(main())} == {*provider.samples}
    assert provider.calls == 1


def test_what_a_stream_used_is_counted(gpt, claude, cache, provider):
    """Each stream's usage counts once, in both forms of events."""
    with memollm.track() as tracked:
        streamed(wrap(gpt, cache=cache, pool=1))
        streamed_message(wrap(claude, cache=cache, pool=1))
    assert tracked.spent.output_tokens == sum(len(sample.split()) for sample in provider.samples)


# One answer in two forms.

REPLIES = {
    "a text": Reply("1", "kelp iris amber"),
    "a tool": Reply("1", "", (ToolUse("find", {"x": [1, {"y": "z"}]}),)),
    "two tools": Reply("1", "well", (ToolUse("find", {"x": 1}), ToolUse("find", {}))),
}


@pytest.mark.parametrize("reply", REPLIES.values(), ids=REPLIES)
@pytest.mark.parametrize("name", ["chat.completions", "completions", "responses", "messages"])
def test_events_add_up_to_the_body_and_tell_of_it(name, reply):
    """What a provider streams adds up to what it would have answered, and so do the events that are made of that."""
    endpoint = next(endpoint for endpoint in KNOWN if endpoint.name == name)
    dialect = next(dialect for dialect in DIALECTS if dialect.path == endpoint.path)
    request = {"model": "m", "messages": HI, **USAGE}
    body = dialect.body(request, [reply])
    body.pop("service_tier", None)
    if name == "chat.completions" and reply.tools:
        body["choices"][0]["message"].setdefault("content", None)
    streamed_body = body_from([data for _, data in dialect.events(request, [reply])], endpoint)
    remade = body_from([data_of(event) for event in events_from(body, endpoint, wants_usage=True)], endpoint)
    assert slim(streamed_body) == slim(body)
    assert slim(remade) == slim(body)


def slim(value):
    """Leave out what says nothing."""
    if isinstance(value, dict):
        return {name: slim(part) for name, part in value.items() if part is not None}
    return [slim(part) for part in value] if isinstance(value, list) else value


def test_thoughts_and_citations_are_told_in_both_forms():
    """Anthropic's other blocks keep their text, their signature and what they cite."""
    endpoint = KNOWN[-1]
    blocks = [
        {"type": "thinking", "thinking": "Hm.", "signature": "s"},
        {"type": "text", "text": "Hello", "citations": [{"type": "char_location", "cited_text": "x"}]},
        {"type": "redacted_thinking", "data": "d"},
    ]
    body = {"id": "m", "type": "message", "content": blocks, "stop_reason": "end_turn", "usage": {"output_tokens": 3}}
    events = [data_of(event) for event in events_from(body, endpoint, wants_usage=False)]
    assert slim(body_from(events, endpoint)) == body


def test_the_real_sdks_read_what_is_retold(cache):
    """Events that are made of a stored body pass the SDK's own accumulation."""
    with FakeProvider() as provider, openai.OpenAI(base_url=provider.openai_url, api_key=provider.key) as client:
        gpt = wrap(client, cache=cache, pool=1)
        whole = gpt.responses.create(model="m", input="hi")
        with gpt.responses.stream(model="m", input="hi") as stream:
            assert stream.get_final_response().output_text == whole.output_text
        with gpt.chat.completions.stream(model="m", messages=HI, stream_options={"include_usage": True}) as stream:
            parsed = stream.get_final_completion()
        assert said(gpt) == parsed.choices[0].message.content
        assert provider.calls == 2
