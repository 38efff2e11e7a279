"""Pairs that look alike and must differ, and pairs that look different and must be equal."""

# The spellings that these rules would unify are what is under test.
# ruff: noqa: DTZ001, FLY002, PIE796, PIE808, PYI024, SLOT000, UP006, UP007, UP045

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import operator
import pathlib
import re
import types
import typing
import uuid
import zoneinfo

import attrs
import numpy as np
import pydantic
import pytest
import typing_extensions
from ids import numbered

from memollm._keys.canonical import canonical, canonical_call, hooks


@pytest.fixture(autouse=True)
def _functions(monkeypatch):
    """Functions are told apart by bytecode, constants and defaults here."""

    def fingerprint(function):
        return canonical([function.__code__.co_code, repr(function.__code__.co_consts), function.__defaults__])

    monkeypatch.setattr(hooks, "functions", fingerprint)


class Color(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = "1"


class Other(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Word(enum.StrEnum):
    A = "a"


class Bits(enum.IntFlag):
    A = 1
    B = 2


@dataclasses.dataclass
class P:
    x: object = 1
    y: object = 2


@dataclasses.dataclass
class Q:
    x: object = 1
    y: object = 2


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    note: str = dataclasses.field(default="", compare=False)


@dataclasses.dataclass
class Titled(list):
    title: str = ""

    def with_items(self, *items):
        self.extend(items)
        return self


class UndecoratedP(P):
    pass


@attrs.define
class A:
    x: object = 1


@attrs.define
class B:
    x: object = 1


class M(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: object = 1
    y: object = 2


class N(pydantic.BaseModel):
    x: object = 1
    y: object = 2


class Text(str):
    pass


class Int(int):
    pass


class List(list):
    pass


class Dict(dict):
    pass


NT1 = collections.namedtuple("NT1", "a b")
NT2 = collections.namedtuple("NT2", "a b")


class Keyed:
    def __init__(self, key):
        self.key = key

    def __memollm_key__(self):
        return self.key


class KeyedToo(Keyed):
    pass


def model(**fields):
    return pydantic.create_model("Made", **fields)


def dataclass(*fields, **options):
    return dataclasses.make_dataclass("Made", fields, **options)


def made(field):
    return attrs.make_class("Made", {"x": field})


def aligned(count):
    return np.zeros(count, np.dtype([("a", "u1"), ("b", "f8")], align=True))


def typed(fields, **options):
    return typing.TypedDict("Made", fields, **options)


def documented(doc):
    return dataclasses.dataclass(type("Made", (), {"__annotations__": {"x": int}, "__doc__": doc}))


def annotated(defaults=None, **fields):
    return type("Made", (), {"__annotations__": fields, **(defaults or {})})


def with_attribute(value, **attributes):
    vars(value).update(attributes)
    return value


def call(identity="f", **arguments):
    return canonical_call({"name": identity}, arguments)


USER = {"role": "user", "content": "a"}
BOT = {"role": "assistant", "content": "b"}
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
NOON = dt.datetime(2025, 10, 26, 2, 30)
CET = dt.timezone(dt.timedelta(hours=1))

DIFFERENT = [
    (1, True),
    (0, False),
    (1, 1.0),
    (1, "1"),
    (1.0, "1.0"),
    (1, 1 + 0j),
    (0.0, -0.0),
    (0j, complex(0.0, -0.0)),
    (1e3, 1000),
    (2**53, 2**53 + 1),
    (float(2**53), 2**53),
    (10**400, 10**400 + 1),
    (2**5000, hex(2**5000)),
    (0.1 + 0.2, 0.3),
    (float("nan"), None),
    (float("nan"), "nan"),
    (float("inf"), float("-inf")),
    (None, "null"),
    (None, "None"),
    (None, False),
    (None, []),
    ("", None),
    ("true", True),
    ("a", "A"),
    ("a", "a "),
    ("é", "e\u0301"),
    ("ﬁ", "fi"),
    ("\ud83d\ude00", "😀"),
    ("\ud800", "\\ud800"),
    ("\n", "\\n"),
    ("\x00", ""),
    ("[1]", [1]),
    ('{"a":1}', {"a": 1}),
    (b"a", "a"),
    (b"a", bytearray(b"a")),
    (b"\xc3\xa9", "é"),
    (b"\xc3\xa9", b"\xe9"),
    (b"x" * 2000, b"x" * 2001),
    (b"a", memoryview(b"a")),
    ([1], (1,)),
    ([], ()),
    ([], {}),
    ([], [[]]),
    ([[1], 2], [1, [2]]),
    ([1, 2], [2, 1]),
    ([1, 2], [12]),
    (["a", "b"], ["a,b"]),
    (["a", "b"], ['a","b']),
    ({1, 2}, frozenset({1, 2})),
    ({1, 2}, [1, 2]),
    (set(), {}),
    ({1}, {1.0}),
    ({1}, {True}),
    ({"a": 1}, [["a", 1]]),
    ({"a": 1}, {"a": 1.0}),
    ({"a": 1}, {"a": True}),
    ({"a": None}, {}),
    ({1: "a"}, {"1": "a"}),
    ({1: "a"}, {True: "a"}),
    ({None: 1}, {"null": 1}),
    ({"!tuple": [1]}, (1,)),
    ({"!dict": [["a", 1]]}, {"a": 1}),
    ({"!dict": [["!tuple", [1]]]}, {"!tuple": [1]}),
    ({"!float": "nan"}, float("nan")),
    ({"!bytes": "a"}, b"a"),
    ({"a": {"b": 1}}, {"a": {}, "b": 1}),
    ({"a": 1}, collections.OrderedDict(a=1)),
    ({"a": 1}, collections.Counter(a=1)),
    ({"a": 1}, collections.defaultdict(int, a=1)),
    ({"a": 1}, types.MappingProxyType({"a": 1})),
    ({"a": 1}, types.SimpleNamespace(a=1)),
    ({"a": 1}, Dict(a=1)),
    (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1)),
    (collections.defaultdict(int), collections.defaultdict(list)),
    (collections.deque([1]), [1]),
    (collections.deque([1]), collections.deque([1], maxlen=5)),
    (collections.ChainMap({"a": 1}, {"b": 2}), collections.ChainMap({"b": 2}, {"a": 1})),
    (range(3), [0, 1, 2]),
    (range(0, 3, 2), range(0, 4, 2)),
    (slice(1), slice(0, 1)),
    (..., NotImplemented),
    (..., "..."),
    (dt.date(2025, 1, 1), dt.datetime(2025, 1, 1)),
    (dt.date(2025, 1, 1), "2025-01-01"),
    (NOON, NOON.replace(tzinfo=dt.UTC)),
    (NOON, NOON.replace(fold=1)),
    (NOON.replace(tzinfo=BERLIN), NOON.replace(tzinfo=BERLIN, fold=1)),
    (NOON.replace(tzinfo=BERLIN, fold=1), NOON.replace(tzinfo=CET)),
    (NOON.replace(tzinfo=dt.UTC), NOON.replace(tzinfo=zoneinfo.ZoneInfo("UTC"))),
    (NOON, NOON.replace(microsecond=1)),
    (NOON.time(), NOON),
    (dt.timedelta(seconds=1), 1.0),
    (dt.timedelta(days=1), dt.timedelta(days=-1)),
    (CET, dt.timezone(dt.timedelta(hours=1), "CET")),
    (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
    (decimal.Decimal(1), 1),
    (decimal.Decimal("NaN"), decimal.Decimal("sNaN")),
    (decimal.Decimal(0), decimal.Decimal("-0")),
    (fractions.Fraction(1, 2), 0.5),
    (fractions.Fraction(2), 2),
    (uuid.UUID(int=1), str(uuid.UUID(int=1))),
    (uuid.UUID(int=1), uuid.UUID(int=2)),
    (pathlib.Path("a"), "a"),
    (pathlib.Path("a"), pathlib.Path("./b")),
    (pathlib.Path("a"), pathlib.PurePosixPath("a")),
    (pathlib.PurePosixPath("a"), pathlib.PureWindowsPath("a")),
    (re.compile("a"), "a"),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (re.compile("a"), re.compile(b"a")),
    (Color.RED, 1),
    (Color.RED, "RED"),
    (Color.RED, Other.RED),
    (Color.RED, Color.BLUE),
    (Number.ONE, 1),
    (Word.A, "a"),
    (Bits.A, Bits.B),
    (Bits.A | Bits.B, 3),
    (Color, Other),
    (Text("a"), "a"),
    (Int(1), 1),
    (List([1]), [1]),
    (Text("a"), with_attribute(Text("a"), role="user")),
    (List([1]), with_attribute(List([1]), role="user")),
    (NT1(1, 2), (1, 2)),
    (NT1(1, 2), NT2(1, 2)),
    (NT1(1, 2), NT1(2, 1)),
    (P(), Q()),
    (P(), {"x": 1, "y": 2}),
    (P(1, 2), P(2, 1)),
    (P(1), P(1.0)),
    (P(), UndecoratedP()),
    (UndecoratedP(), with_attribute(UndecoratedP(), tone="kind")),
    (Frozen(1, "a"), Frozen(1, "b")),
    (A(), B()),
    (A(1), A(True)),
    (M(), N()),
    (M(), P()),
    (M(x=1), M(x="1")),
    (M(), M(z=3)),
    (M(z=3), M(z="3")),
    (M, N),
    (Titled(), Titled("a")),
    (Titled().with_items(1), Titled().with_items(2)),
    (M, M()),
    (model(x=(int, 1)), model(x=(int, 2))),
    (model(x=(int, 1)), model(x=(float, 1))),
    (model(x=(int, ...)), model(x=(int, 1))),
    (model(x=(int, 1)), model(z=(int, 1))),
    (model(x=(int, pydantic.Field(gt=1))), model(x=(int, pydantic.Field(gt=2)))),
    (model(x=(int, pydantic.Field(description="a"))), model(x=(int, pydantic.Field(description="b")))),
    (model(why=(str, ...), answer=(str, ...)), model(answer=(str, ...), why=(str, ...))),
    (list[model(x=(int, 1))], list[model(x=(int, 2))]),
    (dataclass(("x", int)), dataclass(("x", float))),
    (dataclass(("x", int)), dataclass(("y", int))),
    (dataclass(("x", int), ("y", int)), dataclass(("y", int), ("x", int))),
    (dataclass(("x", int)), dataclass(("x", int, 1))),
    (dataclass(("x", int | None)), dataclass(("x", int | None, None))),
    (dataclass(("x", int, 1)), dataclass(("x", int, True))),
    (dataclass(("x", dataclass(("y", int)))), dataclass(("x", dataclass(("y", str))))),
    (dataclass(("x", "int")), dataclass(("x", "Unknown"))),
    (documented("A."), documented("B.")),
    (typed({"a": int}), typed({"a": str})),
    (typed({"a": int}), typed({"a": int}, total=False)),
    (annotated(x=int), annotated(x=str)),
    (annotated(x=int), annotated({"x": 1}, x=int)),
    (annotated({"x": 1}, x=int), annotated({"x": 2}, x=int)),
    (made(attrs.field()), made(attrs.field(default=None))),
    (
        made(attrs.field(factory=list)),
        made(attrs.field(factory=dict)),
    ),
    (typing.NamedTuple("Made", [("a", int)]), typing.NamedTuple("Made", [("a", str)])),
    (collections.namedtuple("Made", "a b"), collections.namedtuple("Made", "b a")),
    (int, "int"),
    (int, float),
    (list, list[int]),
    (list[int], list[str]),
    (list[int], tuple[int]),
    (tuple[int], tuple[int, ...]),
    (dict[str, int], dict[int, str]),
    (int | str, str | int),
    (int, int | None),
    (typing.Literal["a"], typing.Literal["b"]),
    (typing.Literal[1], typing.Literal[True]),
    (typing.Literal["a"], "a"),
    (typing.Annotated[int, "a"], typing.Annotated[int, "b"]),
    (typing.Annotated[int, "a"], int),
    (typing.Annotated[int, pydantic.Field(gt=1)], typing.Annotated[int, pydantic.Field(gt=2)]),
    (typing.Annotated[str, pydantic.Field(pattern="a")], typing.Annotated[str, pydantic.Field(pattern="b")]),
    (typing.Annotated[int, pydantic.Field(description="a")], typing.Annotated[int, pydantic.Field(description="b")]),
    (typing.Callable[[int], str], typing.Callable[[int, int], str]),
    (typing.Callable[..., str], typing.Callable[[], str]),
    (typing.TypeVar("T"), typing.TypeVar("T", bound=int)),
    (typing.TypeVar("T", bound=str), typing.TypeVar("T", bound=int)),
    (typing.TypeVar("T"), typing.TypeVar("T", int, str)),
    (typing.TypeVar("T", int, bytes), typing.TypeVar("T", int, str)),
    (typing.TypeVar("T", str, int), typing.TypeVar("T", int, str)),
    (typing.NewType("N", str), typing.NewType("N", int)),
    (typing_extensions.TypeAliasType("A", str), typing_extensions.TypeAliasType("A", int)),
    (type(None), None),
    (typing.ForwardRef("X"), "X"),
    (list["Color"], list[typing.Literal["Color"]]),
    (np.dtype({"names": ["a"], "formats": ["u1"], "itemsize": 4}), np.dtype([("a", "u1")])),
    (np.zeros((2, 3), "i4,f4"), np.zeros((3, 2), "i4,f4")),
    (np.void(b"ab"), np.void(b"ac")),
    (np.arange(2), [0, 1]),
    (np.arange(2), np.arange(2.0)),
    (np.arange(2, dtype="i4"), np.arange(2, dtype="i8")),
    (np.arange(2, dtype="<i4"), np.arange(2, dtype=">i4")),
    (np.zeros((2, 3)), np.zeros((3, 2))),
    (np.zeros(0), np.zeros((0, 1))),
    (np.array(1), np.array([1])),
    (np.array(1), np.int64(1)),
    (np.float64(1), 1.0),
    (np.float32(1), np.float64(1)),
    (np.int64(1), 1),
    (np.bool_(True), True),
    (np.str_("a"), "a"),
    (np.array([0.0]), np.array([-0.0])),
    (np.array([1], dtype=object), np.array([True], dtype=object)),
    (np.datetime64(1, "s"), np.datetime64(1, "ms")),
    (np.datetime64(1, "s"), np.timedelta64(1, "s")),
    (np.zeros(1, "i4,f4"), np.zeros(1, "f4,i4")),
    (np.zeros(1, [("a", "i4")]), np.zeros(1, [("b", "i4")])),
    (np.dtype("f4"), np.dtype("f8")),
    (np.float32, np.dtype("f4")),
    (len, "len"),
    (len, sum),
    (str.lower, str.upper),
    ("a".lower, "b".lower),
    (lambda: 1, lambda: 2),
    (lambda x=1: x, lambda x=2: x),
    (functools.partial(len, 1), functools.partial(len, 2)),
    (functools.partial(len, 1), functools.partial(sum, 1)),
    (functools.partial(len, a=1), functools.partial(len, 1)),
    (Keyed(1).__memollm_key__, Keyed(2).__memollm_key__),
    (Keyed(1), Keyed(2)),
    (Keyed(1), KeyedToo(1)),
    (Keyed(1), 1),
    (pydantic.SecretStr("a"), pydantic.SecretBytes(b"a")),
    (pydantic.SecretStr("a"), "**********"),
    ([USER, BOT], [BOT, USER]),
    ([USER, BOT], [USER, BOT, USER, BOT]),
    ([USER, USER], [USER]),
]

DIFFERENT_CALLS = [
    (call(a=1, b=2), call(a=2, b=1)),
    (call("f", a=1), call("g", a=1)),
    (call(a=1), call(b=1)),
    (call(args=(1,)), call(args=[1])),
    (call(a=1), call(a=1, b=None)),
    (canonical_call({"name": "f", "a": "1"}, {}), canonical_call({"name": "f"}, {"a": "1"})),
]

EQUAL = [
    (1, int("1")),
    (10**400, 10**399 * 10),
    (1.0, float("1e0")),
    (float("nan"), -float("nan")),
    (float("nan"), float("inf") - float("inf")),
    (1e3, 1000.0),
    ("é", "\u00e9"),
    ("ab", "".join(["a", "b"])),
    (b"ab" * 999, bytes(bytearray(b"ab" * 999))),
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1: 1, "a": 2, None: 3}, {None: 3, "a": 2, 1: 1}),
    ({(1, 2): {3: 4, 5: 6}}, {(1, 2): {5: 6, 3: 4}}),
    ({"!a": 1, "b": 2}, {"b": 2, "!a": 1}),
    ({3, 1, 2}, {2, 3, 1}),
    ({8, 16, 24, 0}, {0, 24, 16, 8}),
    (frozenset("abc"), frozenset("cba")),
    ({frozenset({1, 2}), frozenset({3})}, {frozenset({3}), frozenset({2, 1})}),
    ({"a": {"c": 1, "b": 2}}, {"a": {"b": 2, "c": 1}}),
    (range(0, 3), range(3)),
    (dt.UTC, dt.timezone(dt.timedelta(0))),
    (dt.timedelta(days=1), dt.timedelta(hours=24)),
    (NOON, dt.datetime.fromisoformat("2025-10-26T02:30:00.000000")),
    (NOON.replace(tzinfo=BERLIN), NOON.replace(tzinfo=zoneinfo.ZoneInfo.no_cache("Europe/Berlin"))),
    (decimal.Decimal("1E+3"), decimal.Decimal("1e3")),
    (fractions.Fraction(1, 2), fractions.Fraction(2, 4)),
    (uuid.UUID(int=10), uuid.UUID(str(uuid.UUID(int=10)).upper())),
    (pathlib.Path("a/b"), pathlib.Path("a") / "b"),
    (pathlib.Path("a/b"), pathlib.Path("a//./b")),
    (re.compile("a"), re.compile("a", 0)),
    (re.compile("a", re.IGNORECASE | re.MULTILINE), re.compile("a", re.MULTILINE | re.IGNORECASE)),
    (Color.RED, Color.CRIMSON),
    (Color.RED, Color(1)),
    (Bits.A | Bits.B, Bits(3)),
    (Number.ONE, Number["ONE"]),
    (collections.Counter("aab"), collections.Counter({"b": 1, "a": 2})),
    (collections.defaultdict(int, a=1, b=2), collections.defaultdict(int, b=2, a=1)),
    (types.SimpleNamespace(a=1, b=2), types.SimpleNamespace(b=2, a=1)),
    (P(), P(y=2, x=1)),
    (Frozen(1), dataclasses.replace(Frozen(2), x=1)),
    (A(), A(1)),
    (M(x=1, y=2), M(y=2, x=1)),
    (M(a=1, b=2), M(b=2, a=1)),
    (M(x=1), M.model_validate({"x": 1})),
    (M(x=[1]), M.model_construct(x=[1])),
    (M(), copy.deepcopy(M())),
    (M, M),
    (model(x=(int, 1)), model(x=(int, 1))),
    (dataclass(("x", "int")), dataclass(("x", int))),
    (dataclass(("x", list[int])), dataclass(("x", list[int]))),
    (documented("A\n    b."), documented("A\n  b.")),
    (typed({"a": int}), typed({"a": int})),
    (typing.Optional[int], int | None),
    (typing.Union[int, str], int | str),
    (typing.List[int], list[int]),
    (typing.List["Color"], list["Color"]),
    (typing.Dict[str, typing.List[int]], dict[str, list[int]]),
    (typing.Literal["a", "b"], typing.Literal["a", "b"]),
    (NT1(1, 2), NT1(b=2, a=1)),
    (Text("a"), Text("a")),
    (Dict(a=1, b=2), Dict(b=2, a=1)),
    (np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))),
    (np.arange(6)[::2], np.array([0, 2, 4])),
    (np.float64(0.5), np.array([0.5])[0]),
    (np.dtype("f8"), np.dtype(float)),
    (np.array([1, "a"], dtype=object), np.array([1, "a"], dtype=object)),
    (aligned(2), aligned(3)[:2]),
    (functools.partial(len, a=1, b=2), functools.partial(len, b=2, a=1)),
    (functools.partial(functools.partial(len, 1), 2), functools.partial(len, 1, 2)),
    ("a".lower, "a".lower),
    (lambda: 1, lambda: 1),
    (Keyed({"a": 1, "b": 2}), Keyed({"b": 2, "a": 1})),
    (pydantic.SecretStr("a"), pydantic.SecretStr("b")),
    ([USER, BOT], copy.deepcopy([USER, BOT])),
    ({"role": "user", "content": "a"}, {"content": "a", "role": "user"}),
]


@pytest.mark.parametrize(("left", "right"), DIFFERENT, ids=numbered(DIFFERENT))
def test_near_misses_differ(left, right):
    """What a function can tell apart has two texts, wherever it stands."""
    assert canonical(left) != canonical(right)
    assert canonical([{"a": left}]) != canonical([{"a": right}])


@pytest.mark.parametrize(("left", "right"), EQUAL, ids=numbered(EQUAL))
def test_equal_values_have_one_text(left, right):
    """What no function should tell apart has one text, however it was made."""
    assert canonical(left) == canonical(right)


@pytest.mark.parametrize(("left", "right"), DIFFERENT_CALLS)
def test_near_miss_calls_differ(left, right):
    """Calls differ by their function, by their arguments' names and by their values."""
    assert left != right


def test_the_context_of_decimals_does_not_count():
    """The case of the exponent is a matter of the context, not of the number."""
    number = decimal.Decimal("1E+3")
    with decimal.localcontext() as context:
        context.capitals = 0
        assert canonical(number) == '{"!decimal":"1E+3"}'


def test_itemgetters_are_refused():
    """Compiled callables that show no code are refused."""
    with pytest.raises(TypeError, match=r"operator\.itemgetter"):
        canonical(operator.itemgetter("a"))
