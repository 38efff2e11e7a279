"""Clients of the known providers: by whom they speak to, so that their own methods can be memoized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memollm._keys.canonical.names import class_of, namespace
from memollm._keys.canonical.walk import Refused, quote, tag

if TYPE_CHECKING:
    from memollm._keys.canonical.walk import Encoder

PROVIDERS: Final = frozenset(["anthropic", "cerebras_cloud_sdk", "cohere", "groq", "mistralai", "openai", "together"])
_BASES: Final = ("_base_url", "base_url")


def recognize(cls: type[Any]) -> Encoder | None:
    """Recognize a provider's client and the parts of one."""
    module = str(namespace(cls).get("__module__"))
    return _client if module.partition(".")[0] in PROVIDERS and _may_speak(cls) else None


def _may_speak(cls: type[Any]) -> bool:
    return not any(hasattr(cls, mark) for mark in ("model_fields", "__fields__", "__members__"))


def _client(value: Any, depth: int) -> str:
    """Write whom a client speaks to; which key it has and how it connects makes no other answer."""
    own: dict[str, Any] = getattr(value, "__dict__", {})
    base = next((str(own[name]) for name in _BASES if own.get(name) is not None), None)
    cls = class_of(value)
    name = quote(f"{cls.__module__.partition('.')[0]}.{cls.__qualname__}")
    if base is not None:
        return tag("client", f"[{name},{quote(base)}]")
    inner = own.get("_client")
    if inner is None or depth > len(_BASES) * 4:
        raise Refused(f"is of type {cls.__module__}.{cls.__qualname__}, which does not say whom it speaks to")
    return tag("client", f"[{name},{_client(inner, depth + 1)}]")
