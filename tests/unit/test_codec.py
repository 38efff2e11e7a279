"""Values become records and come back as they were."""

import asyncio
import collections
import datetime as dt
import decimal
import functools
import io
import json
import math
import pathlib
import socket
import sys
import threading
import types
import uuid
import zoneinfo
from typing import Annotated, Any

import numpy as np
import pytest
from stored_types import (
    Answer,
    Colour,
    Forgetful,
    Frozen,
    Liar,
    Noisy,
    Open,
    Plain,
    Point,
    Reading,
    Rights,
    Row,
    Text,
    Verdict,
    Wrapped,
)

from memollm._values.codec import Codec, is_atomic
from memollm._values.signing import Signer
from memollm.errors import OptionError, StaleRecord, UncacheableResult

SIGNER = Signer(b"k" * 32)


@pytest.fixture
def codec():
    return Codec(signer=SIGNER)


def there_and_back(codec, value):
    return codec.decode(codec.encode(value, context=b"c"), context=b"c")


def form(codec, value):
    return codec.encode(value)[:1].decode()


PLAIN = [
    None,
    True,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    1.5,
    -0.0,
    5e-324,
    "",
    "text",
    "é\0\u2028😀",
    [],
    {},
    {"a": [1, {"b": None}]},
]
TAGGED = [
    float("nan"),
    float("inf"),
    -float("inf"),
    2**63,
    2**64,
    10**5000,
    -(10**30),
    "\ud800",
    {"\ud800": "\udfff"},
    b"",
    b"\0\n",
    bytearray(b"x"),
    (),
    (1, (2,)),
    [()],
    set(),
    {1, 2},
    frozenset({"a"}),
    {1: 2},
    {True: 1},
    {None: 1},
    {(1, 2): [3]},
    {"$": "tuple", "v": ()},
    {"$": 1, 2: 3},
    1 + 2j,
    complex(-0.0, float("nan")),
    decimal.Decimal("1.10"),
    uuid.UUID(int=5),
    dt.date(2024, 2, 29),
    dt.datetime(2024, 1, 1, tzinfo=dt.UTC),
    dt.datetime.fromisoformat("2024-01-01T02:03:04.000005"),
    dt.time(1, 2),
    dt.timedelta(-1, 5, 7),
    {"a": b"1", "b": [b"2", b""]},
    {float("nan")},
    {float("nan"): (1,)},
]
CLASSES = [
    Colour.RED,
    Point(1, 2),
    Answer("a", 0.5, [(1,), {2}]),
    Answer("a"),
    Frozen("f", frozenset({"t"})),
    Reading("p", (1, b"2")),
    Row("k", b"d"),
    Verdict(label="yes", why=["x"], odds={"a": 0.1}),
    Wrapped[int](inner=1),
    Wrapped[Verdict](inner=Verdict(label="l")),
    [Point(1, 2), {"v": Verdict(label="n")}],
]
PICKLED = [
    Text("s"),
    [Text("s")],
    {Text("k"): 1},
    Rights.READ | Rights.WRITE,
    collections.OrderedDict(a=1),
    collections.Counter("aab"),
    collections.defaultdict(list, a=[1]),
    collections.deque([1], 3),
    range(3),
    pathlib.PurePosixPath("/a"),
    Plain([1]),
    ValueError("x"),
    dt.datetime(2024, 1, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Rome")),
    dt.datetime.fromisoformat("2024-01-01").replace(fold=1),
    functools.partial(max, 1),
    len,
    Plain,
    type("S", (set,), {})({1, 2}),
    np.array([{"a": 1}], dtype=object),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_plain_values_are_json_text(codec, value):
    """What JSON can hold is stored as JSON text behind a short head."""
    record = codec.encode(value)
    assert json.loads(record[12:]) == value
    assert repr(codec.decode(record)) == repr(value)


@pytest.mark.parametrize("value", TAGGED, ids=lambda value: repr(value)[:30] if value != 10**5000 else "big")
def test_what_json_would_change_is_tagged(codec, value):
    """Builtin values that JSON would change come back as they were, without a signature."""
    assert form(codec, value) in "Tt"
    back = there_and_back(codec, value)
    assert codec._same(back, value)
    assert type(back) is type(value)
    if type(value) not in (int, set, frozenset):
        assert repr(back) == repr(value)


@pytest.mark.parametrize("value", CLASSES, ids=repr)
def test_objects_with_fields_name_their_class(codec, value):
    """Objects of classes with declared fields are stored readably, with their class named, and signed."""
    assert form(codec, value) == "C"
    assert there_and_back(codec, value) == value
    assert repr(there_and_back(codec, value)) == repr(value)


@pytest.mark.parametrize("value", PICKLED, ids=lambda value: type(value).__name__)
def test_everything_else_is_pickled(codec, value):
    """What has no form of its own is pickled, and still comes back the same."""
    assert form(codec, value) in "Pp"
    assert codec._same(there_and_back(codec, value), value)


def test_long_text_is_compressed_and_short_text_stays_readable(codec):
    """Text of up to a page is readable in the database; longer text takes less room."""
    assert b"words " * 600 in codec.encode("words " * 600)
    assert len(codec.encode("words " * 10_000)) < 1_000
    assert codec.decode(codec.encode("words " * 10_000)) == "words " * 10_000


def test_what_does_not_shrink_is_not_compressed(codec):
    """Random numbers are kept raw, short or long."""
    for size in (1_536, 100_000):
        array = np.random.default_rng(0).random(size, dtype=np.float32)
        record = codec.encode(array)
        assert array.nbytes <= len(record) < array.nbytes + 100
        assert codec.decode(record).tobytes() == array.tobytes()


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 0)),
        np.array(1.5),
        np.arange(6).reshape(2, 3),
        np.array(["a", "bcd"]),
        np.array([b"x"]),
        np.array([1 + 2j]),
        np.array([True]),
        np.array(["2024-01-01"], "M8[D]"),
        np.array([np.nan, np.inf]),
        np.arange(3, dtype=">i4"),
        np.arange(10)[::2],
        np.float32(1.5),
        np.int64(3),
        np.bool_(1),
        np.asfortranarray(np.ones((2, 3))),
        np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")]),
    ],
    ids=lambda array: f"{array.dtype.str}{array.shape}",
)
def test_arrays_come_back_with_type_shape_and_bytes(codec, array):
    """NumPy arrays and scalars keep dtype, shape and every bit, also inside other values."""
    back = there_and_back(codec, [array])[0]
    assert type(back) is type(array)
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_arrays_read_are_writable(codec):
    """An array that was read is the caller's own, to be changed."""
    record = codec.encode(np.zeros(3))
    codec.decode(record)[0] = 1
    assert codec.decode(record)[0] == 0


def test_arrays_without_numpy_name_what_to_install(codec, monkeypatch):
    """Where NumPy is missing, a record of an array says how to get it."""
    record = codec.encode(np.zeros(3))
    monkeypatch.setitem(sys.modules, "numpy", None)
    monkeypatch.delitem(sys.modules, "memollm._values.arrays")
    monkeypatch.delattr("memollm._values.arrays")
    with pytest.raises(StaleRecord, match="pip install numpy"):
        codec.decode(record)


@pytest.mark.parametrize("value", [[1], {"a": [1]}, (1, [2]), Answer("a"), Verdict(label="l"), Plain([1])])
def test_every_decoding_gives_new_objects(codec, value):
    """P11: two readings of one record share no mutable part."""
    record = codec.encode(value)
    one, other = codec.decode(record), codec.decode(record)
    shared = {id(part) for part in _mutable(one)} & {id(part) for part in _mutable(other)}
    assert not shared
    assert one is not other


def _mutable(value):
    if isinstance(value, (list, tuple)):
        return [value, *(part for item in value for part in _mutable(item))]
    if isinstance(value, dict):
        return [value, *(part for item in value.values() for part in _mutable(item))]
    return [value, *_mutable(vars(value))] if hasattr(value, "__dict__") else []


def test_construction_is_not_repeated(codec):
    """An object is rebuilt from its fields: its __post_init__, whose effects are in them, does not run again."""
    noisy = Noisy(1)
    made = Noisy.made
    assert there_and_back(codec, noisy).value == 2
    assert Noisy.made == made


def test_models_keep_what_validation_would_lose(codec):
    """Values that pydantic's JSON would change, extras, private attributes and set fields all come back."""
    model = Open(anything=(1, {2}, np.float32(3)), more=b"x")
    model._note = "private"
    back = there_and_back(codec, model)
    assert (back.anything, back.more, back._note) == ((1, {2}, np.float32(3)), b"x", "private")
    assert type(back.anything[2]) is np.float32
    assert there_and_back(codec, Open()).model_fields_set == set()
    assert there_and_back(codec, Open(anything=None)).model_fields_set == {"anything"}


def test_classes_of_the_main_program_are_named_the_same_in_its_children(codec, monkeypatch):
    """What a spawned child stores, whose main module has another name, its parent reads."""

    class Spawned(Answer):
        """A class of the program's own file."""

    Spawned.__module__, Spawned.__qualname__ = "__mp_main__", "Spawned"
    monkeypatch.setattr(sys.modules["__main__"], "Spawned", Spawned, raising=False)
    assert b"__main__:Spawned" in codec.encode(Spawned("a"))
    assert there_and_back(codec, Spawned("a")) == Spawned("a")


def test_local_classes_are_pickled_by_value(codec):
    """An object of a class that no import can find is stored with its class."""

    class Local:
        value = 5

    assert form(codec, Local()) in "Pp"
    assert there_and_back(codec, Local()).value == 5


@pytest.mark.parametrize("kind", [Liar, Forgetful])
def test_neither_equality_nor_pickle_is_believed_alone(codec, kind):
    """An object is found out when it comes back changed, whether its __eq__ hides it or its __reduce__ does."""
    with pytest.raises(UncacheableResult, match="would not come back equal"):
        codec.encode(kind(5))


def _generator():
    yield 1


async def _coroutine():
    """Wait for nothing."""


async def _async_generator():
    yield 1


LIVE = {
    "generator": (_generator, "generator function"),
    "iterator": (lambda: iter([1]), "return a list"),
    "map": (lambda: map(str, [1]), "return a list"),
    "async generator": (_async_generator, "generator function"),
    "coroutine": (_coroutine, "await it"),
    "file": (lambda: open(__file__, encoding="utf-8"), "read it"),  # noqa: SIM115, PTH123
    "bytes stream": (lambda: io.BytesIO(b"x"), "read it"),
    "socket": (socket.socket, "read it"),
    "lock": (threading.Lock, "without it"),
    "rlock": (threading.RLock, "without it"),
}


@pytest.mark.parametrize("kind", LIVE)
@pytest.mark.parametrize("level", ["bare", "in a list", "in a dict", "in a dataclass", "in an object", "in a model"])
def test_live_things_are_refused_with_advice(codec, kind, level):
    """Streams, locks and the like are refused at every level, and the message says what to do instead."""
    make, advice = LIVE[kind]
    live = make()
    wrap = {
        "bare": lambda it: it,
        "in a list": lambda it: [1, (it,)],
        "in a dict": lambda it: {"a": {1: it}},
        "in a dataclass": Answer,
        "in an object": Plain,
        "in a model": lambda it: Open(anything=[it]),
    }[level]
    try:
        with pytest.raises(UncacheableResult, match=advice):
            codec.encode(wrap(live))
    finally:
        getattr(live, "close", lambda: None)()


def test_a_refusal_names_the_place(codec):
    """The message says where in the result the live thing stands."""
    with pytest.raises(UncacheableResult, match=r"the result\['messages'\]\[1\]"):
        codec.encode({"messages": [0, iter(())]})


def test_futures_are_refused(codec):
    """A task that was not awaited is no value."""

    async def main():
        future = asyncio.get_running_loop().create_future()
        with pytest.raises(UncacheableResult, match="await it"):
            codec.encode(future)

    asyncio.run(main())


def test_pickle_can_be_switched_off():
    """Without pickle, what needs it is refused with advice, and all else is stored."""
    codec = Codec(signer=SIGNER, pickle=False)
    assert there_and_back(codec, [Answer("a"), (1,)]) == [Answer("a"), (1,)]
    with pytest.raises(UncacheableResult, match="pickle=False"):
        codec.encode(Plain(1))


def nested(make, levels):
    value = 0
    for _ in range(levels):
        value = make(value)
    return value


WRAPPERS = {
    "list": lambda v: [v],
    "dict": lambda v: {"a": v},
    "tuple": lambda v: (v,),
    "dataclass": Answer,
    "object": Plain,
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_deep_values_are_refused_not_overflowed(codec, wrapper):
    """A value nested beyond all bounds is refused; one nested deeply comes back."""
    with pytest.raises(UncacheableResult, match="nested"):
        codec.encode(nested(WRAPPERS[wrapper], 20_000))
    assert codec._same(there_and_back(codec, deep := nested(WRAPPERS[wrapper], 40)), deep)


@pytest.mark.parametrize("wrapper", ["list", "dict", "tuple"])
def test_how_deep_a_value_may_be_does_not_depend_on_the_stack(codec, wrapper):
    """A value that a reader with a fuller stack could not follow is refused at once."""
    assert codec.encode(nested(WRAPPERS[wrapper], 100))
    with pytest.raises(UncacheableResult, match="more than 100 levels"):
        codec.encode(nested(WRAPPERS[wrapper], 110))


def test_values_that_contain_themselves_are_refused(codec):
    """A list inside itself has no end to write."""
    for value in ([], [()]):
        value.append(value)
        with pytest.raises(UncacheableResult, match="contains itself"):
            codec.encode(value)


def test_a_failure_to_write_is_a_refusal(codec, monkeypatch):
    """Whatever goes wrong while a value is written, the answer is not lost to a foreign error."""

    def fail(_value):
        raise MemoryError

    monkeypatch.setattr(sys.modules[Codec.__module__], "to_json", fail)
    with pytest.raises(UncacheableResult, match="MemoryError"):
        codec.encode("text")


class Money:
    def __init__(self, amount, currency):
        self.amount, self.currency = amount, currency
        self.lock = threading.Lock()


def test_registered_types_are_stored_by_name(codec):
    """A user's type is stored as what its encoder makes of it, at every level, wherever its class lives."""
    codec.register(Money, name="money", encode=lambda m: (m.amount, m.currency), decode=lambda parts: Money(*parts))
    record = codec.encode({"price": [Money(5, "EUR")]})
    assert b"Money" not in record
    assert codec.decode(record)["price"][0].currency == "EUR"


def test_an_unregistered_name_is_stale(codec):
    """A record of a registered type says which name is missing, where it is not registered."""
    codec.register(Money, name="money", encode=vars, decode=lambda parts: Money(**parts))
    codec.register(Money, name="money", encode=lambda m: m.amount, decode=lambda amount: Money(amount, "EUR"))
    record = codec.encode(Money(1, "EUR"))
    with pytest.raises(StaleRecord, match="'money'"):
        Codec(signer=SIGNER).decode(record)


def test_registrations_must_make_sense(codec):
    """Builtin types keep their form, and a name means one type."""
    with pytest.raises(OptionError, match="list"):
        codec.register(list, name="list", encode=list, decode=list)
    codec.register(Money, name="money", encode=vars, decode=lambda parts: Money(**parts))
    with pytest.raises(OptionError, match="taken"):
        codec.register(Plain, name="money", encode=vars, decode=Plain)


def test_a_registered_type_that_loses_something_is_refused(codec):
    """An encoder whose decoder gives another value back is found out when writing."""
    codec.register(Money, name="money", encode=lambda m: m.amount, decode=lambda amount: Money(amount + 1, "EUR"))
    with pytest.raises(UncacheableResult):
        codec.encode(Money(5, "EUR"))


def module(**members):
    made = types.ModuleType("shapes_of_test")
    for name, member in members.items():
        member.__module__, member.__qualname__ = "shapes_of_test", name
        setattr(made, name, member)
    return made


CHANGES = {
    "lost": (lambda d: d.make_dataclass("Thing", [("a", int)]), "Thing has no field 'b'"),
    "new": (lambda d: d.make_dataclass("Thing", [("a", int), ("b", str), ("c", int)]), "Thing has a new field 'c'"),
    "type": (lambda d: d.make_dataclass("Thing", [("a", int), ("b", int)]), "Thing.b is a int now, and a str"),
    "moved": (lambda _: None, "Thing cannot be found"),
    "no class": (lambda _: types.SimpleNamespace(), "no class any more"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_dataclasses_are_stale(codec, change, monkeypatch):
    """A class that lost, gained or retyped a field, or moved, is named with its field."""
    import dataclasses

    remake, message = CHANGES[change]
    before = dataclasses.make_dataclass("Thing", [("a", int), ("b", str)])
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(before(1, "x"))
    after = remake(dataclasses)
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(**({"Thing": after} if after else {})))
    with pytest.raises(StaleRecord, match=message):
        codec.decode(record)


MODEL_CHANGES = {
    "lost": ({"a": (int, ...)}, "Thing.b is lost or changed"),
    "type": ({"a": (int, ...), "b": (int, ...)}, "Thing.b no longer takes"),
    "required": ({"a": (int, ...), "b": (str, ...), "c": (str, ...)}, "Thing.c no longer takes"),
    "coerced": ({"a": (float, ...), "b": (str, ...)}, "Thing.a is lost or changed"),
}


@pytest.mark.parametrize("change", MODEL_CHANGES)
def test_changed_models_are_stale(codec, change, monkeypatch):
    """A model whose fields changed is named with its field, and never half built."""
    import pydantic

    fields, message = MODEL_CHANGES[change]
    before = pydantic.create_model("Thing", a=(int, ...), b=(str, ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(before(a=1, b="x"))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=pydantic.create_model("Thing", **fields)))
    with pytest.raises(StaleRecord, match=message):
        codec.decode(record)


NORMALIZED = {
    "a text": ("word", "Thing.a is lost or changed"),
    "a number": (1, "Thing.a is lost or changed"),
    "in a list": (["same", "word"], r"Thing.a\[1\] is lost or changed"),
    "in a dict": ({"deep": {"same": 1, "other": 2}}, "Thing.a.deep.other is lost or changed"),
    "a new key": ({"grows": 1}, "Thing.a.new is lost or changed"),
}


@pytest.mark.parametrize("where", NORMALIZED)
def test_a_model_that_would_change_a_value_is_stale(codec, where, monkeypatch):
    """P11: a class that now reads a stored value as another of the same type says where, and gives out neither."""
    import pydantic

    def changed(value):
        if isinstance(value, dict):
            if "grows" in value:
                return value | {"new": 1}
            return {key: part if key == "same" else changed(part) for key, part in value.items()}
        if isinstance(value, list):
            return [part if part == "same" else changed(part) for part in value]
        return value * 2

    value, message = NORMALIZED[where]
    before = pydantic.create_model("Thing", a=(Any, ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(before(a=value))
    assert codec.decode(record).a == value
    after = pydantic.create_model("Thing", a=(Annotated[Any, pydantic.AfterValidator(changed)], ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=after))
    with pytest.raises(StaleRecord, match=message):
        codec.decode(record)


@pytest.mark.parametrize("length", [1, 3])
def test_a_model_whose_list_changes_length_is_stale(codec, length, monkeypatch):
    """P11: a class that now drops or adds an item of a stored list is not taken for the one that was stored."""
    import pydantic

    before = pydantic.create_model("Thing", a=(list[int], ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(before(a=[1, 2]))
    resized = pydantic.AfterValidator(lambda items: [*items, 3][:length])
    after = pydantic.create_model("Thing", a=(Annotated[list[int], resized], ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=after))
    with pytest.raises(StaleRecord, match=r"Thing\.a is lost or changed"):
        codec.decode(record)


def test_a_model_may_gain_a_field_with_a_default(codec, monkeypatch):
    """An upgrade of an SDK that adds an optional field leaves the stored answers readable."""
    import pydantic

    before = pydantic.create_model("Thing", a=(int, ...))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(before(a=1))
    after = pydantic.create_model("Thing", a=(int, ...), b=(str, "new"))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=after))
    assert codec.decode(record).b == "new"
    assert codec.decode(record).model_fields_set == {"a"}


def test_changed_classes_inside_a_pickle_are_stale(codec, monkeypatch):
    """The fields of a pickled object's class are looked at before it is built."""
    import dataclasses

    before = dataclasses.make_dataclass("Thing", [("a", int), ("b", str)])
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=before))
    record = codec.encode(collections.deque([before(1, "x")]))
    monkeypatch.setitem(sys.modules, "shapes_of_test", module(Thing=dataclasses.make_dataclass("Thing", ["a"])))
    with pytest.raises(StaleRecord, match="no field 'b'"):
        codec.decode(record)
    monkeypatch.setitem(sys.modules, "shapes_of_test", module())
    with pytest.raises(StaleRecord, match="Thing cannot be found"):
        codec.decode(record)


def test_a_lost_member_is_stale(codec, monkeypatch):
    """An enum without the stored member says so."""
    record = codec.encode(Colour.RED)
    monkeypatch.delitem(Colour._member_map_, "RED")
    with pytest.raises(StaleRecord, match="no member 'RED'"):
        codec.decode(record)


def test_atomic_values_need_no_decoding():
    """Immutable builtins may be handed out again; containers and subclasses may not."""
    assert all(map(is_atomic, ["a", 1, 1.5, True, None, b"x", math.nan]))
    assert not any(map(is_atomic, [[], {}, (), bytearray(), Text("s"), Colour.RED]))
