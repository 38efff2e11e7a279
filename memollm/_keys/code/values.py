"""The text of a value that code reads: canonical where it can be, and otherwise never more than is steady."""

from __future__ import annotations

import functools
import hashlib
import re
import string
from collections.abc import Callable, Iterable
from itertools import islice
from types import FunctionType, MethodType
from typing import Any, cast

from memollm._keys.canonical.veil import under
from memollm._keys.code.modules import module_name
from memollm._keys.code.veil import veiled_text
from memollm._types.secret import SECRET, is_secret_name

Canonical = Callable[[object, str], str]

PLAIN: tuple[type, ...] = (str, bytes, int, float, complex, bool, type(None))
_CONTAINERS: tuple[type, ...] = (list, tuple, dict, set, frozenset)
_OF_CODE: tuple[type, ...] = (*_CONTAINERS, FunctionType)  # Code in these is counted as helpers are.
_MAX_NESTING = 20
_MAX_ITEMS = 10_000
_MAX_TEXT = 10_000


def value_text(value: object, path: str, canonical: Canonical) -> str:
    """Write a value that is read as `path`: a very long text by its beginning and its digest, a secret not at all."""
    name = path.rpartition(".")[2].rpartition(" ")[2]
    if is_secret_name(name) and not isinstance(value, (int, float)):
        return SECRET
    whole = _Writer(path, lambda value, path: under(name, canonical(value, path))).write(value, ())
    if len(whole) <= _MAX_TEXT:
        return whole
    digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{whole[:1000]} and so on, {len(whole)} characters with digest {digest}"


def code_inside(label: str, value: object) -> list[tuple[str, object]]:
    """List the functions and classes in a container: tools are handed to models so."""
    found: list[tuple[str, object]] = []
    waiting: list[tuple[str, object, int]] = [(label, value, 0)]
    for name, each, depth in waiting:
        if type(each) in (dict, list, tuple) and depth < _MAX_NESTING and len(waiting) < _MAX_ITEMS:
            waiting += [(f"{name}[{key}]", item, depth + 1) for key, item in islice(_items(each), _MAX_ITEMS)]
        elif type(each) in (FunctionType, MethodType, functools.partial) or isinstance(each, type):
            found.append((name, each))
    return found


def _items(container: Any) -> Iterable[tuple[str, object]]:
    if type(container) is dict:
        pairs = cast("dict[object, object]", container).items()
        return ((repr(key) if type(key) in PLAIN else "", item) for key, item in pairs)
    return ((str(place), item) for place, item in enumerate(cast("list[object]", container)))


class _Writer:
    def __init__(self, path: str, canonical: Canonical) -> None:
        self._path = path
        self._canonical = canonical

    def write(self, value: object, above: tuple[int, ...]) -> str:
        if type(value) in _OF_CODE and code_inside("", value):
            return self._piecewise(value, above)
        try:
            return self._canonical(value, self._path)
        except Exception:  # noqa: BLE001 - whatever a hostile value raises, it has no canonical text.
            return self._piecewise(value, above)

    def _piecewise(self, value: object, above: tuple[int, ...]) -> str:
        """Write the pieces that have a canonical form, and the types of the others."""
        if type(value) in _CONTAINERS and id(value) not in above and len(above) < _MAX_NESTING:
            return self._pieces(value, (*above, id(value)))
        if type(value) is re.Pattern:
            pattern = cast("Any", value)
            return f"re.compile({pattern.pattern!a}, {pattern.flags})"
        if type(value) is FunctionType:
            return f"function {module_name(value.__globals__)}.{value.__qualname__}"
        if type(value) is string.Template:
            return f"string.Template({value.template!a})"
        return f"object of {type_name(type(value))}"

    def _pieces(self, value: object, above: tuple[int, ...]) -> str:
        name = _kind(value).__name__
        if _kind(value) is dict:
            pairs = cast("dict[object, object]", value).items()
            texts = sorted(f"{self.write(key, above)}: {self._item(key, item, above)}" for key, item in pairs)
        else:
            texts = [self.write(item, above) for item in cast("Iterable[object]", value)]
        ordered = sorted(texts) if _kind(value) in (set, frozenset) else texts
        return f"{name}({', '.join(ordered)})"

    def _item(self, key: object, item: object, above: tuple[int, ...]) -> str:
        if type(key) is not str:
            return self.write(item, above)
        if type(item) is str:
            return SECRET if is_secret_name(key) else self.write(veiled_text(item, key), above)
        return self.write(item, above)


def _kind(value: object) -> type:
    return type(value)


def type_name(kind: type) -> str:
    """Name a type by its top-level package: the module inside it moves between releases."""
    return f"{kind.__module__.partition('.')[0]}:{kind.__qualname__}"
