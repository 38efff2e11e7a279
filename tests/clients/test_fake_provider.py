"""The fake provider speaks as the real SDKs expect, counts what it is asked, and fails as planned."""

from __future__ import annotations

import asyncio
import json
import threading

import anthropic
import httpx
import openai
import pydantic
import pytest
from asking import HI, TOOL, chat

from memollm.testing import FakeProvider, ToolUse


@pytest.fixture
def client(gpt):
    """Make OpenAI's client, which tries once."""
    return gpt.with_options(max_retries=0)


@pytest.fixture
def claude(claude):
    """Make Anthropic's client, which tries once."""
    return claude.with_options(max_retries=0)


def message(claude, **options):
    return claude.messages.create(model="m", max_tokens=100, messages=HI, **options)


def streamed_message(claude, **options):
    with claude.messages.stream(model="m", max_tokens=100, messages=HI, **options) as stream:
        return stream.get_final_message()


# What it says.


def test_samples_are_distinct_and_the_same_for_a_seed(client, provider):
    """The k-th answer to a request is another one than those before, and the same in every provider of that seed."""
    texts = [choice.message.content for _ in range(2) for choice in chat(client, n=2).choices]
    assert len({*texts}) == 4
    assert texts == provider.samples
    with FakeProvider() as same:
        again = client.with_options(base_url=same.openai_url)
        assert [chat(again).choices[0].message.content for _ in range(4)] == texts
    with FakeProvider(seed=1) as other:
        again = client.with_options(base_url=other.openai_url)
        assert chat(again).choices[0].message.content not in texts


def test_openai_reads_streams_as_it_reads_answers(client, provider):
    """A stream holds the text, the end and the usage that the plain answer would."""
    chunks = [*chat(client, stream=True, stream_options={"include_usage": True})]
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert provider.samples == [text]
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens == len(text.split())
    pieces = client.completions.create(model="m", prompt=["a", "b"], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == "".join(provider.samples[1:])


def test_openai_reads_responses(client, provider):
    """A response comes as one body and as events, of which the last holds it whole."""
    plain = client.responses.create(model="m", input="hi")
    events = [*client.responses.create(model="m", input="hi", stream=True)]
    assert [plain.output_text, events[-1].response.output_text] == provider.samples
    assert plain.usage.output_tokens == len(plain.output_text.split())
    assert [event.type for event in events][:2] == ["response.created", "response.in_progress"]
    queued = client.responses.create(model="m", input="hi", background=True)
    assert queued.status == "queued"
    assert client.responses.retrieve(queued.id).output_text == provider.samples[2]


def test_anthropic_reads_messages(claude, provider):
    """A message comes as one body, and as events that add up to one."""
    plain, streamed = message(claude), streamed_message(claude)
    assert [plain.content[0].text, streamed.content[0].text] == provider.samples
    assert streamed.usage.output_tokens == len(provider.samples[1].split())


def test_embeddings_are_always_the_same(client):
    """A text has one embedding, whatever it is asked with."""
    one, two = client.embeddings.create(model="m", input=["a", "b"]).data
    assert client.embeddings.create(model="m", input="b").data[0].embedding == pytest.approx(two.embedding)
    assert one.embedding != two.embedding
    assert len(client.embeddings.create(model="m", input="a", dimensions=3).data[0].embedding) == 3


def test_tools_are_called_until_their_results_have_come(client, claude):
    """A tool is asked for with arguments that fit its schema, plain and streamed, and then a text comes."""
    tools = [{"type": "function", "function": TOOL}]
    (call,) = chat(client, tools=tools).choices[0].message.tool_calls
    assert call.function.name == "find"
    assert type(json.loads(call.function.arguments)["x"]) is int
    parts = [chunk.choices[0].delta.tool_calls for chunk in chat(client, tools=tools, stream=True)]
    assert json.loads("".join(part[0].function.arguments for part in parts if part))
    called = [*HI, {"role": "assistant", "tool_calls": [call.model_dump()]}]
    result = {"role": "tool", "tool_call_id": call.id, "content": "7"}
    assert client.chat.completions.create(model="m", messages=[*called, result], tools=tools).choices[0].message.content
    response = client.responses.create(model="m", input="hi", tools=[{"type": "function", **TOOL}])
    assert response.output[0].name == "find"
    events = [*client.responses.create(model="m", input="hi", tools=[{"type": "function", **TOOL}], stream=True)]
    assert events[-1].response.output[0].name == "find"
    asked = {"tools": [{"name": "find", "input_schema": TOOL["parameters"]}]}
    assert type(message(claude, **asked).content[0].input["x"]) is int
    assert type(streamed_message(claude, **asked).content[0].input["x"]) is int


def test_schemas_are_fitted(client):
    """What is to have a schema is parsed into it."""

    class Verdict(pydantic.BaseModel):
        grade: int
        reasons: list[str]

    parsed = client.chat.completions.parse(model="m", messages=HI, response_format=Verdict).choices[0].message.parsed
    assert isinstance(parsed, Verdict)
    assert parsed.reasons
    assert isinstance(client.responses.parse(model="m", input="hi", text_format=Verdict).output_parsed, Verdict)


def test_answers_can_be_said_beforehand(client):
    """A function says what the model says, as text or as the call of a tool."""
    said = iter(["well", ToolUse("find", {"x": 1})])
    with FakeProvider(answer=lambda body, number: next(said)) as provider:
        asked = client.with_options(base_url=provider.openai_url)
        assert chat(asked).choices[0].message.content == "well"
        assert chat(asked).choices[0].message.tool_calls[0].function.name == "find"


# What it counts, and how it fails.


def test_requests_are_logged(client, provider):
    """Each request is there with its body, and with what became of it."""
    with pytest.raises(openai.AuthenticationError):
        chat(client.with_options(api_key="wrong"))
    chat(client)
    [*client.chat.completions.create(model="m", messages=HI, stream=True)]
    with pytest.raises(openai.NotFoundError):
        client.files.list()
    assert [model.id for model in client.models.list()] == ["fake-model"]
    logged = [(asked.method, asked.path, asked.status, asked.is_whole) for asked in provider.requests]
    chat_path = "/v1/chat/completions"
    assert logged[:3] == [
        ("POST", chat_path, 401, False),
        ("POST", chat_path, 200, True),
        ("POST", chat_path, 200, True),
    ]
    assert provider.requests[1].body["messages"] == HI
    assert provider.calls == 2


def test_retries_go_by_what_it_says(client, provider):
    """A limit of rate and an error are sent as planned, and the SDK tries again after the time that it is told."""
    provider.fail(429, retry_after=0.001)
    provider.fail(500, retry_after=0.001)
    assert chat(client.with_options(max_retries=2)).choices[0].message.content
    assert [asked.status for asked in provider.requests] == [429, 500, 200]
    provider.fail(429)
    with pytest.raises(openai.RateLimitError):
        chat(client)


def test_answers_break_as_planned(client, claude, provider):
    """A stream is cut or ends with an error, and a body is cut or is none."""
    provider.cut(after=2)
    # Older SDKs pass on what the library under them raises in the middle of a stream.
    with pytest.raises((openai.APIConnectionError, httpx.RemoteProtocolError)):
        [*chat(client, stream=True)]
    provider.cut()
    with pytest.raises(openai.APIConnectionError):
        chat(client)
    provider.err_in_stream(after=2)
    with pytest.raises(openai.APIError, match="As planned"):
        [*chat(client, stream=True)]
    provider.err_in_stream(after=2)
    with pytest.raises(anthropic.APIStatusError, match="As planned"):
        streamed_message(claude)
    provider.garble()
    assert "gateway" in client.chat.completions.with_raw_response.create(model="m", messages=HI).text
    assert provider.calls == 0


def test_requests_are_held_until_they_may_go_on(provider, gpt_async):
    """What is asked inside the block is counted, and answered when it ends; many at a time."""

    async def main():
        async with gpt_async() as client:
            with provider.held():
                tasks = [asyncio.ensure_future(chat(client)) for _ in range(20)]
                await asyncio.to_thread(provider.wait_for, 20)
                assert not any(task.done() for task in tasks)
            return await asyncio.gather(*tasks)

    assert len({answer.choices[0].message.content for answer in asyncio.run(main())}) == 20


def test_streams_are_held_after_some_events(client, provider):
    """The events before are here while the rest is not."""
    with provider.held(after=2):
        stream = chat(client, stream=True)
        first = [next(stream), next(stream)]
    assert len([*first, *stream]) > 3


def test_a_client_that_leaves_is_noted(provider, client):
    """An answer of which the end was not sent is not counted."""
    with provider.held(after=2):
        stream = chat(client, stream=True)
        next(stream)
        stream.close()
    chat(client)
    assert [asked.is_whole for asked in provider.requests] == [False, True]


def test_closing_breaks_off_what_is_under_way(client):
    """The provider goes away while it is asked, and its thread with it."""
    with FakeProvider() as provider, provider.held():
        failures = []

        def ask():
            try:
                chat(client.with_options(base_url=provider.openai_url))
            except openai.APIConnectionError as error:
                failures.append(error)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        provider.wait_for(1)
        provider.__exit__()
        thread.join(60)
    assert len(failures) == 1
    assert provider.is_closed


def test_waiting_for_requests_that_never_come_ends(provider):
    """A test that waits in vain fails."""
    with pytest.raises(TimeoutError, match="asked 0 times, not 1"):
        provider.wait_for(1, timeout=0.001)
