"""Laws of the canonical form, over nested values of all kinds and over hostile objects."""

import collections
import copy
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import itertools
import math
import os
import pathlib
import random
import struct
import subprocess
import sys
import textwrap
import typing
import uuid

import attrs
import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from memollm._keys.canonical import canonical
from memollm.errors import UnkeyableArgument

SETTINGS = settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))


class Color(enum.Enum):
    RED = 1
    GREEN = "1"


class Number(enum.IntEnum):
    ONE = 1


@dataclasses.dataclass
class Point:
    x: object
    y: object


@attrs.define
class Box:
    x: object


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: object


class Pair(typing.NamedTuple):
    a: object
    b: object


class Text(str):
    __slots__ = ()


class Items(list):
    pass


ZONES = st.sampled_from([None, dt.UTC, dt.timezone(dt.timedelta(hours=1))])
HASHABLE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2),
    st.integers(),
    st.sampled_from([0.0, -0.0, 1.0, 2.0, math.inf, math.nan]),
    st.floats(),
    st.sampled_from(["", "a", "1", "é", "e\u0301", "!tuple", "null"]),
    st.text(st.characters(categories=None, codec=None), max_size=5),
    st.binary(max_size=3),
    st.complex_numbers(),
    st.decimals().filter(lambda number: not number.is_snan()),
    st.fractions(),
    st.datetimes(timezones=ZONES),
    st.dates(),
    st.times(timezones=ZONES),
    st.timedeltas(),
    st.uuids(),
    st.sampled_from([*Color, *Number, ..., range(0), range(1, 1), pathlib.Path("a"), pathlib.PurePosixPath("a")]),
    st.sampled_from([int, str, Color, list[int], list[str], typing.Literal[1], typing.Literal[True]]),
    st.sampled_from([Text("a"), Text("1"), np.int64(1), np.float64(1), np.float32(1), np.bool_(True), np.str_("a")]),
)
LEAVES = HASHABLE | st.sampled_from(
    [np.arange(2), np.arange(2.0), np.arange(2, dtype=">i4"), np.zeros((0, 1)), np.array([1, None], dtype=object)]
)
KEYS = HASHABLE | st.tuples(HASHABLE) | st.frozensets(HASHABLE, max_size=2)


def _nested(inner):
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        lists.map(Items),
        lists.map(collections.deque),
        st.dictionaries(st.sampled_from(["a", "b", "!tuple", "!dict"]), inner, max_size=2),
        st.dictionaries(KEYS, inner, max_size=3),
        st.dictionaries(KEYS, inner, max_size=2).map(collections.OrderedDict),
        st.sets(KEYS, max_size=3),
        st.frozensets(KEYS, max_size=3),
        st.builds(Point, inner, inner),
        st.builds(Box, inner),
        st.builds(lambda x, y: Model.model_construct(x=x, y=y), inner, inner),
        st.builds(Pair, inner, inner),
    )


VALUES = st.recursive(LEAVES, _nested, max_leaves=8)


def strict_equal(left, right):
    """Say, independently of any text, whether two values are equal and of equal types, recursively."""
    if type(left) is not type(right):
        return False
    for kind, equal in STRICT:
        if isinstance(left, kind):
            return equal(left, right)
    return left == right


def _same_items(left, right):
    return len(left) == len(right) and all(map(strict_equal, left, right))


def _same_bag(left, right):
    """Match each item with one of the other side; equality is transitive, so any match will do."""
    rest = list(right)
    for item in left:
        match = next((place for place, other in enumerate(rest) if strict_equal(item, other)), None)
        if match is None:
            return False
        del rest[match]
    return not rest


def _same_float(left, right):
    return (math.isnan(left) and math.isnan(right)) or struct.pack("d", left) == struct.pack("d", right)


def _same_array(left, right):
    alike = left.dtype == right.dtype and left.shape == right.shape
    return alike and _same_items(list(left.flat), list(right.flat))


def _same_attributes(*names):
    return lambda left, right: all(strict_equal(getattr(left, name), getattr(right, name)) for name in names)


STRICT = [
    (enum.Enum, lambda left, right: left is right),
    (np.ndarray, _same_array),
    (np.float64, lambda left, right: _same_float(float(left), float(right))),
    (float, _same_float),
    (complex, lambda left, right: _same_float(left.real, right.real) and _same_float(left.imag, right.imag)),
    (decimal.Decimal, lambda left, right: left.as_tuple() == right.as_tuple()),
    (fractions.Fraction, _same_attributes("numerator", "denominator")),
    (range, _same_attributes("start", "stop", "step")),
    (dt.datetime, lambda left, right: _same_moment(left, right) and left.fold == right.fold),
    (dt.time, lambda left, right: _same_moment(left, right) and left.fold == right.fold),
    (collections.OrderedDict, lambda left, right: _same_items(list(left.items()), list(right.items()))),
    (dict, lambda left, right: _same_bag(left.items(), right.items())),
    ((set, frozenset), _same_bag),
    ((list, tuple, collections.deque), _same_items),
    (Point, _same_attributes("x", "y")),
    (Box, _same_attributes("x")),
    (Model, lambda left, right: strict_equal(left.x, right.x) and strict_equal(left.model_extra, right.model_extra)),
    (type(typing.Literal[1]), lambda left, right: _same_items(left.__args__, right.__args__)),
]


def _same_moment(left, right):
    return left.replace(tzinfo=None) == right.replace(tzinfo=None) and left.tzinfo is right.tzinfo


@SETTINGS
@given(VALUES, VALUES)
def test_texts_are_equal_exactly_when_values_are(left, right):
    """Two values have one text if and only if they are equal and of equal types, recursively."""
    assert (canonical(left) == canonical(right)) == strict_equal(left, right)


@SETTINGS
@given(st.lists(VALUES, min_size=2, max_size=6))
def test_wrapping_neither_joins_nor_parts_values(values):
    """The law holds wherever a value stands."""
    for left, right in itertools.combinations(values, 2):
        same = strict_equal(left, right)
        assert (canonical([left, {"a": (left,)}]) == canonical([right, {"a": (right,)}])) == same


def _almost(value, choose):
    """Change one thing that `==` may overlook, or nothing."""
    if type(value) is list and value:
        place = choose.randrange(len(value))
        return [*value[:place], _almost(value[place], choose), *value[place + 1 :]]
    if type(value) is dict and value:
        key = choose.choice(list(value))
        return {**value, key: _almost(value[key], choose)}
    swaps = {bool: int, int: float, float: str, tuple: list, list: tuple, set: frozenset, frozenset: set, str: Text}
    swap = swaps.get(type(value))
    try:
        return swap(value) if swap and choose.random() < 0.8 else value
    except OverflowError:
        return value


@SETTINGS
@given(VALUES, st.randoms(use_true_random=False))
def test_a_value_and_its_near_miss_are_told_apart(value, choose):
    """Changing only a type somewhere inside changes the text, and changing nothing does not."""
    other = _almost(value, choose)
    assert (canonical(value) == canonical(other)) == strict_equal(value, other)


@SETTINGS
@given(VALUES)
def test_a_copy_has_the_same_text(value):
    """A deep copy has its original's text."""
    assert canonical(copy.deepcopy(value)) == canonical(value)


def _shuffled(value, choose):
    """Rebuild a value with every dict and set in another order of insertion."""
    if type(value) is dict:
        items = [(key, _shuffled(item, choose)) for key, item in value.items()]
        choose.shuffle(items)
        return dict(items)
    if type(value) in (set, frozenset):
        items = list(value)
        choose.shuffle(items)
        return type(value)(items)
    if type(value) in (list, tuple):
        return type(value)(_shuffled(item, choose) for item in value)
    return value


@SETTINGS
@given(VALUES, st.randoms(use_true_random=False))
def test_the_order_of_dicts_and_sets_does_not_count(value, choose):
    """However dicts and sets were filled, the text is the same."""
    assert canonical(_shuffled(value, choose)) == canonical(value)


def test_hash_seeds_do_not_count():
    """Processes of every hash seed agree on every text."""
    program = textwrap.dedent("""
        import collections, typing
        from memollm._keys.canonical import canonical
        words = [f"word {n}" for n in range(100)]
        class TD(typing.TypedDict): a: int
        class TD2(TD, total=False): b: int
        print(canonical([set(words), frozenset(words), {w: {w} for w in words}, {(w, 1): 1 for w in words}, TD2,
                         collections.Counter(words), {None, 1, "a", b"a", (1, 2), frozenset({1, "a"})}]))
    """)
    texts = set()
    for seed in ("0", "1", "random"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, env=environment)
        texts.add(run.stdout)
    assert len(texts) == 1
    assert len(texts.pop()) > 1000


class Bomb(Exception):
    """What hostile objects raise."""

    def __str__(self):
        raise Bomb

    __repr__ = __str__


def _explode(*_, **__):
    raise Bomb


HOOKS = """
    __eq__ __hash__ __repr__ __str__ __getattr__ __getattribute__ __len__ __iter__ __bool__ __int__ __float__ __index__
    __lt__ __reduce_ex__ __getitem__ __contains__ __memollm_key__ __fspath__ __format__ __buffer__ keys items
""".split()  # noqa: SIM905 - A list of names reads best as words.
BASES = (object, str, int, float, list, tuple, dict, set, bytes, dt.datetime, Exception, Point, Box, Model)


def _hostile_class(choose):
    base = choose.choice(BASES)
    hooks = dict.fromkeys(choose.sample(HOOKS, choose.randrange(1, 6)), _explode)
    if choose.random() < 0.2:
        hooks["__class__"] = property(_explode)
    if choose.random() < 0.2:
        hooks["__dict__"] = property(_explode)
    for mark in ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "_fields", "__required_keys__"):
        if choose.random() < 0.1:
            hooks[mark] = choose.choice((3, (), ("a",), {"a": 1}, property(_explode)))
    return type("Hostile", (base,), hooks)


class HostileMeta(type):
    __hash__ = __eq__ = __repr__ = __instancecheck__ = __subclasscheck__ = __iter__ = _explode

    def __getattribute__(cls, name):
        raise Bomb


def _hostile(choose):
    cls = _hostile_class(choose)
    base = cls.__mro__[1]
    arguments = {dt.datetime: (2025, 1, 1), Point: (1, 2), Box: (1,), tuple: ((1, 2),), dict: ({"a": 1},)}.get(base, ())
    try:
        return base.__new__(cls, *arguments)
    except Exception:  # noqa: BLE001 - Hostile classes raise anything.
        return cls


def _cycle(choose):
    ring = []
    ring.append(choose.choice((ring, {"a": ring}, (ring,), Point(ring, 1))))
    return ring


def _deep(choose):
    value = 0
    for _ in range(choose.choice((50, 199, 250, 3000))):
        value = choose.choice((lambda x: [x], lambda x: {"a": x}, lambda x: (x,), lambda x: Point(x, 1)))(value)
    return value


class Endless:
    def __memollm_key__(self):
        return Endless()


class Lenient(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)


SCHEMAS = [
    *[pydantic.create_model("Made", __base__=Lenient, x=(kind, None)) for kind in (int, object, typing.Any, Endless)],
    dataclasses.make_dataclass("Made", [("x", "Unknown[", Endless())]),
    list[HostileMeta("Meta", (), {})],
    enum.Enum("Made", {"A": Endless()}),
]
MAKERS = [
    _hostile,
    _hostile,
    _hostile_class,
    _cycle,
    _deep,
    lambda choose: choose.getrandbits(choose.choice((8, 64, 1024, 100_000))),
    lambda choose: "".join(chr(choose.randrange(0x110000)) for _ in range(choose.randrange(5))),
    lambda choose: choose.choice((math.nan, -math.inf, -0.0, choose.random())),
    lambda choose: choose.randbytes(choose.randrange(2000)),
    lambda choose: choose.choice((object(), Endless(), HostileMeta("Meta", (), {}), HostileMeta("Meta", (), {})())),
    lambda _: (item for item in ()),
    lambda choose: choose.choice((sys, sys.stdout, sys._getframe(), Bomb(), uuid.uuid4(), memoryview(b"a"), _explode)),
    lambda choose: choose.choice(SCHEMAS),
]


def _random_object(choose, depth=0):
    if depth < 3 and choose.random() < 0.4:
        items = [_random_object(choose, depth + 1) for _ in range(choose.randrange(4))]
        return choose.choice((lambda: items, lambda: tuple(items), lambda: {"a": items}, lambda: _keyed(items)))()
    return choose.choice(MAKERS)(choose)


def _keyed(items):
    try:
        return dict.fromkeys(items, 1)
    except Exception:  # noqa: BLE001 - Hostile classes raise anything.
        return {"unhashable": items}


def _outcome(value):
    try:
        text = canonical(value, "x")
    except UnkeyableArgument as error:
        return "refused" if error.path.startswith("x") and str(error) else "refused without a path"
    except Exception as error:  # noqa: BLE001 - What escapes is what the test looks for.
        return f"{type(error).__name__} at line {error.__traceback__.tb_next.tb_lineno}"
    return "keyed" if text.encode() and canonical(value, "x") == text else "keyed in two ways"


@pytest.mark.parametrize("number", [1_500, pytest.param(10_000, marks=pytest.mark.deep)])
@pytest.mark.filterwarnings("ignore")
def test_every_object_is_keyed_or_refused(number):
    """Many random and hostile objects: each has a text, the same each time, or is refused; nothing else."""
    choose = random.Random(3)
    outcomes = collections.Counter(_outcome(_random_object(choose)) for _ in range(number))
    assert set(outcomes) == {"keyed", "refused"}
    assert min(outcomes.values()) > number // 5


def test_interruptions_pass():
    """An interruption and an exhausted memory are not the argument's fault, so they pass."""

    def stop(reason):
        def interrupt(_):
            raise reason

        return type("Stopping", (), {"__memollm_key__": interrupt})()

    for reason in (KeyboardInterrupt, MemoryError):
        with pytest.raises(reason):
            canonical([{"a": stop(reason)}])
