"""How the tests ask: the same question, with each API, whole and as a stream."""

from __future__ import annotations

HI = [{"role": "user", "content": "hi"}]
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
TOOL = {"name": "find", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}


def chat(client, **options):
    return client.chat.completions.create(model="m", messages=HI, **options)


def text(answer):
    return answer.choices[0].message.content


def said(client, **options):
    return text(chat(client, **options))


def told(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def streamed(client, **options):
    return told(chat(client, **{**USAGE, **options}))


def source(client, **options):
    """Tell where a response came from."""
    return client.chat.completions.with_raw_response.create(model="m", messages=HI, **options).headers["x-memollm"]


def message(client, **options):
    return client.messages.create(model="m", max_tokens=100, messages=HI, **options).content[0].text


def streamed_message(client, **options):
    with client.messages.stream(model="m", max_tokens=100, messages=HI, **options) as stream:
        return stream.get_final_message().content[0].text


async def said_async(client, **options):
    return text(await chat(client, **options))


async def streamed_async(client, **options):
    return told([chunk async for chunk in await chat(client, **{**USAGE, **options})])


async def message_async(client, **options):
    return (await client.messages.create(model="m", max_tokens=100, messages=HI, **options)).content[0].text


async def streamed_message_async(client, **options):
    async with client.messages.stream(model="m", max_tokens=100, messages=HI, **options) as stream:
        return (await stream.get_final_message()).content[0].text
