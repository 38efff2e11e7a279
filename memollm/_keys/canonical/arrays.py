"""NumPy arrays, scalars and dtypes, recognized by what the program has imported itself."""

from __future__ import annotations

import sys
from typing import Any

from memollm._keys.canonical.names import is_python_class
from memollm._keys.canonical.plain import digest
from memollm._keys.canonical.walk import Encoder, Refused, attributes, child, quote, sequence, tag

_EXACT_KINDS = "biufcSU"  # Their items are Python values without loss.
_RAW_KINDS = _EXACT_KINDS + "mMV"
_PADDED = "gG"  # A long double's unused bytes are whatever was in memory.


def recognize(cls: type[Any]) -> Encoder | None:
    """Find the encoder of a class of NumPy, if the program uses NumPy at all."""
    numpy = sys.modules.get("numpy")
    array = getattr(numpy, "ndarray", None)
    if array is None:
        return None
    if issubclass(cls, array):
        return _array if cls is array or cls is getattr(numpy, "memmap", None) else _subclass
    if is_python_class(cls):
        return None
    if issubclass(cls, getattr(numpy, "generic", array)):
        return _scalar
    return _dtype if issubclass(cls, getattr(numpy, "dtype", array)) else None


def _subclass(_value: Any, _depth: int) -> str:
    raise Refused("is a subclass of numpy.ndarray, which may hold more than its items (numpy.asarray(...) drops that)")


def _array(value: Any, depth: int) -> str:
    dtype = value.dtype
    shape = sequence(value.shape, depth, value)
    if dtype.names is not None:
        fields = attributes([(name, value[name]) for name in dtype.names], lambda part: _array(part, depth + 1), value)
        return tag("ndarray", f"[{_dtype(dtype, depth)},{shape},{fields}]")
    if dtype.kind == "O":
        return tag("ndarray", f'["object",{shape},{sequence(value.flat, depth, value)}]')
    return tag("ndarray", f"[{_described(dtype)},{shape},{digest(value.tobytes())}]")


def _scalar(value: Any, depth: int) -> str:
    kind = value.dtype.kind
    if kind in _EXACT_KINDS:
        name = _described(value.dtype)
        return tag("numpy", f"[{name},{child(value.item(), depth, '.item()', value)}]")
    if kind in "mM":
        return tag("numpy", f"[{_described(value.dtype)},{value.astype('int64').item()}]")
    return tag("numpy", _array(sys.modules["numpy"].asarray(value), depth))


def _dtype(value: Any, _depth: int) -> str:
    if value.names is not None:
        fields = [(name, value.fields[name][:2]) for name in value.names]
        described = attributes(fields, lambda field: f"[{_dtype(field[0], 0)},{field[1]}]", value)
        return tag("dtype", f"[{value.itemsize},{described}]")
    if value.subdtype is not None:
        base, shape = value.subdtype
        return tag("dtype", f"[{_dtype(base, 0)},{sequence(shape, 0, value)}]")
    return tag("dtype", '"object"' if value.kind == "O" else _described(value))


def _described(dtype: Any) -> str:
    """Name a dtype whose bytes are its whole content; types that are not NumPy's own share its short codes."""
    if dtype.kind not in _RAW_KINDS or dtype.char in _PADDED or dtype.hasobject:
        raise Refused(f"has the dtype {dtype.name}, whose bytes are not its content (convert it with .astype(...))")
    home = dtype.type.__module__
    return quote(dtype.str if home == "numpy" else f"{home}.{dtype.name}")
