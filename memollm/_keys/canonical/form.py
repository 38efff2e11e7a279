"""The two entry points of the canonical form, and its one error in the user's words."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memollm._keys.canonical import arrays, callables, classes, clients, objects, plain
from memollm._keys.canonical.veil import by_shape, under
from memollm._keys.canonical.walk import EXACT, RECOGNIZERS, TOO_DEEP, Refused, attributes, failed, quote, text
from memollm._types.secret import ORDINARY, veiled
from memollm.errors import UnkeyableArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT: Final = 1
"""Counts up whenever any value's text changes; golden tests freeze the texts of each."""

EXACT.update(plain.ENCODERS)
EXACT.update(callables.ENCODERS)
RECOGNIZERS.extend(
    (
        plain.learn,
        classes.recognize,
        objects.secret,
        objects.keyed,
        objects.enumerated,
        arrays.recognize,
        objects.modelled,
        objects.extended,
        clients.recognize,
    )
)


def canonical(value: object, path: str = "") -> str:
    """Write the canonical JSON text of a value: equal exactly when values are equal and of equal types, recursively."""
    return _encodable(by_shape(_text(value, path)))


def canonical_call(identity: Mapping[str, str], arguments: Mapping[str, object]) -> str:
    """Write the canonical text of a call: the function's identity and its bound arguments."""
    return canonical_with(call_head(identity), arguments)


def call_head(identity: Mapping[str, str]) -> str:
    """Write what all calls of a function begin with: its identity."""
    function = attributes(sorted(identity.items()), quote, identity)
    return f'{{"memollm":{FORMAT},"function":{function},"arguments":{{'


def canonical_with(head: str, arguments: Mapping[str, object]) -> str:
    """Write the canonical text of a call of which the head is written already."""
    texts: list[str] = []
    for name in sorted(arguments):
        value = arguments[name]
        # As `_text` does, without its calls: most arguments are texts.
        part = quote(value) if type(value) is str else _text(value, name)
        texts.append(f"{quote(name)}:{part if name in ORDINARY else under(name, part)}")
    return _encodable(f"{head}{by_shape(','.join(texts))}}}}}")


def _text(value: object, path: str) -> str:
    try:
        return text(value, 0)
    except MemoryError:
        raise
    except Refused as refused:
        raise _unkeyable(refused, path) from refused.cause
    except Exception as error:
        raise _unkeyable(failed(error, "could not be read"), path) from error


def _encodable(written: str) -> str:
    """Escape lone surrogates, which no file could take; an escape as such cannot come from anything else."""
    return written if written.isascii() else written.encode("utf-8", "backslashreplace").decode()


def _unkeyable(refused: Refused, prefix: str) -> UnkeyableArgument:
    steps = refused.trail[::-1]
    reason = refused.reason
    cycle = _cycle(steps) if reason == TOO_DEEP else None
    if cycle is not None:
        steps, reason = steps[:cycle], "stands inside itself"
    path = veiled(prefix + "".join(step for step, _ in steps))
    return UnkeyableArgument(f"{_shortened(path) or 'The value'} {veiled(reason)}. {_ways_out(prefix)}", path)


def _cycle(steps: list[tuple[str, object]]) -> int | None:
    """Count the steps to the place where a container is met again inside itself."""
    met: set[int] = set()
    for count, (_, owner) in enumerate(steps):
        if id(owner) in met:
            return count
        met.add(id(owner))
    return None


def _shortened(path: str, longest: int = 200) -> str:
    return path if len(path) <= longest else f"{path[: longest // 2]} … {path[-longest // 2 :]}"


OBJECTS: Final = frozenset({"self", "cls"})
"""How the parameter is named that is the object of a method."""


def _ways_out(prefix: str) -> str:
    parameter = re.match(r"\w*", prefix)
    name = (parameter and parameter[0]) or "name"
    if name in OBJECTS:
        # Left out, two objects that ask differently would be one.
        return (
            "Give the class a __memollm_key__() method that returns what tells its instances apart, such as the name "
            "of the model that they ask, or say with key=... what to key on instead."
        )
    return (
        f'Leave the parameter out of the key with ignore=("{name}",), say what to key on instead with key=..., '
        "or give the class a __memollm_key__() method that returns what tells its instances apart."
    )
