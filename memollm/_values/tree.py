"""Values as one line of tagged JSON text, with raw bytes behind it: everything that names no class.

JSON's own types stand for themselves. Anything else is an object whose key "$" says what it is, such as
`{"$": "tuple", "v": [1, 2]}`; a dict that JSON would change (or that has a key "$") is such an object too.
"""

from __future__ import annotations

import sys
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec

from memollm._values.live import refuse_live
from memollm._values.same import kind_of
from memollm.errors import DamagedRecord, StaleRecord, UncacheableResult, UntrustedRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Write = Callable[["Writer", Any, str, int], Any]
    Read = Callable[["Reader", dict[str, Any]], Any]

to_json = msgspec.json.Encoder().encode
from_json = msgspec.json.Decoder().decode

DEEPEST = 100
_SMALLEST, _LARGEST = -(2**63), 2**63 - 1
NoneType = type(None)

# Nodes that only `_types` reads, out of signed records.
CLASS_TAGS = frozenset({"enum", "fields", "model", "pydantic", "registered"})


class Unfit(Exception):
    """The form at hand cannot hold the value; the next one may."""


def too_deep(path: str) -> UncacheableResult:
    """Say that a value is nested more deeply than any reader could be sure to follow."""
    return UncacheableResult(
        f"{path} is nested more than {DEEPEST} levels deep, or contains itself, and cannot be stored: return a flatter "
        "value",
    )


def is_plain(value: Any, depth: int = 0) -> bool:
    """Tell whether JSON text gives this value back as it is (but for lone surrogates, which the encoder refuses)."""
    kind = kind_of(value)
    if kind is str or kind is bool or value is None:
        return True
    if kind is int:
        return bool(_SMALLEST <= value <= _LARGEST)
    if kind is float:
        return isfinite(value)
    if depth > DEEPEST:
        raise too_deep("the result")
    if kind is dict:
        return _are_plain_keys(value) and _are_plain(value.values(), depth + 1)
    return kind is list and _are_plain(value, depth + 1)


def _are_plain_keys(keys: Iterable[Any]) -> bool:
    for key in keys:  # noqa: SIM110 (a generator would cost a frame an item)
        if type(key) is not str:
            return False
    return True


def _are_plain(items: Iterable[Any], depth: int) -> bool:
    for item in items:  # noqa: SIM110
        if type(item) is not str and not is_plain(item, depth):
            return False
    return True


class Writer:
    """Turn a value into JSON and the bytes that follow it."""

    def __init__(self) -> None:
        self._blobs: list[bytes] = []

    def write(self, value: object) -> bytes:
        """Write the whole value, or raise `Unfit`."""
        line = to_json(self.node(value, "the result", 0))
        return b"".join((line, b"\n", *self._blobs)) if self._blobs else line

    def node(self, value: Any, path: str, depth: int) -> Any:
        """Write one part, which stands at `path`."""
        if depth > DEEPEST:
            raise too_deep("the result")
        kind = kind_of(value)
        write = _WRITERS.get(kind)
        return write(self, value, path, depth + 1) if write else self.other(value, path, depth + 1)

    def other(self, value: Any, path: str, depth: int) -> Any:  # noqa: ARG002 (for those who know more types)
        """Write a part of a type that is not built in."""
        refuse_live(value, path)
        parts = _numpy_parts(value)
        if parts is None:
            raise Unfit
        dtype, shape, raw = parts
        tag = "array" if type(value).__name__ == "ndarray" else "scalar"
        return {"$": tag, "d": dtype, "s": shape, "n": self.blob(raw)}

    def blob(self, raw: bytes) -> int:
        """Put raw bytes behind the text; the reader meets them in the same order."""
        self._blobs.append(raw)
        return len(raw)


class Reader:
    """Turn JSON and the bytes that follow it into a new value."""

    def __init__(self, body: bytes) -> None:
        line, _, self._rest = body.partition(b"\n")
        self._line = line
        self._position = 0

    def read(self) -> Any:
        """Read the whole value."""
        value = self.node(from_json(self._line))
        if self._position != len(self._rest):
            raise DamagedRecord("the record holds bytes that belong to no value")
        return value

    def node(self, raw: Any) -> Any:
        """Read one part."""
        kind = kind_of(raw)
        if kind is list:
            return [self.node(item) for item in raw]
        if kind is not dict:
            return raw
        if "$" not in raw:
            return {key: self.node(item) for key, item in raw.items()}
        read = _READERS.get(raw["$"])
        return read(self, raw) if read else self.other(raw)

    def other(self, raw: dict[str, Any]) -> Any:
        """Read a part with a tag that is not built in."""
        if raw["$"] in CLASS_TAGS:
            raise UntrustedRecord("the record names a class and is not signed, so it is not loaded")
        raise DamagedRecord(f"the record holds a value of an unknown kind, {raw['$']!r}")

    def blob(self, size: Any) -> bytes:
        """Take the next raw bytes."""
        if type(size) is not int or not 0 <= size <= len(self._rest) - self._position:
            raise DamagedRecord(f"the record is too short for the {size!r} bytes that it announces")
        start, self._position = self._position, self._position + size
        return self._rest[start : self._position]


def _numpy_parts(value: object) -> tuple[str, list[int], bytes] | None:
    if type(value).__module__ != "numpy" or "numpy" not in sys.modules:
        return None
    from memollm._values import arrays

    return arrays.take_apart(value)


def _read_numpy(reader: Reader, raw: dict[str, Any]) -> Any:
    try:
        from memollm._values import arrays
    except ImportError as exc:
        raise StaleRecord("the record holds a NumPy array, and NumPy is not installed: `pip install numpy`") from exc
    return arrays.put_together(raw["d"], raw["s"], reader.blob(raw["n"]), scalar=raw["$"] == "scalar")


def _write_str(writer: Writer, value: str, _path: str, _depth: int) -> Any:
    try:
        value.encode()
    except UnicodeEncodeError:
        return {"$": "str", "n": writer.blob(value.encode("utf-8", "surrogatepass"))}
    return value


def _write_int(_writer: Writer, value: int, _path: str, _depth: int) -> Any:
    return value if _SMALLEST <= value <= _LARGEST else {"$": "int", "v": hex(value)}


def _write_float(_writer: Writer, value: float, _path: str, _depth: int) -> Any:
    return value if isfinite(value) else {"$": "float", "v": repr(value)}


def _write_list(writer: Writer, value: Any, path: str, depth: int) -> list[Any]:
    return [writer.node(item, f"{path}[{index}]", depth) for index, item in enumerate(value)]


def _write_dict(writer: Writer, value: dict[Any, Any], path: str, depth: int) -> Any:
    if "$" not in value and all(type(key) is str for key in value) and _is_utf8("".join(value)):
        return {key: writer.node(item, f"{path}[{key!r}]", depth) for key, item in value.items()}
    pairs = [
        [writer.node(key, f"a key of {path}", depth), writer.node(item, f"{path}[{key!r}]", depth)]
        for key, item in value.items()
    ]
    return {"$": "dict", "v": pairs}


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _writes_items(tag: str) -> Write:
    return lambda writer, value, path, depth: {"$": tag, "v": _write_list(writer, value, path, depth)}


def _writes_bytes(tag: str) -> Write:
    return lambda writer, value, _path, _depth: {"$": tag, "n": writer.blob(bytes(value))}


def _writes_text(tag: str, text: Callable[[Any], str]) -> Write:
    return lambda _writer, value, _path, _depth: {"$": tag, "v": text(value)}


def _reads_items(make: Callable[[list[Any]], Any]) -> Read:
    return lambda reader, raw: make([reader.node(item) for item in raw["v"]])


def _reads_text(make: Callable[[str], Any]) -> Read:
    return lambda _reader, raw: make(raw["v"])


def _read_dict(reader: Reader, raw: dict[str, Any]) -> dict[Any, Any]:
    return {reader.node(key): reader.node(item) for key, item in raw["v"]}


_WRITERS: dict[type, Write] = {
    **dict.fromkeys((NoneType, bool), lambda _writer, value, _path, _depth: value),
    str: _write_str,
    int: _write_int,
    float: _write_float,
    list: _write_list,
    dict: _write_dict,
    tuple: _writes_items("tuple"),
    set: _writes_items("set"),
    frozenset: _writes_items("frozenset"),
    bytes: _writes_bytes("bytes"),
    bytearray: _writes_bytes("bytearray"),
    complex: lambda writer, value, path, depth: {
        "$": "complex",
        "v": _write_list(writer, (value.real, value.imag), path, depth),
    },
    Decimal: _writes_text("decimal", str),
    UUID: _writes_text("uuid", str),
    date: _writes_text("date", date.isoformat),
    time: _writes_text("time", time.isoformat),
    datetime: _writes_text("datetime", datetime.isoformat),
    timedelta: lambda _writer, value, _path, _depth: {
        "$": "timedelta",
        "v": [value.days, value.seconds, value.microseconds],
    },
}

BUILT_IN = frozenset(_WRITERS)

_READERS: dict[str, Read] = {
    "str": lambda reader, raw: reader.blob(raw["n"]).decode("utf-8", "surrogatepass"),
    "int": _reads_text(lambda text: int(text, 16)),
    "float": _reads_text(float),
    "dict": _read_dict,
    "tuple": _reads_items(tuple),
    "set": _reads_items(set),
    "frozenset": _reads_items(frozenset),
    "bytes": lambda reader, raw: reader.blob(raw["n"]),
    "bytearray": lambda reader, raw: bytearray(reader.blob(raw["n"])),
    "complex": _reads_items(lambda parts: complex(*parts)),
    "decimal": _reads_text(Decimal),
    "uuid": _reads_text(UUID),
    "date": _reads_text(date.fromisoformat),
    "time": _reads_text(time.fromisoformat),
    "datetime": _reads_text(datetime.fromisoformat),
    "timedelta": lambda _reader, raw: timedelta(*raw["v"]),
    "array": _read_numpy,
    "scalar": _read_numpy,
}
