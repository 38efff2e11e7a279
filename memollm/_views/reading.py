"""Reading samples to show them. Nothing of a record is loaded: no class is imported, nothing is unpickled."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm._types.tables import size_text
from memollm._upkeep.answers import AnswerCounts, counted_answers, is_list, is_object, response_text, value_text
from memollm._upkeep.explain import differences
from memollm._values.frame import CLASSES, PICKLE
from memollm.errors import RecordError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memollm._values.codec import Codec

SAME: Final = "same"
NAMING: Final = frozenset({"pydantic", "fields", "model", "registered", "enum"})
"""The tags of records that name a class."""

MESSAGES: Final = (":AIMessage", ":AIMessageChunk")


class Shown(NamedTuple):
    """An answer as it is shown."""

    value: object
    """What JSON can hold of it."""
    text: str
    trouble: str = ""
    """Why it is not shown."""
    answer: str | None = None
    """The text that is compared; None where nothing of it can be read."""
    is_response: bool = False
    """The answer is what a provider's response says, and not all that it is."""

    @property
    def is_hidden(self) -> bool:
        """Tell whether nothing of the answer can be read."""
        return self.answer is None and self.value is None

    @property
    def gist(self) -> str:
        """What is shown where there is little room."""
        return self.answer if self.is_response and self.answer is not None else self.text


def shown(codec: Codec, record: bytes, key: bytes) -> Shown:
    """Read a record as far as that runs nothing; one that is not trusted, or damaged, says so."""
    try:
        kind, body = codec.opened(record, context=key)
        if kind == PICKLE:
            return Shown(None, f"(a pickled object of {size_text(len(body))}; draw or peek it in Python)")
        if kind == CLASSES:
            return _outlined(body)
        return _of_value(codec.decode(record, context=key))
    except RecordError as error:
        return Shown(None, f"({error})", str(error))


def _of_value(value: object) -> Shown:
    if isinstance(value, str):
        return Shown(value, value, answer=value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError):
        # It has parts that JSON lacks, such as tuples with other keys, dates, arrays.
        return _answered(Shown(repr(value), repr(value)), value)
    return _answered(Shown(value, text), value)


def _answered(shown: Shown, value: Any) -> Shown:
    """Note what the answer is of a value without classes."""
    found = response_text(value)
    answer = value_text(value) if found is None else found
    return shown._replace(answer=answer, is_response=found is not None)


def _outlined(body: bytes) -> Shown:
    """Show what is written about an object of a class, which is its fields in JSON."""
    node: Any = json.loads(body.partition(b"\n")[0])
    plain = _untagged(node)
    if not isinstance(node, dict) or cast("dict[str, Any]", node).get("$") not in NAMING:
        return _answered(Shown(node, json.dumps(node, ensure_ascii=False)), plain)
    fields = cast("dict[str, Any]", node)
    name = str(fields["c"])
    document = {"class": name, "value": fields["v"]}
    text = f"{name.rpartition(':')[2]} {json.dumps(fields['v'], ensure_ascii=False)}"
    return _answered(Shown(document, text), plain)


def _untagged(node: Any) -> Any:
    """Return what is written about objects without the names of their classes."""
    if is_list(node):
        return [_untagged(each) for each in node]
    if not is_object(node):
        return node
    tag = node.get("$")
    if tag == "model":
        state = node["v"]
        return _untagged(state.get("__dict__", state) if is_object(state) else state)
    if tag in NAMING:
        value = _untagged(node["v"])
        # What stands in a class and not in its record: LangChain's message says by its class who speaks.
        return {"type": "ai", **value} if is_object(value) and str(node["c"]).endswith(MESSAGES) else value
    return {name: _untagged(each) for name, each in node.items()}


def tally(answers: Iterable[Shown]) -> AnswerCounts:
    """Count equal answers, of those that can be read."""
    return counted_answers(each.answer for each in answers if each.answer is not None)


def difference(first: Shown, other: Shown) -> str:
    """Say how an answer differs from the first one."""
    if first.is_hidden or other.is_hidden:
        return "cannot be compared"
    if first.is_response and other.is_response:
        # What else two responses differ in, their ids and times, nobody compares.
        return SAME if first.gist == other.gist else text_difference(first.gist, other.gist)
    if (first.value, first.text) == (other.value, other.text):
        return SAME
    if (one := _parts(first)) is not None and (two := _parts(other)) is not None:
        return "; ".join(f"{each.path.lstrip('.')}: {each.here} → {each.stored}" for each in differences(one, two))
    return text_difference(first.text, other.text)


def _parts(answer: Shown) -> object:
    """Return what an answer consists of, if it has parts."""
    return answer.value if type(answer.value) in {dict, list} else None


def text_difference(first: str, other: str) -> str:
    """Say from which character on two texts differ, and the words that do."""
    longest = min(len(first), len(other))
    begin = next((at for at in range(longest) if first[at] != other[at]), longest)
    same_end = next((at for at in range(longest - begin) if first[-1 - at] != other[-1 - at]), longest - begin)
    while begin and not first[begin - 1].isspace():
        begin -= 1
    while same_end and not first[-same_end].isspace():
        same_end -= 1
    parts = [text[begin : len(text) - same_end].strip() for text in (first, other)]
    return f"from {begin}: {parts[0] or '(nothing)'} → {parts[1] or '(nothing)'}"
