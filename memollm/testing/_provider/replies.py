"""What the model of the fake provider says: the same for the same seed, request and number of the sample."""

from __future__ import annotations

import hashlib
import json
import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Answer = Callable[[dict[str, Any], int], object]

UNCOUNTED: Final = frozenset({"stream", "stream_options", "n", "user", "metadata"})
"""Parts of a request that make no other request of it: its samples are numbered together."""
WORDS: Final = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "jade", "kelp", "lark")


class ToolUse(NamedTuple):
    """A call of a tool that the model asks for."""

    name: str
    arguments: dict[str, Any]


class Reply(NamedTuple):
    """One sample: a text, or calls of tools."""

    id: str
    text: str
    tools: tuple[ToolUse, ...] = ()

    @property
    def tokens(self) -> int:
        """How many tokens it took: its words."""
        return tokens_of(self.text) + sum(1 + tokens_of(json.dumps(tool.arguments)) for tool in self.tools)

    @property
    def pieces(self) -> list[str]:
        """The text as it streams, word by word."""
        words = self.text.split(" ")
        return [*(word + " " for word in words[:-1]), words[-1]]


def tokens_of(text: str) -> int:
    """Count the words of a text."""
    return max(1, len(text.split()))


def request_digest(kind: str, body: Mapping[str, Any]) -> str:
    """Tell requests apart by what they ask for."""
    asked = {name: value for name, value in body.items() if name not in UNCOUNTED}
    return hashlib.sha256(json.dumps([kind, asked], sort_keys=True).encode()).hexdigest()


def reply_to(body: dict[str, Any], *, seed: int, digest: str, number: int, answer: Answer | None) -> Reply:
    """Make the sample of a number, from 1 up."""
    rng = random.Random(f"{seed} {digest} {number}")  # noqa: S311 - it is to be the same each time
    name = f"{rng.getrandbits(64):016x}"
    if answer is not None:
        return _of_answer(name, answer(body, number))
    tool = _tool_of(body, rng)
    if tool is not None:
        return Reply(name, "", (tool,))
    schema = _schema_of(body)
    if schema is not None:
        return Reply(name, json.dumps(instance_of(schema, rng)))
    return Reply(name, f"{' '.join(rng.choices(WORDS, k=rng.randint(4, 12)))} #{number}")


def _of_answer(name: str, said: object) -> Reply:
    if isinstance(said, ToolUse):
        return Reply(name, "", (said,))
    return Reply(name, str(said))


# What may be anything.


def dict_of(value: object) -> dict[str, Any]:
    """Return an object of JSON, or an empty one for anything else."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def list_of(value: object) -> list[Any]:
    """Return an array of JSON, or an empty one for anything else."""
    return [*cast("Sequence[Any]", value)] if isinstance(value, list) else []


# Tools and structured outputs.


def _tool_of(body: dict[str, Any], rng: random.Random) -> ToolUse | None:
    """Call the tool that is asked for, or the first one until its result has come back."""
    tools = [dict_of(tool.get("function", tool)) for tool in map(dict_of, list_of(body.get("tools")))]
    tools = [tool for tool in tools if "name" in tool]
    choice = body.get("tool_choice")
    chosen = dict_of(choice)
    kind = chosen.get("type", choice)
    if not tools or kind == "none" or (kind in {None, "auto"} and _has_result(body)):
        return None
    wanted = chosen.get("name") or dict_of(chosen.get("function")).get("name")
    tool = next((tool for tool in tools if tool["name"] == wanted), tools[0])
    schema = dict_of(tool.get("parameters") or tool.get("input_schema"))
    return ToolUse(str(tool["name"]), instance_of({"type": "object", **schema}, rng))


def _has_result(body: dict[str, Any]) -> bool:
    messages = list_of(body.get("messages") or body.get("input"))
    last = dict_of(messages[-1]) if messages else {}
    types = {dict_of(part).get("type") for part in list_of(last.get("content"))}
    return last.get("role") == "tool" or last.get("type") == "function_call_output" or "tool_result" in types


def _schema_of(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the JSON schema that the answer is to fit, wherever the APIs have it."""
    asked = (
        dict_of(body.get("response_format"))
        or dict_of(dict_of(body.get("text")).get("format"))
        or dict_of(dict_of(body.get("output_config")).get("format"))
    )
    if asked.get("type") == "json_object":
        return {"type": "object", "properties": {"answer": {"type": "string"}}}
    return dict_of(asked.get("schema") or dict_of(asked.get("json_schema")).get("schema")) or None


def instance_of(schema: dict[str, Any], rng: random.Random, root: dict[str, Any] | None = None) -> Any:
    """Make a value that fits a JSON schema of the common kind."""
    root = root or schema
    inner = _inner(schema, root)
    if inner is not None:
        return instance_of(inner, rng, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(list_of(schema["enum"]))
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if kind == "object":
        return {name: instance_of(part, rng, root) for name, part in dict_of(schema.get("properties")).items()}
    if kind == "array":
        length = max(2, schema.get("minItems", 0))
        return [instance_of(dict_of(schema.get("items")), rng, root) for _ in range(length)]
    return _scalar([*list_of(kind), kind][0], schema, rng)


def _inner(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema that another one stands for."""
    if "$ref" in schema:
        found: Any = root
        for name in str(schema["$ref"]).removeprefix("#/").split("/"):
            found = found[name]
        return dict_of(found)
    choices = next((list_of(schema[name]) for name in ("anyOf", "oneOf", "allOf") if schema.get(name)), None)
    return dict_of(choices[0]) if choices else None


def _scalar(kind: object, schema: dict[str, Any], rng: random.Random) -> Any:
    low = schema.get("minimum", 0)
    if kind == "integer":
        return rng.randint(int(low), int(schema.get("maximum", low + 100)))
    if kind == "number":
        return round(rng.uniform(low, schema.get("maximum", low + 100)), 2)
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else " ".join(rng.choices(WORDS, k=3))
