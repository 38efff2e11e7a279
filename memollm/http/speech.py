"""One answer in two forms: the body that a stream's events add up to, and the events that tell of a body."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from memollm.http.endpoints import DONE
from memollm.http.events import dict_of, is_array, is_object, list_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memollm.http.endpoints import Endpoint

Data = dict[str, Any]
MERGED: Final = frozenset({"index", "type", "role", "id", "format", "signature"})
"""Parts of deltas that are told, and not told bit by bit."""


def body_from(events: Sequence[Any], endpoint: Endpoint) -> Data:
    """Return the body that the data of events add up to."""
    told = [dict_of(data) for data in events if is_object(data)]
    body = BODIES.get(endpoint.name)
    return {"events": told} if body is None else body(told)


def events_from(body: Data, endpoint: Endpoint, *, wants_usage: bool) -> list[str]:
    """Return events that tell of a body, as its API would have streamed it."""
    events = EVENTS[endpoint.name](body, wants_usage)
    return [_event(data) for data in events]


def _event(data: Data | str) -> str:
    if isinstance(data, str):
        return f"data: {data}\n\n"
    text = json.dumps(data, ensure_ascii=False)
    return f"event: {data['type']}\ndata: {text}\n\n" if "type" in data else f"data: {text}\n\n"


# Chat completions, and legacy completions.


def _chunks_head(told: Sequence[Data], kind: str) -> Data:
    head: Data = {}
    for chunk in told:
        for name, value in chunk.items():
            if name != "choices" and (value is not None or name not in head):
                head[name] = value
    return {**head, "object": kind}


def _choices(told: Sequence[Data]) -> list[list[Data]]:
    """Return the parts of each choice."""
    parts: dict[int, list[Data]] = {}
    for chunk in told:
        for choice in chunk.get("choices") or ():
            parts.setdefault(choice.get("index", 0), []).append(choice)
    return [parts[index] for index in sorted(parts)]


def _told_last(parts: Sequence[Data], besides: str) -> Data:
    whole: Data = {}
    for part in parts:
        merge(whole, {name: value for name, value in part.items() if name not in {besides, "finish_reason"}})
    ends = [part["finish_reason"] for part in parts if part.get("finish_reason") is not None]
    return {**whole, "finish_reason": ends[-1] if ends else None}


def merge(whole: Data, delta: Data) -> None:
    """Add what a delta tells to what was told before: texts go on, lists are filled by index."""
    for name, value in delta.items():
        before = whole.get(name)
        if value is None or before is None:
            whole[name] = _begun(value) if before is None else before
        elif is_object(before) and is_object(value):
            merge(dict_of(before), dict_of(value))
        elif is_array(before) and is_array(value):
            _merge_list(list_of(before), list_of(value))
        elif isinstance(before, str) and isinstance(value, str) and name not in MERGED:
            whole[name] = before + value
        else:
            whole[name] = value


def _begun(value: Any) -> Any:
    """Return a first part as something that can go on; parts of one list may tell of one item."""
    if is_object(value):
        begun: Data = {}
        merge(begun, dict_of(value))
        return begun
    if is_array(value):
        items: list[Any] = []
        _merge_list(items, list_of(value))
        return items
    return value


def _merge_list(before: list[Any], value: list[Any]) -> None:
    for item in value:
        index = dict_of(item).get("index")
        same = None if index is None else next((each for each in before if dict_of(each).get("index") == index), None)
        if same is None:
            before.append(_begun(item))
        else:
            merge(same, item)


def _chat_body(told: Sequence[Data]) -> Data:
    choices: list[Data] = []
    for index, parts in enumerate(_choices(told)):
        message: Data = {}
        for part in parts:
            merge(message, part.get("delta") or {})
        for tool in message.get("tool_calls") or ():
            tool.pop("index", None)
        message = {"role": "assistant", "content": None, **message}
        choices.append({**_told_last(parts, "delta"), "index": index, "message": message})
    return {**_chunks_head(told, "chat.completion"), "choices": choices}


def _chat_events(body: Data, wants_usage: bool) -> Iterator[Data | str]:  # noqa: FBT001 - the shape of `EVENTS`
    usage = body.get("usage")
    head: Data = {**body, "object": "chat.completion.chunk", "choices": [], **({"usage": None} if wants_usage else {})}
    if not wants_usage:
        head.pop("usage", None)
    for choice in body["choices"]:
        message = {name: value for name, value in choice["message"].items() if value is not None}
        tools = [{"index": index, **tool} for index, tool in enumerate(message.pop("tool_calls", ()))]
        delta = {"role": "assistant", **message, **({"tool_calls": tools} if tools else {})}
        told = {name: value for name, value in choice.items() if name != "message"}
        yield {**head, "choices": [{**told, "delta": delta, "finish_reason": None}]}
        end: Data = {"index": choice["index"], "delta": {}, "logprobs": None, "finish_reason": choice["finish_reason"]}
        yield {**head, "choices": [end]}
    if wants_usage and usage is not None:
        yield {**head, "choices": [], "usage": usage}
    yield DONE


def _completion_body(told: Sequence[Data]) -> Data:
    choices = [
        {**_told_last(parts, "text"), "index": index, "text": "".join(part.get("text") or "" for part in parts)}
        for index, parts in enumerate(_choices(told))
    ]
    return {**_chunks_head(told, "text_completion"), "choices": choices}


def _completion_events(body: Data, wants_usage: bool) -> Iterator[Data | str]:  # noqa: FBT001 - the shape of `EVENTS`
    head = {name: value for name, value in body.items() if name != "usage"}
    for choice in body["choices"]:
        yield {**head, "choices": [choice]}
    if wants_usage and body.get("usage") is not None:
        yield {**body, "choices": []}
    yield DONE


# Responses: the last event holds the whole.


def _response_body(told: Sequence[Data]) -> Data:
    return next(dict_of(data["response"]) for data in reversed(told) if dict_of(data.get("response")))


def _response_events(body: Data, _: bool) -> Iterator[Data]:  # noqa: FBT001 - the shape of `EVENTS`
    kind = "response.incomplete" if body.get("status") == "incomplete" else "response.completed"
    begun: Data = {**body, "status": "in_progress", "output": [], "usage": None}
    events: list[Data] = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *(event for index, item in enumerate(body.get("output") or ()) for event in _item_events(item, index)),
        {"type": kind, "response": body},
    ]
    for number, event in enumerate(events):
        yield {**event, "sequence_number": number}


def _item_events(item: Data, index: int) -> Iterator[Data]:
    place = {"output_index": index, "item_id": item.get("id")}
    begun = {**item, "status": "in_progress"} if "status" in item else item
    is_message, is_call = item.get("type") == "message", item.get("type") == "function_call"
    empty: Data = {"content": []} if is_message else {"arguments": ""} if is_call else {}
    yield {"type": "response.output_item.added", "output_index": index, "item": {**begun, **empty}}
    for number, part in enumerate(item.get("content") or () if is_message else ()):
        yield from _part_events(part, {**place, "content_index": number})
    if is_call:
        yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]}
        done = {"name": item["name"], "arguments": item["arguments"]}
        yield {"type": "response.function_call_arguments.done", **place, **done}
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _part_events(part: Data, place: Data) -> Iterator[Data]:
    name = {"output_text": "text", "refusal": "refusal"}.get(str(part.get("type")))
    if name is None:
        yield {"type": "response.content_part.added", **place, "part": part}
    else:
        kind, text = f"response.{part['type']}", part[name]
        logprobs: Data = {"logprobs": part.get("logprobs") or []} if name == "text" else {}
        yield {"type": "response.content_part.added", **place, "part": {**part, name: ""}}
        yield {"type": f"{kind}.delta", **place, "delta": text, **logprobs}
        yield {"type": f"{kind}.done", **place, name: text, **logprobs}
    yield {"type": "response.content_part.done", **place, "part": part}


# Anthropic's messages.

DELTAS: Final = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
TOOLS: Final = frozenset({"tool_use", "server_tool_use", "mcp_tool_use"})


def _message_body(told: Sequence[Data]) -> Data:
    message: Data = {}
    blocks: dict[int, Data] = {}
    inputs: dict[int, str] = {}
    for data in told:
        kind = data.get("type")
        if kind == "message_start":
            message = {**data["message"]}
        elif kind == "content_block_start":
            blocks[data["index"]] = {**data["content_block"]}
        elif kind == "content_block_delta":
            _add_delta(blocks[data["index"]], data["delta"], inputs, data["index"])
        elif kind == "message_delta":
            message = {**message, **data["delta"], "usage": _grown(message.get("usage"), data.get("usage"))}
    for index, text in inputs.items():
        blocks[index]["input"] = json.loads(text) if text else {}
    return {**message, "content": [blocks[index] for index in sorted(blocks)]}


def _add_delta(block: Data, delta: Data, inputs: dict[int, str], index: int) -> None:
    kind = str(delta.get("type"))
    if kind == "input_json_delta":
        inputs[index] = inputs.get(index, "") + str(delta["partial_json"])
    elif kind == "citations_delta":
        block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
    elif kind in DELTAS:
        block[DELTAS[kind]] = (block.get(DELTAS[kind]) or "") + delta[DELTAS[kind]]


def _grown(usage: Any, later: Any) -> Data:
    """Return counts with the later ones in their place."""
    told = {name: value for name, value in dict_of(later).items() if value is not None}
    return {**(usage or {}), **told}


def _message_events(body: Data, _: bool) -> Iterator[Data]:  # noqa: FBT001 - the shape of `EVENTS`
    ends = {"stop_reason": None, "stop_sequence": None}
    usage = dict_of(body.get("usage"))
    yield {"type": "message_start", "message": {**body, **ends, "content": [], "usage": {**usage, "output_tokens": 0}}}
    for index, block in enumerate(body["content"]):
        empty, deltas = _block_parts(block)
        yield {"type": "content_block_start", "index": index, "content_block": empty}
        for delta in deltas:
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        yield {"type": "content_block_stop", "index": index}
    yield {"type": "message_delta", "delta": {name: body.get(name) for name in ends}, "usage": usage}
    yield {"type": "message_stop"}


def _block_parts(block: Data) -> tuple[Data, list[Data]]:
    """Return how a block begins, and the deltas that fill it."""
    kind = block.get("type")
    if kind == "text":
        cited = [{"type": "citations_delta", "citation": citation} for citation in block.get("citations") or ()]
        empty: Data = {**block, "text": "", **({"citations": []} if cited else {})}
        return empty, [*cited, {"type": "text_delta", "text": block["text"]}]
    if kind == "thinking":
        signed = {"type": "signature_delta", "signature": block.get("signature") or ""}
        thought = {"type": "thinking_delta", "thinking": block["thinking"]}
        return {**block, "thinking": "", "signature": ""}, [thought, signed]
    if kind in TOOLS:
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": json.dumps(block["input"])}]
    return block, []


BODIES: Final[dict[str, Callable[[Sequence[Data]], Data]]] = {
    "chat.completions": _chat_body,
    "completions": _completion_body,
    "responses": _response_body,
    "messages": _message_body,
}
EVENTS: Final[dict[str, Callable[[Data, bool], Iterator[Data | str]]]] = {
    "chat.completions": _chat_events,
    "completions": _completion_events,
    "responses": _response_events,
    "messages": _message_events,
}
