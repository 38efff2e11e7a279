"""What of a sample is its answer: the text that people compare, in what providers return and in all else."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import msgspec

from memollm._spending.shapes import PLAIN, at, field
from memollm._types.public import public
from memollm._types.tables import html_table, text_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

WIDEST: Final = 80
"""How much of an answer a table shows."""
HEAD: Final = ("answer", "times", "share")
UNSAID: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})
"""Parts of an answer that are no answer."""
BLOCKS: Final = frozenset({"text", "output_text", "tool_use"}) | UNSAID


@public
class AnswerCounts(Counter[str]):
    """Answers and how often each was given, the most frequent first; prints as a table."""

    def __str__(self) -> str:
        return text_table(HEAD, self._rows(WIDEST))

    __repr__ = __str__

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's shape
        printer.text("…" if cycle else str(self))

    def _repr_html_(self) -> str:
        return html_table(HEAD, self._rows())

    def _rows(self, widest: int | None = None) -> list[tuple[str, ...]]:
        total = self.total()
        return [
            (_cut(answer, widest), f"{times:,}", f"{times / total:.0%}" if total else "")
            for answer, times in self.most_common()
        ]


def counted_answers(texts: Iterable[str]) -> AnswerCounts:
    """Count equal texts; of those that are given equally often, the first comes first."""
    return AnswerCounts(dict(Counter(texts).most_common()))


def _cut(text: str, widest: int | None) -> str:
    return text if widest is None or len(text) <= widest else f"{text[: widest - 1]}…"


def answer_text(value: Any, *, is_stream: bool = False) -> str:
    """Return the text of a response or of a stream's chunks; of all else text as it is, or JSON."""
    found = _streamed(value) if is_stream else response_text(value)
    return value_text(value) if found is None else found


def value_text(value: Any) -> str:
    """Write a value: text as it is, all else as JSON, in which equal values are equal texts."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, sort_keys=True, default=_plain)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


def _plain(value: Any) -> Any:
    dump: Any = getattr(value, "model_dump", None)
    try:
        return msgspec.to_builtins(value) if dump is None else dump(mode="json")
    except Exception:  # noqa: BLE001 - a foreign object may raise anything, and it is only to be shown
        return repr(value)


# Whole responses. Whatever has these names is read alike: an SDK's object, and the JSON of one.


def response_text(value: Any) -> str | None:
    """Return the text of a provider's response, with the tools that it calls; None for anything else."""
    if type(value) in PLAIN:
        return None
    readers = (_of_blocks, _of_chunks) if is_list(value) else WHOLE
    return next((text for read in readers if (text := read(value)) is not None), None)


def _of_chat(value: Any) -> str | None:
    """Read OpenAI's chats and completions, and all that speak like them: LiteLLM, OpenRouter, vLLM, Mistral."""
    return _joined(_choice, _listed(value, "choices"))


def _choice(choice: Any) -> str | None:
    text = field(choice, "text")
    return text if isinstance(text, str) else message_text(field(choice, "message"))


def _of_responses(value: Any) -> str | None:
    """Read OpenAI's responses."""
    return _joined(_item, _listed(value, "output"))


def _item(item: Any) -> str | None:
    kind = field(item, "type")
    if kind == "message":
        return message_text(item)
    if kind == "function_call":
        return _asked(field(item, "name"), field(item, "arguments"))
    return "" if kind in UNSAID else value_text(item) if isinstance(kind, str) else None


def _of_gemini(value: Any) -> str | None:
    return _joined(_candidate, _listed(value, "candidates"))


def _candidate(candidate: Any) -> str | None:
    return _joined(_part, _listed(field(candidate, "content"), "parts"), between="")


def _part(part: Any) -> str | None:
    if field(part, "thought") is True:
        return ""
    called = field(part, "functionCall") or field(part, "function_call")
    if called:
        return _asked(field(called, "name"), field(called, "args"))
    text = field(part, "text")
    return text if isinstance(text, str) else value_text(part)


def _of_message(value: Any) -> str | None:
    """Read a message by itself, as Anthropic's and LangChain's responses are, or the one that Ollama's holds."""
    message = value if field(value, "message") is None else field(value, "message")
    is_said = isinstance(field(message, "role"), str) or field(message, "type") in {"ai", "message"}
    return message_text(message) if is_said else None


def _of_text(value: Any) -> str | None:
    """Read what functions return who tell the text with what it took."""
    text = field(value, "text")
    return text if isinstance(text, str) and field(value, "usage") is not None else None


WHOLE: Final[tuple[Callable[[Any], str | None], ...]] = (_of_chat, _of_responses, _of_gemini, _of_message, _of_text)


def _of_blocks(value: Any) -> str | None:
    """Read the content of a message by itself."""
    return _joined(_block, value) if value and field(value[0], "type") in BLOCKS else None


def message_text(message: Any) -> str | None:
    """Return what a message of a chat says, and the tools that it calls; None where it is no message."""
    content, calls = field(message, "content"), _calls(message)
    if is_list(content):
        told = _joined(_block, content)
    else:
        told = content if isinstance(content, str) else "" if calls or _refusal(message) else None
    if told is None:
        return None
    # What calls tools may say so twice: in a block of its content, and beside it.
    more = [call for call in calls if call not in told]
    return "\n".join(filter(None, (told, _refusal(message), *more)))


def _refusal(message: Any) -> str:
    refusal = field(message, "refusal")
    return refusal if isinstance(refusal, str) else ""


def _calls(message: Any) -> list[str]:
    calls = [*(_listed(message, "tool_calls") or ()), *filter(None, (field(message, "function_call"),))]
    told = ((field(call, "function") or call) for call in calls)
    return [_asked(field(call, "name"), _first(call, "arguments", "args")) for call in told]


def _block(block: Any) -> str | None:
    if isinstance(block, str):
        return block
    kind = field(block, "type")
    if kind in {"text", "output_text", "input_text"}:
        return str(field(block, "text"))
    if kind == "refusal":
        return str(field(block, "refusal"))
    if kind in {"tool_use", "server_tool_use"}:
        return _asked(field(block, "name"), field(block, "input"))
    if kind == "tool_result":
        return _result(field(block, "content"))
    return "" if kind in UNSAID else value_text(block) if isinstance(kind, str) else None


def _result(content: Any) -> str:
    told = _joined(_block, content) if is_list(content) else None
    return value_text(content) if told is None else told


def _asked(name: Any, arguments: Any) -> str:
    """Write a call of a tool; its arguments may be JSON in a text."""
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return f"{name}({arguments})"
    return f"{name}({'' if arguments is None else value_text(arguments)})"


# Streams.

QUIET: Final = frozenset({"message_start", "message_delta", "message_stop", "content_block_stop", "ping"})
"""Events of Anthropic's streams that add nothing."""
SPEAKING: Final = ("output_text.delta", "refusal.delta", "function_call_arguments.delta")


def _of_chunks(value: Any) -> str | None:
    """Read the chunks of a provider's stream; a list of texts may be anything."""
    return None if any(isinstance(chunk, str) for chunk in value) else _streamed(value) or None


def _streamed(chunks: Any) -> str | None:
    return _joined(_piece, chunks if is_list(chunks) else None, between="")


def _piece(chunk: Any) -> str | None:
    """Return what a chunk adds to its answer; None where it is no chunk that is known."""
    if isinstance(chunk, str):
        return chunk
    kind, choices = field(chunk, "type"), field(chunk, "choices")
    if is_list(choices):
        return _joined(_delta, choices, between="") if choices else ""
    if isinstance(kind, str):
        return _event(chunk, kind)
    return _of_gemini(chunk) if field(chunk, "candidates") is not None else None


def _delta(choice: Any) -> str | None:
    delta = field(choice, "delta")
    if delta is None:
        text = field(choice, "text")
        return text if isinstance(text, str) else None
    told = [field(delta, "content"), field(delta, "refusal")]
    for call in _listed(delta, "tool_calls") or ():
        told += [at(call, "function.name"), at(call, "function.arguments")]
    return "".join(text for text in told if isinstance(text, str))


def _event(event: Any, kind: str) -> str | None:
    if kind.startswith("response."):
        delta = field(event, "delta")
        return delta if kind.endswith(SPEAKING) and isinstance(delta, str) else ""
    if kind == "content_block_start":
        return _first(event, "content_block.text", "content_block.name") or ""
    if kind == "content_block_delta":
        return _first(event, "delta.text", "delta.partial_json") or ""
    # What its SDK says besides repeats what was said.
    return "" if kind in QUIET or field(event, "snapshot") is not None else None


# Reading what may be anything.


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a value is a list."""
    return isinstance(value, list)


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Tell whether a value that was JSON is an object."""
    return isinstance(value, dict)


def _listed(thing: Any, name: str) -> Sequence[Any] | None:
    found = None if type(thing) in PLAIN else field(thing, name)
    return found if is_list(found) and found else None


def _first(thing: Any, *paths: str) -> Any:
    return next((found for path in paths if (found := at(thing, path)) is not None), None)


def _joined(read: Callable[[Any], str | None], parts: Sequence[Any] | None, *, between: str = "\n") -> str | None:
    """Read all parts, and put together what they say; None where there are none, or one is not what it should be."""
    if parts is None:
        return None
    told = [read(part) for part in parts]
    return None if None in told else between.join(filter(None, told))
