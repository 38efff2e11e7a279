"""The walk over nested values: lists and dicts at full speed, everything else by its type, refusals with their path."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from json.encoder import encode_basestring
from typing import Any, Final, TypeVar

from memollm._keys.canonical.names import class_name
from memollm._keys.canonical.veil import TAG, under
from memollm._types.secret import ORDINARY, holds_secret, is_ordinary
from memollm.errors import MemollmError

DEEPEST: Final = 200
PAIR: Final = 2
LONGEST_NAME: Final = 64
TOO_DEEP: Final = f"is nested deeper than {DEEPEST} levels, or than the stack allows"

quote: Final[Callable[[str], str]] = encode_basestring
"""Write text as a JSON string; what is not ASCII stays readable."""

Encoder = Callable[[Any, int], str]
Recognizer = Callable[[type[Any]], Encoder | None]
Item = TypeVar("Item")

EXACT: dict[type[Any], Encoder] = {}
"""Encoders by exact type; a subclass is never its base."""
RECOGNIZERS: list[Recognizer] = []
"""Asked in order for the encoder of a class that has none of its own."""


class Refused(Exception):
    """A value without a stable identity, and the steps of the path to it, innermost first."""

    def __init__(self, reason: str, cause: BaseException | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.cause = cause
        self.trail: list[tuple[str, object]] = []


def tag(name: str, body: str) -> str:
    """Mark a text with what JSON would lose."""
    return f'{{"{TAG}{name}":{body}}}'


def text(value: object, depth: int) -> str:
    """Give the canonical text of a value that stands `depth` levels deep."""
    if depth > DEEPEST:
        raise Refused(TOO_DEEP)
    encode = EXACT.get(type(value))
    return encode(value, depth) if encode is not None else _other(value, depth)


def sequence(items: Iterable[Any], depth: int, owner: object) -> str:
    """Encode items in their order."""
    parts: list[str] = []
    try:
        for item in items:
            parts.append(quote(item) if type(item) is str else text(item, depth + 1))  # noqa: PERF401 - The count is the index in the path.
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, f"[{len(parts)}]", owner) from None
    if len(parts) == PAIR and len(parts[0]) <= LONGEST_NAME and parts[0][0] == '"':
        # It may be a header; or two texts, which are told apart in any case.
        parts[1] = under(parts[0][1:-1], parts[1], counts=True)
    return f"[{','.join(parts)}]"


def unordered(items: Iterable[Any], depth: int, owner: object) -> str:
    """Encode items whose order does not count, sorted by their texts."""
    try:
        parts = [text(item, depth + 1) for item in items]
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, "{...}", owner) from None
    return f"[{','.join(sorted(parts))}]"


def mapping(value: dict[Any, Any], depth: int) -> str:
    """Encode a dict: as a plain JSON object if its keys are text and it cannot pass for a tag, else as pairs."""
    parts: list[str] = []
    key = None
    try:
        for key in _sorted(value):
            if type(key) is not str:
                break
            item = value[key]
            part = quote(item) if type(item) is str else text(item, depth + 1)
            if key not in ORDINARY and not is_ordinary(key):
                if holds_secret(key):
                    break
                part = under(key, part)
            parts.append(f"{quote(key)}:{part}")
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, f"[{_step(key)}]", value) from None
    if len(parts) != len(value) or (len(parts) == 1 and str(key)[:1] == TAG):
        return tag("dict", pairs(value.items(), depth, value))
    return "{" + ",".join(parts) + "}"


def pairs(items: Iterable[tuple[Any, Any]], depth: int, owner: object, *, ordered: bool = False) -> str:
    """Encode keys of any type with their values."""
    parts: list[str] = []
    step = ""
    try:
        for key, item in items:
            step = f".keys()[{len(parts)}]"
            name = text(key, depth + 1)
            step = f"[{name}]"
            part = text(item, depth + 1)
            parts.append(f"[{name},{under(key, part) if type(key) is str else part}]")
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, step, owner) from None
    return f"[{','.join(parts if ordered else sorted(parts))}]"


def attributes(members: Iterable[tuple[str, Item]], encode: Callable[[Item], str], owner: object) -> str:
    """Encode named members in the given order."""
    parts: list[str] = []
    name = ""
    try:
        for name, item in members:
            parts.append(f"{quote(name)}:{under(name, encode(item))}")
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, f".{name}", owner) from None
    return "{" + ",".join(parts) + "}"


def child(value: object, depth: int, step: str, owner: object) -> str:
    """Encode the one value that hangs on another by a named step."""
    try:
        return text(value, depth + 1)
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise located(error, step, owner) from None


def located(error: Exception, step: str, owner: object) -> Exception:
    """Add a step to the path of a refusal; anything else that was raised becomes one."""
    if isinstance(error, MemoryError):
        return error
    refused = error if isinstance(error, Refused) else failed(error, "could not be read")
    refused.trail.append((step, owner))
    return refused


def failed(error: Exception, what: str) -> Refused:
    """Turn an exception into a refusal that names it."""
    if isinstance(error, RecursionError):
        return Refused(TOO_DEEP, error)
    if isinstance(error, MemollmError):
        return Refused(f"{what}: {error}", error)
    return Refused(f"{what}: {type(error).__name__} was raised", error)


def _sorted(keys: Iterable[Any]) -> Iterable[Any]:
    try:
        return sorted(keys)
    except Exception:  # noqa: BLE001 - Keys that cannot be ordered are sorted by their texts instead.
        return ()


def _step(key: object) -> str:
    return quote(key) if type(key) is str else "..."


def _other(value: object, depth: int) -> str:
    cls: type[Any] = type(value)
    try:
        for recognize in RECOGNIZERS:
            encode = recognize(cls)
            if encode is not None:
                return encode(value, depth)
        name = class_name(cls)
    except (Refused, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - Whatever a hostile object raises is a refusal.
        raise failed(error, "could not be read") from None
    raise Refused(f"is of type {name}, which has no stable identity")


EXACT[str] = lambda value, _depth: quote(value)
EXACT[bool] = lambda value, _depth: "true" if value else "false"
EXACT[type(None)] = lambda _value, _depth: "null"
EXACT[list] = lambda value, depth: sequence(value, depth, value)
EXACT[tuple] = lambda value, depth: tag("tuple", sequence(value, depth, value))
EXACT[dict] = mapping
