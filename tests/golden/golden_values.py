"""Calls whose canonical forms are frozen; run by every Python on the machine, so it needs the standard library only."""

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import functools
import json
import operator
import pathlib
import re
import sys
import types
import typing
import uuid
import zoneinfo

if __name__ == "__main__":
    # The package's own __init__ imports compiled packages, which another Python may lack.
    package = types.ModuleType("memollm")
    package.__path__ = [sys.argv[1]]
    sys.modules["memollm"] = package

from memollm._keys.canonical import canonical_call


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 3


class Word(str):
    __slots__ = ()


class Point(typing.NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Message:
    role: str
    content: str = ""


class Own:
    def __memollm_key__(self):
        return ["own", 1]


Any = typing.TypeVar("Any")
Either = typing.TypeVar("Either", int, "Message")
Upto = typing.TypeVar("Upto", bound=Message)
Arguments = typing.ParamSpec("Arguments")
Name = typing.NewType("Name", str)


class Pair(typing.Generic[Any, Either]):
    one: Any
    other: Either


UTC = datetime.timezone.utc  # noqa: UP017 - as it is written on every Python
VALUES = {
    "nothing": None,
    "booleans": [True, False],
    "integers": [0, 1, -1, 2**63, -(2**200), 10**50 + 7],
    "floats": [1.0, -0.0, 1e3, 1e300 * 1e10, -1e300 * 1e10, 0.1, 5e-324, float("nan")],
    "complex": 1 - 2j,
    "texts": ["", "a", "é", "e\u0301", "\ud800", "\x00\x1f\x7f\u2028", '"\\/', "日本", "😀"],
    "bytes": [b"", b"\x00\xff", bytearray(b"a"), b"long" * 1000],
    "containers": [[], (), {}, set(), frozenset(), [1, [2, (3,)]], {"a": {"b": 1}}],
    "dicts": [{"b": 1, "a": 2}, {1: "int", "1": "str"}, {(1, 2): 3}, {"!tag": 1}, {None: 0}],
    "sets": [{3, 1, 2}, frozenset({"b", "a"})],
    "ranges": [range(3), range(0, 10, 2), slice(1, None), ...],
    "times": [
        datetime.date(2024, 2, 29),
        datetime.time(1, 2, 3, 4),
        datetime.datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001 - a naive one is meant
        datetime.datetime(2024, 1, 2, tzinfo=UTC),
        datetime.datetime(2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        datetime.timedelta(days=-1, microseconds=5),
    ],
    "numbers": [decimal.Decimal("1.00"), decimal.Decimal("NaN"), fractions.Fraction(1, 3)],
    "identifiers": [uuid.UUID(int=5), pathlib.PurePosixPath("/a/b"), re.compile("a+", re.IGNORECASE)],
    "enums": [Colour.RED, Level.HIGH],
    "subclasses": [Word("a"), Point(1, 2), collections.OrderedDict(a=1), collections.Counter("aab")],
    "deques": [collections.deque([1, 2], maxlen=3), collections.defaultdict(list, a=[1])],
    "objects": [Message("user", "hi"), Own()],
    "functions": [len, operator.add, functools.partial(int, base=2)],
    "classes": [int, Colour, Message, list[int], typing.Literal["a", 1], int | None],
    "generics": [Any, Either, Upto, Arguments, Name, list[Either], Pair, Pair[int, Message]],
    "chat": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi!\n\tThere"}],
}


def forms():
    """Write the form of each call."""
    identity = {"name": "golden.ask", "version": "version:1"}
    return {name: canonical_call(identity, {"value": value, "temperature": 1.0}) for name, value in VALUES.items()}


if __name__ == "__main__":
    json.dump(forms(), sys.stdout)
