"""Whether a pydantic class is the one that a record was written with: a digest of what pydantic validates by."""

from __future__ import annotations

import hashlib
import re
import sys
import weakref
from typing import Any, cast

import msgspec

from memollm._values.same import kind_of

# Where pydantic calls code of a class's own, whose changes no digest would show.
_OWN_CODE = re.compile(rb'"type":"function-|"post_init":"|"custom_init":true|"discriminator":"call ')
# What pydantic adds to the names of classes in a schema: their places in memory.
_PLACES = re.compile(rb"(?<=[\w\]]):\d{6,}")
_known: weakref.WeakKeyDictionary[type, tuple[object, str]] = weakref.WeakKeyDictionary()


def schema_of(cls: Any) -> str:
    """Return a digest that is the same for a class that validates the same; empty where nothing can be promised."""
    schema = cls.__pydantic_core_schema__
    known = _known.get(cls)
    if known is not None and known[0] is schema:
        return known[1]
    digest = _digest(schema)
    _known[cls] = schema, digest
    return digest


def _digest(schema: Any) -> str:
    try:
        text = msgspec.json.encode(schema, enc_hook=_named)
    except Exception:  # noqa: BLE001 (whatever stands in it that has no name; then the class is looked at each time)
        return ""
    if _OWN_CODE.search(text):
        return ""
    text = _PLACES.sub(b"", text)
    version: str = sys.modules["pydantic"].VERSION
    return hashlib.blake2b(version.encode() + text, digest_size=8).hexdigest()


def _named(part: Any) -> str:
    """Name what JSON cannot hold: a class, a function, a pattern, or an object by its class."""
    if isinstance(part, re.Pattern):
        pattern = cast("re.Pattern[str]", part)
        return f"pattern {pattern.pattern!r} {pattern.flags}"
    named: Any = part if hasattr(part, "__qualname__") else kind_of(part)
    kind = "call" if callable(part) and not isinstance(part, type) else "class"
    return f"{kind} {named.__module__}:{named.__qualname__}"
