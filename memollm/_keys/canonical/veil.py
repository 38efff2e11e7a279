"""What of a canonical text is secret: left out for its name, or a digest for its shape.

Names say it where the text of a value is put under them; shapes are looked for once, in the whole text. Both work on
the text as it is written, which is JSON, so that whatever bears a name is seen: an entry, a field, a header, a keyword.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, TypeGuard

from memollm._types.secret import ORDINARY, is_ordinary, is_secret_name, may_hold_secret, pieces, secret_digest

TAG: Final = "!"
HIDDEN: Final = {"!secret": None}
"""Stands for whatever bears a name that can only be a secret's: it does not count."""
MASKED: Final = "!masked"
"""Text with secrets in it, as a list: what may be shown and the digests of what may not, in turns."""
_DEFAULTS: Final = ("default", "const", "example", "examples")
_LITERAL: Final = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


def under(name: str, part: str, *, counts: bool = False) -> str:
    """Veil the text of a value that stands under a name; with `counts` it is told apart in any case."""
    if name in ORDINARY or is_ordinary(name) or ('"' not in part and part != "null"):
        return part
    return _written(_veiled(json.loads(part), name, certain=is_secret_name(name), counts=counts))


def by_shape(text: str) -> str:
    """Veil whatever in a canonical text has the shape of a secret."""
    if not may_hold_secret(text):
        return text
    return _LITERAL.sub(_without_secrets, text)


def of_schema(schema: Any) -> Any:
    """Veil a document, such as a JSON schema, by the names and the defaults in it."""
    if _is_list(schema):
        return [*map(of_schema, schema)]
    if _is_object(schema):
        return {name: _of_entry(name, of_schema(item)) for name, item in schema.items()}
    return schema


def _of_entry(name: str, item: Any) -> Any:
    return item if is_ordinary(name) else _veiled(item, name, certain=is_secret_name(name), counts=False)


def _veiled(node: Any, name: str, *, certain: bool, counts: bool) -> Any:
    if node is None or isinstance(node, str):
        return _atom(node, name, certain=certain, counts=counts)
    if _is_list(node):
        if certain and all(isinstance(item, str) for item in node):
            return _masked([(_written(node), True)]) if counts else HIDDEN
        return [_veiled(item, name, certain=False, counts=counts) for item in node]
    return _of_object(node, name, certain=certain, counts=counts) if _is_object(node) else node


def _of_object(node: dict[str, Any], name: str, *, certain: bool, counts: bool) -> Any:
    if node.keys() & {"!secret", MASKED}:
        return HIDDEN if certain and not counts else node
    if len(node) == 1 and next(iter(node))[:1] == TAG:
        ((mark, content),) = node.items()
        inner = _veiled(content, name, certain=certain, counts=counts)
        return inner if inner is HIDDEN else {mark: inner}
    # What hangs on a name is rarely a secret whole: a tool's schema describes its `api_key`.
    sure = is_secret_name(name)
    return {key: _veiled(item, name, certain=sure and key in _DEFAULTS, counts=counts) for key, item in node.items()}


def _atom(node: str | None, name: str, *, certain: bool, counts: bool) -> Any:
    if certain and not counts:
        return HIDDEN
    if node is None:
        return node
    return _masked([(node, True)] if certain else list(pieces(node, name)))


def _masked(parts: list[tuple[str, bool]]) -> Any:
    if not any(hidden for _, hidden in parts):
        return "".join(piece for piece, _ in parts)
    if parts[0][1]:
        parts = [("", False), *parts]
    return {MASKED: [secret_digest(piece) if hidden else piece for piece, hidden in parts]}


def _without_secrets(literal: re.Match[str]) -> str:
    if not may_hold_secret(literal[0]):
        return literal[0]
    found = _masked(list(pieces(json.loads(literal[0], strict=False))))
    if isinstance(found, str):
        return literal[0]
    # A name, which JSON cannot have an object for. The keys of dicts never come here, attributes hardly ever.
    is_name = literal.string[literal.end() : literal.end() + 1] == ":"
    return _written(f"{MASKED} {' '.join(found[MASKED])}" if is_name else found)


def _written(node: Any) -> str:
    return json.dumps(node, ensure_ascii=False, separators=(",", ":"))


def _is_list(node: object) -> TypeGuard[list[Any]]:
    return isinstance(node, list)


def _is_object(node: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(node, dict)
