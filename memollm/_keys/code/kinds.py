"""Which objects can be seen into, which hold nothing that a model would be told, and which hide what they hold."""

from __future__ import annotations

from threading import local
from types import MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._keys.canonical.names import is_python_class
from memollm._keys.code.lookup import overrides, own_dict

if TYPE_CHECKING:
    from collections.abc import Mapping

HARMLESS: Final = frozenset(
    [
        "_io",
        "_multiprocessing",
        "_queue",
        "_random",
        "_thread",
        "_asyncio",
        "_contextvars",
        "asyncio",
        "concurrent",
        "contextvars",
        "io",
        "logging",
        "loguru",
        "memollm",
        "multiprocessing",
        "numpy.random",
        "queue",
        "random",
        "rich",
        "structlog",
        "threading",
        "time",
        "tqdm",
        "warnings",
        "weakref",
    ]
)
"""Modules of tools that a program works with and does not speak of: locks, logs, progress bars, random numbers."""
LIVE: Final = frozenset(
    [
        "_socket",
        "_ssl",
        "_sqlite3",
        "aiohttp",
        "anthropic",
        "anyio",
        "boto3",
        "botocore",
        "cohere",
        "google",
        "groq",
        "grpc",
        "httpcore",
        "httpx",
        "mistralai",
        "ollama",
        "openai",
        "psycopg",
        "redis",
        "requests",
        "selectors",
        "socket",
        "sqlalchemy",
        "sqlite3",
        "ssl",
        "subprocess",
        "together",
        "urllib3",
    ]
)
"""Modules of connections and clients: what they hold changes as they work."""
_TOLD: Final = ("base_url", "_base_url", "_client")
"""What a client says of whom it speaks to."""
_SENTINELS: Final = (object, type(...), type(NotImplemented))
_OPEN_BASES: Final = (object, dict, list, tuple, set, frozenset, str, int, float, bytes, BaseException, Exception)


def _module_of(kind: type) -> str:
    return str(kind.__module__)


def _is_of(kind: type, modules: frozenset[str]) -> bool:
    module = _module_of(kind)
    parts = module.split(".")
    return parts[0] in modules or ".".join(parts[:2]) in modules


def is_harmless(value: object) -> bool:
    """Tell whether an object counts by its type without a word."""
    kind = type(value)
    if hasattr(kind, "__next__"):
        # Whoever reads from an iterator changes it.
        return True
    if issubclass(kind, local):
        return False
    return kind in _SENTINELS or isinstance(value, ModuleType) or any(_is_of(base, HARMLESS) for base in kind.__mro__)


def is_live(value: object) -> bool:
    """Tell whether an object is a connection or a client."""
    return any(_is_of(base, LIVE) for base in type(value).__mro__[:-1])


def told_by(client: object) -> dict[str, object]:
    """Return what a client says of whom it speaks to; nothing of the user's runs at that."""
    own = own_dict(client)
    return {name: own[name] for name in _TOLD if name in own and own[name] is not client}


def attributes_of(value: object) -> tuple[Mapping[str, Any], dict[str, object]] | None:
    """Return what a plain instance holds, in its `__dict__` and in its slots; None if it can hold nothing visible."""
    kind = type(value)
    own, slots = own_dict(value), dict[str, object]()
    for base in kind.__mro__:
        if is_python_class(base):
            slots.update(_slots(base, value))
    own = {name: held for name, held in own.items() if not overrides(kind, name)}
    return (own, slots) if own or slots or is_python_class(kind) else None


def _slots(base: type, value: object) -> dict[str, object]:
    found: dict[str, object] = {}
    for name, member in vars(base).items():
        if type(member) is MemberDescriptorType:
            try:
                found[name] = cast("object", member.__get__(value))
            except AttributeError:
                continue
    return found


def hides(value: object) -> bool:
    """Tell whether a base in C may hold what cannot be seen."""
    return any(not is_python_class(base) and base not in _OPEN_BASES for base in type(value).__mro__)
