"""Chats as people read them: who says what, message by message, whichever provider's messages they are."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from memollm._upkeep.answers import is_list, is_object, message_text, response_text, value_text

KNOWN: Final = frozenset({
    "role", "content", "parts", "type", "name", "tool_calls", "function_call", "refusal", "id", "call_id",
    "tool_call_id", "status", "invalid_tool_calls",
})  # fmt: skip
"""Fields of a message that its text tells, or that only machines need; what else is there is shown as it is."""
BY_TYPE: Final = {"human": "user", "ai": "assistant", "AIMessageChunk": "assistant", "system": "system", "tool": "tool"}
"""Who speaks in LangChain's messages, which have no role."""
CALL, OUTPUT, THOUGHT = "function_call", "function_call_output", "reasoning"
"""Items of OpenAI's responses that have no role either."""
RESULTS: Final = frozenset({"tool_result", "functionResponse", "function_response"})
"""What a user's message consists of that a tool has sent."""


class Utterance(NamedTuple):
    """A message of a chat."""

    who: str
    text: str


def conversation(value: Any) -> list[Utterance] | None:
    """Read a canonical argument as a chat; None where not all of it are messages."""
    messages = untagged(value)
    if not is_list(messages) or not messages:
        return None
    said = [_said(message) for message in messages if not is_object(message) or message.get("type") != THOUGHT]
    return None if None in said else [each for each in said if each is not None]


def untagged(value: Any) -> Any:
    """Return a canonical argument without what says of which class its parts are."""
    if is_list(value):
        return [untagged(each) for each in value]
    if not is_object(value):
        return value
    tag = next(iter(value), "")
    if len(value) != 1 or not tag.startswith("!"):
        return {name: untagged(each) for name, each in value.items()}
    inner = value[tag]
    if tag == "!tuple":
        return untagged(inner)
    if is_list(inner) and len(inner) > 1 and isinstance(inner[0], str) and is_object(inner[1]):
        return untagged(inner[1])
    return value


def _said(message: Any) -> Utterance | None:
    if not is_object(message):
        return None
    kind = message.get("type")
    if kind == CALL:
        text = response_text({"output": [message]})
        return None if text is None else Utterance("assistant", text)
    if kind == OUTPUT:
        return Utterance("tool", value_text(message.get("output")))
    role = message.get("role")
    who = role if isinstance(role, str) else BY_TYPE.get(kind) if isinstance(kind, str) else None
    text = _text_of(message)
    if who is None or text is None:
        return None
    others = {name: each for name, each in message.items() if name not in KNOWN and each not in (None, [], {})}
    who = "tool" if _is_from_tools(message) else who
    name = message.get("name")
    return Utterance(
        f"{who} ({name})" if isinstance(name, str) and name else who,
        "\n".join(filter(None, (text, value_text(others) if others else ""))),
    )


def _text_of(message: dict[str, Any]) -> str | None:
    if is_list(message.get("parts")):
        return response_text({"candidates": [{"content": message}]})
    return message_text(message) if "content" in message or "tool_calls" in message else None


def _is_from_tools(message: dict[str, Any]) -> bool:
    blocks = message.get("parts", message.get("content"))
    return is_list(blocks) and bool(blocks) and all(is_object(each) and _is_result(each) for each in blocks)


def _is_result(block: dict[str, Any]) -> bool:
    return block.get("type") in RESULTS or not RESULTS.isdisjoint(block)
