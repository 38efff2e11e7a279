"""Values of the standard library: numbers, bytes, times, paths, collections."""

from __future__ import annotations

import re
import sys
from array import array
from collections import ChainMap, Counter, OrderedDict, defaultdict, deque
from datetime import date, datetime, time, timedelta, timezone
from hashlib import blake2b
from math import isfinite
from pathlib import PosixPath, PurePath, PurePosixPath, PureWindowsPath, WindowsPath
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from memollm._keys.canonical.walk import (
    EXACT,
    Encoder,
    Refused,
    attributes,
    child,
    mapping,
    pairs,
    quote,
    sequence,
    tag,
    text,
    unordered,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_DECIMAL_BOUND: Final = 1 << 1024  # Python may refuse to print an int of more than 640 digits.
_READABLE_BYTES: Final = 1024


def digest(data: bytes) -> str:
    """Stand for bytes that are too long to be read."""
    return quote("blake2b:" + blake2b(data, digest_size=32).hexdigest())


def _int(value: int, _depth: int) -> str:
    if -_DECIMAL_BOUND < value < _DECIMAL_BOUND:
        return repr(value)
    return tag("int", f'"{value:#x}"')


def _float(value: float, _depth: int) -> str:
    number = repr(value)
    return number if isfinite(value) else tag("float", f'"{number}"')


def _complex(value: complex, depth: int) -> str:
    return tag("complex", sequence((value.real, value.imag), depth, value))


def _bytes(value: bytes | bytearray, _depth: int) -> str:
    if len(value) <= _READABLE_BYTES:
        return quote(value.decode("latin-1"))
    return f"[{len(value)},{digest(bytes(value))}]"


def _memoryview(value: memoryview, depth: int) -> str:
    return tag("memoryview", sequence((value.format, value.shape, value.tobytes()), depth, value))


def _array(value: array[Any], depth: int) -> str:
    return tag("array", sequence((value.typecode, value.tolist()), depth, value))


def _tagged(name: str, encode: Encoder) -> Encoder:
    return lambda value, depth: tag(name, encode(value, depth))


def _written(name: str, write: Callable[[Any], str]) -> Encoder:
    return lambda value, _depth: tag(name, quote(write(value)))


def _listed(name: str, parts: Callable[[Any], tuple[Any, ...]]) -> Encoder:
    return lambda value, depth: tag(name, sequence(parts(value), depth, value))


def _moment(name: str, write: Callable[[Any], str]) -> Encoder:
    """Write a naive moment as its text; add a zone or a fold only where there is one."""

    def encode(value: datetime | time, depth: int) -> str:
        written = quote(write(value))
        if value.tzinfo is None and not value.fold:
            return tag(name, written)
        zone = child(value.tzinfo, depth, ".tzinfo", value)
        return tag(name, f"[{written},{zone},{value.fold}]")

    return encode


def _zone(value: Any, _depth: int) -> str:
    if value.key is None:
        raise Refused("is a ZoneInfo without a name, read from a file")
    return tag("zoneinfo", quote(value.key))


def _decimal(value: Any) -> str:
    from decimal import Decimal

    # A subclass may write itself otherwise, and the context decides whether it is E or e.
    return Decimal.__str__(value).upper()


def _defaultdict(value: defaultdict[Any, Any], depth: int) -> str:
    factory = child(value.default_factory, depth, ".default_factory", value)
    return tag("defaultdict", f"[{factory},{pairs(value.items(), depth, value)}]")


def _deque(value: deque[Any], depth: int) -> str:
    return tag("deque", f"[{sequence(value, depth, value)},{text(value.maxlen, depth)}]")


def _simple_namespace(value: SimpleNamespace, depth: int) -> str:
    members: list[tuple[str, object]] = sorted(vars(value).items())
    return tag("namespace", attributes(members, lambda item: text(item, depth + 1), value))


ENCODERS: dict[type[Any], Encoder] = {
    int: _int,
    float: _float,
    complex: _complex,
    bytes: _tagged("bytes", _bytes),
    bytearray: _tagged("bytearray", _bytes),
    memoryview: _memoryview,
    array: _array,
    set: lambda value, depth: tag("set", unordered(value, depth, value)),
    frozenset: lambda value, depth: tag("frozenset", unordered(value, depth, value)),
    range: _listed("range", lambda value: (value.start, value.stop, value.step)),
    slice: _listed("slice", lambda value: (value.start, value.stop, value.step)),
    type(...): lambda _value, _depth: tag("constant", '"Ellipsis"'),
    type(NotImplemented): lambda _value, _depth: tag("constant", '"NotImplemented"'),
    date: _written("date", date.isoformat),
    datetime: _moment("datetime", lambda value: datetime.isoformat(datetime.replace(value, tzinfo=None))),
    time: _moment("time", lambda value: time.isoformat(time.replace(value, tzinfo=None))),
    timedelta: _listed("timedelta", lambda value: (value.days, value.seconds, value.microseconds)),
    timezone: _listed("timezone", lambda value: value.__getinitargs__()),
    UUID: _written("uuid", UUID.__str__),
    # A concrete path is of the platform's own kind, so it is the same call on all platforms.
    PosixPath: _written("path", PurePath.as_posix),
    WindowsPath: _written("path", PurePath.as_posix),
    PurePosixPath: _written("pureposixpath", PurePath.as_posix),
    PureWindowsPath: _written("purewindowspath", PurePath.as_posix),
    re.Pattern: _listed("pattern", lambda value: (value.pattern, value.flags)),
    OrderedDict: lambda value, depth: tag("ordereddict", pairs(value.items(), depth, value, ordered=True)),
    Counter: lambda value, depth: tag("counter", pairs(value.items(), depth, value)),
    defaultdict: _defaultdict,
    deque: _deque,
    ChainMap: _listed("chainmap", lambda value: tuple(value.maps)),
    MappingProxyType: lambda value, depth: tag("mappingproxy", mapping(dict(value.items()), depth)),
    SimpleNamespace: _simple_namespace,
}


LATER: dict[tuple[str, str], Encoder] = {
    ("zoneinfo", "ZoneInfo"): _zone,
    ("decimal", "Decimal"): _written("decimal", _decimal),
    ("fractions", "Fraction"): _listed("fraction", lambda value: (value.numerator, value.denominator)),
}
"""Those of modules that are dear to import: whoever has a value of such a type has imported its module."""


def learn(cls: type[Any]) -> Encoder | None:
    """Add the encoders of modules that were imported meanwhile, so that subclasses find their bases too."""
    for (module, name), encode in list(LATER.items()):
        known = getattr(sys.modules.get(module), name, None)
        if known is not None:
            EXACT[known] = encode
            LATER.pop((module, name), None)
    return EXACT.get(cls)


def _iterated(base: Any) -> Callable[[Any], Any]:
    return lambda value: base(base.__iter__(value))


def _sliced(base: Any) -> Callable[[Any], Any]:
    return lambda value: base.__getitem__(value, slice(None))


def _itemized(base: Any) -> Callable[[Any], Any]:
    return lambda value: base(dict(base.items(value)))


def _bounded(base: Any) -> Callable[[Any], Any]:
    return lambda value: base(base.__iter__(value), value.maxlen)


COPIES: dict[type[Any], Callable[[Any], Any]] = {
    str: str.__str__,
    int: int.__int__,
    float: float.__float__,
    complex: complex.__complex__,
    bytes: _sliced(bytes),
    bytearray: _sliced(bytearray),
    list: _iterated(list),
    tuple: _iterated(tuple),
    set: _iterated(set),
    frozenset: _iterated(frozenset),
    dict: _itemized(dict),
    OrderedDict: _itemized(OrderedDict),
    Counter: _itemized(Counter),
    defaultdict: lambda value: defaultdict(value.default_factory, _itemized(dict)(value)),
    deque: _bounded(deque),
}
"""Plain copies of what a subclass holds, whatever its own methods say."""
