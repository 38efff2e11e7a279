"""How the APIs of providers say an answer: as one body, and as the events of a stream."""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm.testing._provider.replies import dict_of, list_of, tokens_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memollm.testing._provider.replies import Reply

CREATED: Final = 1_750_000_000
DIMENSIONS: Final = 8
Event = tuple[str | None, dict[str, Any] | str]
"""The name of an event, where its API gives one, and its data."""


class Dialect(NamedTuple):
    """One API: the end of its path, and how it says what the model replies."""

    path: str
    body: Callable[[dict[str, Any], Sequence[Reply]], dict[str, Any]]
    events: Callable[[dict[str, Any], Sequence[Reply]], Iterator[Event]] | None
    is_anthropic: bool = False


def _tokens_in(body: dict[str, Any]) -> int:
    asked = [body.get(name) for name in ("system", "instructions", "messages", "input", "prompt", "tools")]
    return tokens_of(json.dumps([part for part in asked if part is not None]))


def _chat_usage(body: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    given, made = _tokens_in(body), sum(reply.tokens for reply in replies)
    return {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def _model(body: dict[str, Any]) -> str:
    return str(body.get("model") or "fake-model")


# Chat completions.


def _chat_head(body: dict[str, Any], replies: Sequence[Reply], kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{replies[0].id}", "object": kind, "created": CREATED, "model": _model(body)}


def _chat_tools(reply: Reply) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call_{reply.id}_{index}",
            "type": "function",
            "function": {"name": tool.name, "arguments": json.dumps(tool.arguments)},
        }
        for index, tool in enumerate(reply.tools)
    ]


def _chat_end(reply: Reply) -> str:
    return "tool_calls" if reply.tools else "stop"


def chat_body(body: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    """Say replies as a chat completion."""
    choices: list[dict[str, Any]] = []
    for index, reply in enumerate(replies):
        message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
        if reply.tools:
            message["tool_calls"] = _chat_tools(reply)
        choices.append({"index": index, "message": message, "logprobs": None, "finish_reason": _chat_end(reply)})
    head = _chat_head(body, replies, "chat.completion")
    return {**head, "choices": choices, "usage": _chat_usage(body, replies), "service_tier": "default"}


def chat_events(body: dict[str, Any], replies: Sequence[Reply]) -> Iterator[Event]:
    """Say replies as chunks of a chat completion."""
    head = _chat_head(body, replies, "chat.completion.chunk")
    wants_usage = bool(dict_of(body.get("stream_options")).get("include_usage"))
    if wants_usage:
        head["usage"] = None

    def chunk(index: int, delta: dict[str, Any], end: str | None = None) -> Event:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": end}
        return None, {**head, "choices": [choice]}

    for index, reply in enumerate(replies):
        yield chunk(index, {"role": "assistant", "content": "" if reply.text else None})
        for piece in reply.pieces if reply.text else ():
            yield chunk(index, {"content": piece})
        for place, tool in enumerate(_chat_tools(reply)):
            begun = {**tool, "index": place, "function": {**tool["function"], "arguments": ""}}
            yield chunk(index, {"tool_calls": [begun]})
            for part in _halves(tool["function"]["arguments"]):
                yield chunk(index, {"tool_calls": [{"index": place, "function": {"arguments": part}}]})
        yield chunk(index, {}, _chat_end(reply))
    if wants_usage:
        yield None, {**head, "choices": [], "usage": _chat_usage(body, replies)}
    yield None, "[DONE]"


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


# Legacy completions.


def completion_body(body: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    """Say replies as a legacy completion."""
    choices = [
        {"index": index, "text": reply.text, "logprobs": None, "finish_reason": "stop"}
        for index, reply in enumerate(replies)
    ]
    return {**_completion_head(body, replies), "choices": choices, "usage": _chat_usage(body, replies)}


def _completion_head(body: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    return {"id": f"cmpl-{replies[0].id}", "object": "text_completion", "created": CREATED, "model": _model(body)}


def completion_events(body: dict[str, Any], replies: Sequence[Reply]) -> Iterator[Event]:
    """Say replies as chunks of a legacy completion."""
    head = _completion_head(body, replies)
    for index, reply in enumerate(replies):
        for piece in reply.pieces:
            choice = {"index": index, "text": piece, "logprobs": None, "finish_reason": None}
            yield None, {**head, "choices": [choice]}
        yield None, {**head, "choices": [{"index": index, "text": "", "logprobs": None, "finish_reason": "stop"}]}
    if dict_of(body.get("stream_options")).get("include_usage"):
        yield None, {**head, "choices": [], "usage": _chat_usage(body, replies)}
    yield None, "[DONE]"


# Responses.


def response_body(body: dict[str, Any], replies: Sequence[Reply], status: str = "completed") -> dict[str, Any]:
    """Say a reply as a response."""
    (reply,) = replies
    given, is_done = _tokens_in(body), status == "completed"
    usage = {
        "input_tokens": given,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": reply.tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": given + reply.tokens,
    }
    return {
        "id": f"resp_{reply.id}",
        "object": "response",
        "created_at": CREATED,
        "status": status,
        "background": bool(body.get("background")),
        "error": None,
        "incomplete_details": None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "model": _model(body),
        "output": _response_items(reply) if is_done else [],
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "usage": usage if is_done else None,
        "metadata": body.get("metadata") or {},
    }


def _response_items(reply: Reply) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = [
        {
            "id": f"fc_{reply.id}_{index}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{reply.id}_{index}",
            "name": tool.name,
            "arguments": json.dumps(tool.arguments),
        }
        for index, tool in enumerate(reply.tools)
    ]
    if reply.text:
        part: dict[str, Any] = {"type": "output_text", "text": reply.text, "annotations": []}
        message = {"id": f"msg_{reply.id}", "type": "message", "role": "assistant", "status": "completed"}
        items.append({**message, "content": [part]})
    return items


def response_events(body: dict[str, Any], replies: Sequence[Reply]) -> Iterator[Event]:
    """Say a reply as the events of a response."""
    for number, (name, data) in enumerate(_response_events(body, replies)):
        yield name, {"type": name, "sequence_number": number, **data}


def _response_events(body: dict[str, Any], replies: Sequence[Reply]) -> Iterator[tuple[str, dict[str, Any]]]:
    (reply,) = replies
    whole = response_body(body, replies)
    begun = response_body(body, replies, "in_progress")
    yield "response.created", {"response": begun}
    yield "response.in_progress", {"response": begun}
    for index, item in enumerate(whole["output"]):
        is_text = item["type"] == "message"
        empty: dict[str, Any] = {"content": []} if is_text else {"arguments": ""}
        yield "response.output_item.added", {"output_index": index, "item": {**item, "status": "in_progress", **empty}}
        yield from _text_events(reply, item, index) if is_text else _tool_events(item, index)
        yield "response.output_item.done", {"output_index": index, "item": item}
    yield "response.completed", {"response": whole}


def _text_events(reply: Reply, item: dict[str, Any], index: int) -> Iterator[tuple[str, dict[str, Any]]]:
    place = {"item_id": item["id"], "output_index": index, "content_index": 0}
    part = item["content"][0]
    yield "response.content_part.added", {**place, "part": {**part, "text": ""}}
    for piece in reply.pieces:
        yield "response.output_text.delta", {**place, "delta": piece, "logprobs": []}
    yield "response.output_text.done", {**place, "text": reply.text, "logprobs": []}
    yield "response.content_part.done", {**place, "part": part}


def _tool_events(item: dict[str, Any], index: int) -> Iterator[tuple[str, dict[str, Any]]]:
    place = {"item_id": item["id"], "output_index": index}
    for part in _halves(item["arguments"]):
        yield "response.function_call_arguments.delta", {**place, "delta": part}
    yield "response.function_call_arguments.done", {**place, "name": item["name"], "arguments": item["arguments"]}


# Embeddings.


def embedding_body(body: dict[str, Any], _: Sequence[Reply]) -> dict[str, Any]:
    """Say what each input is embedded as: always the same for the same text."""
    given = body.get("input", "")
    is_one = isinstance(given, str) or isinstance(given[0], int)
    inputs = [given] if is_one else list_of(given)
    as_text = body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _embedded(json.dumps(each), body, as_text=as_text)}
        for index, each in enumerate(inputs)
    ]
    tokens = sum(tokens_of(each if isinstance(each, str) else " ".join(map(str, each))) for each in inputs)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": _model(body), "usage": usage}


def _embedded(text: str, body: dict[str, Any], *, as_text: bool) -> list[float] | str:
    dimensions = body.get("dimensions") or DIMENSIONS
    raw = hashlib.shake_256(f"{_model(body)} {text}".encode()).digest(2 * dimensions)
    numbers = [number / 32768 for number in struct.unpack(f"<{dimensions}h", raw)]
    if not as_text:
        return numbers
    return base64.b64encode(struct.pack(f"<{dimensions}f", *numbers)).decode()


# Anthropic's messages.


def message_body(body: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
    """Say a reply as a message."""
    (reply,) = replies
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text}] if reply.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{reply.id}_{index}", "name": tool.name, "input": tool.arguments}
        for index, tool in enumerate(reply.tools)
    ]
    usage = {
        "input_tokens": _tokens_in(body),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": reply.tokens,
        "service_tier": "standard",
    }
    head = {"id": f"msg_{reply.id}", "type": "message", "role": "assistant", "model": _model(body)}
    end = {"stop_reason": "tool_use" if reply.tools else "end_turn", "stop_sequence": None}
    return {**head, "content": content, **end, "usage": usage}


def message_events(body: dict[str, Any], replies: Sequence[Reply]) -> Iterator[Event]:
    """Say a reply as the events of a message."""
    whole = message_body(body, replies)
    usage = {**whole["usage"], "output_tokens": 1}
    begun: dict[str, Any] = {**whole, "content": [], "stop_reason": None, "usage": usage}
    yield "message_start", {"type": "message_start", "message": begun}
    for index, block in enumerate(whole["content"]):
        is_text = block["type"] == "text"
        empty: dict[str, Any] = {**block, "text": ""} if is_text else {**block, "input": {}}
        yield "content_block_start", {"type": "content_block_start", "index": index, "content_block": empty}
        if index == 0:
            yield "ping", {"type": "ping"}
        pieces = replies[0].pieces if is_text else _halves(json.dumps(block["input"]))
        for piece in pieces:
            delta = {"type": "text_delta", "text": piece} if is_text else _json_delta(piece)
            yield "content_block_delta", {"type": "content_block_delta", "index": index, "delta": delta}
        yield "content_block_stop", {"type": "content_block_stop", "index": index}
    end = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    made = {"output_tokens": whole["usage"]["output_tokens"]}
    yield "message_delta", {"type": "message_delta", "delta": end, "usage": made}
    yield "message_stop", {"type": "message_stop"}


def _json_delta(part: str) -> dict[str, Any]:
    return {"type": "input_json_delta", "partial_json": part}


DIALECTS: Final = (
    Dialect("/chat/completions", chat_body, chat_events),
    Dialect("/completions", completion_body, completion_events),
    Dialect("/responses", response_body, response_events),
    Dialect("/embeddings", embedding_body, None),
    Dialect("/messages", message_body, message_events, is_anthropic=True),
)


def dialect_of(path: str) -> Dialect | None:
    """Return the API that a path belongs to; what stands before is a version, a deployment, or a gateway's."""
    return next((dialect for dialect in DIALECTS if path.endswith(dialect.path)), None)


def error_body(status: int, message: str, *, is_anthropic: bool) -> dict[str, Any]:
    """Say an error as the API would."""
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "api_error")
    if is_anthropic:
        return {"type": "error", "error": {"type": kind, "message": message}, "request_id": None}
    return {"error": {"message": message, "type": kind, "param": None, "code": None}}
