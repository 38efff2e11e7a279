"""The canonical text of each type, and the errors of what has none."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import io
import json
import pathlib
import re
import socket
import subprocess
import sys
import textwrap
import threading
import time
import types
import typing
import uuid
import zoneinfo

import attrs
import msgspec
import numpy as np
import pydantic
import pydantic.v1
import pytest
from ids import numbered, steady

from memollm._keys.canonical import canonical, canonical_call, hooks
from memollm.errors import UnkeyableArgument

HERE = __name__.rpartition(".")[2]


@pytest.fixture(autouse=True)
def _names(monkeypatch):
    """Functions are told apart by their bytecode here, and this module has one name however pytest imports it."""
    monkeypatch.setattr(hooks, "functions", lambda function: function.__code__.co_code.hex()[:8])
    monkeypatch.setattr(hooks, "module_name", lambda module: "app" if module == __name__ else module)


class Color(enum.Enum):
    RED = "red"
    BLOB = object()


class Level(enum.IntFlag):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    tags: list[str] = dataclasses.field(default_factory=list)
    unit: typing.ClassVar[str] = "m"


class Tuned(Point):
    """A subclass that is no dataclass of its own."""


@attrs.define
class Chapter:
    title: str


class Packed(msgspec.Struct):
    a: int
    b: str = "x"


class Person(pydantic.BaseModel):
    """Somebody."""

    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    age: int = 3
    _mood: str = pydantic.PrivateAttr(default="")


class Old(pydantic.v1.BaseModel):
    a: int = 1


class Movie(typing.TypedDict, total=False):
    """A film."""

    title: typing.Required[str]
    sequel: "Movie"


class Pair(typing.NamedTuple):
    b: int
    a: str = "x"


class Prompt(str):
    __slots__ = ("role",)


class Bag(dict):
    pass


class Custom:
    def __init__(self, content):
        self.content = content

    def __memollm_key__(self):
        return self.content


class Password:
    __memollm_secret__ = True


class Plain:
    pass


def helper():
    return 1


NAN = float("nan")
GOLDEN = [
    (None, "null"),
    (True, "true"),
    (12, "12"),
    (2**1024, '{"!int":"0x1' + "0" * 256 + '"}'),
    (-(2**1024), '{"!int":"-0x1' + "0" * 256 + '"}'),
    (1.0, "1.0"),
    (-0.0, "-0.0"),
    (1e300, "1e+300"),
    (NAN, '{"!float":"nan"}'),
    (-NAN, '{"!float":"nan"}'),
    (float("-inf"), '{"!float":"-inf"}'),
    (1 - 2j, '{"!complex":[1.0,-2.0]}'),
    ('né\n"😀', '"né\\n\\"😀"'),
    ("\ud83d\ude00", '"\\ud83d\\ude00"'),
    (b"a\xff\n", '{"!bytes":"aÿ\\n"}'),
    (b"x" * 1025, '{"!bytes":[1025,"blake2b:7a8cfabfe50562d363191d74f20fd8052d1d750aad51afa55cc91ccaef0f032c"]}'),
    (bytearray(b"a"), '{"!bytearray":"a"}'),
    (memoryview(b"a"), '{"!memoryview":["B",{"!tuple":[1]},{"!bytes":"a"}]}'),
    ([1, [2]], "[1,[2]]"),
    ((1, (2,)), '{"!tuple":[1,{"!tuple":[2]}]}'),
    ({"b": 1, "a": [2]}, '{"a":[2],"b":1}'),
    ({"$ref": "#/x"}, '{"$ref":"#/x"}'),
    ({"!tuple": [1]}, '{"!dict":[["!tuple",[1]]]}'),
    ({1: "a", "1": None}, '{"!dict":[["1",null],[1,"a"]]}'),
    ({2, 10}, '{"!set":[10,2]}'),
    (frozenset({"a"}), '{"!frozenset":["a"]}'),
    (range(3), '{"!range":[0,3,1]}'),
    (slice(1, None), '{"!slice":[1,null,null]}'),
    (..., '{"!constant":"Ellipsis"}'),
    (dt.date(2025, 1, 2), '{"!date":"2025-01-02"}'),
    (dt.datetime.fromisoformat("2025-01-02T03:04:05.000006"), '{"!datetime":"2025-01-02T03:04:05.000006"}'),
    (
        dt.datetime(2025, 1, 2, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"), fold=1),
        '{"!datetime":["2025-01-02T00:00:00",{"!zoneinfo":"Europe/Berlin"},1]}',
    ),
    (dt.time(1, 2, tzinfo=dt.UTC), '{"!time":["01:02:00",{"!timezone":[{"!timedelta":[0,0,0]}]},0]}'),
    (dt.timedelta(days=1, microseconds=2), '{"!timedelta":[1,0,2]}'),
    (decimal.Decimal("1.10"), '{"!decimal":"1.10"}'),
    (fractions.Fraction(1, 3), '{"!fraction":[1,3]}'),
    (uuid.UUID(int=1), '{"!uuid":"00000000-0000-0000-0000-000000000001"}'),
    (pathlib.Path("a/b"), '{"!path":"a/b"}'),
    (pathlib.PurePosixPath("a"), '{"!pureposixpath":"a"}'),
    (re.compile("a", re.IGNORECASE), '{"!pattern":["a",34]}'),
    (collections.OrderedDict(b=1, a=2), '{"!ordereddict":[["b",1],["a",2]]}'),
    (collections.Counter("ab"), '{"!counter":[["a",1],["b",1]]}'),
    (collections.defaultdict(list, a=1), '{"!defaultdict":[{"!class":"list"},[["a",1]]]}'),
    (collections.deque([1], maxlen=2), '{"!deque":[[1],2]}'),
    (types.MappingProxyType({"a": 1}), '{"!mappingproxy":{"a":1}}'),
    (types.SimpleNamespace(b=1, a=2), '{"!namespace":{"a":2,"b":1}}'),
    (Color.RED, '{"!enum":["app.Color","RED","red"]}'),
    (Color.BLOB, '{"!enum":["app.Color","BLOB"]}'),
    (Level.LOW | Level.HIGH, '{"!enum":["app.Level","LOW|HIGH",3]}'),
    (Point(1, ["t"]), '{"!dataclass":["app.Point",{"tags":["t"],"x":1}]}'),
    (Chapter("One"), '{"!attrs":["app.Chapter",{"title":"One"}]}'),
    (Packed(1), '{"!struct":["app.Packed",{"a":1,"b":"x"}]}'),
    (Person(name="Ann"), '{"!model":["app.Person",{"age":3,"name":"Ann"},{},{"_mood":""},{"!unset":["age"]}]}'),
    (
        Person(name="Ann", pet="cat"),
        '{"!model":["app.Person",{"age":3,"name":"Ann"},{"pet":"cat"},{"_mood":""},{"!unset":["age"]}]}',
    ),
    (Old(a=2), '{"!model":["app.Old",{"a":2}]}'),
    (Pair(1), '{"!namedtuple":["app.Pair",{"b":1,"a":"x"}]}'),
    (Prompt("hi"), '{"!subclass":["app.Prompt","hi"]}'),
    (Bag(a=1), '{"!subclass":["app.Bag",{"a":1}]}'),
    (Custom([1]), '{"!key":["app.Custom",[1]]}'),
    (pydantic.SecretStr("s3cret"), '{"!secret":"pydantic.types.SecretStr"}'),
    (Password(), '{"!secret":"app.Password"}'),
    (
        np.array([[1, 2]], dtype="<i4"),
        '{"!ndarray":["<i4",[1,2],"blake2b:6087240931c736c98ccb5748ffe8b0a946fb1bb382db195ad826ec3e060db3d8"]}',
    ),
    (np.array(["a", None], dtype=object), '{"!ndarray":["object",[2],["a",null]]}'),
    (np.float32(0.5), '{"!numpy":["<f4",0.5]}'),
    (np.datetime64("2020-01-01"), '{"!numpy":["<M8[D]",18262]}'),
    (np.dtype("<f8"), '{"!dtype":"<f8"}'),
    (len, '{"!builtin":"len"}'),
    (str.lower, '{"!builtin":"str.lower"}'),
    ("a".lower, '{"!method":["a","lower"]}'),
    (functools.partial(len, 1, key=2), '{"!partial":[{"!builtin":"len"},[1],{"key":2}]}'),
    (functools.lru_cache(len), '{"!lru_cache":{"!builtin":"len"}}'),
    (int, '{"!class":"int"}'),
    (Plain, '{"!class":"app.Plain"}'),
    (
        Color,
        '{"!class":["app.Color",{"RED":{"!enum":["app.Color","RED","red"]},"BLOB":{"!enum":["app.Color","BLOB"]}}]}',
    ),
    (Packed, '{"!class":["app.Packed",[{"a":[{"!class":"int"},{}],"b":[{"!class":"str"},{"default":"x"}]},""]]}'),
    (
        Movie,
        (
            '{"!class":["app.Movie",[{"title":[{"!type":[{"!typing":"typing.Required"},[{"!class":"str"}]]},{}],'
            '"sequel":[{"!class":["app.Movie",0]},{}]},"A film.",{"!frozenset":["title"]}]]}'
        ),
    ),
    (list[int], '{"!type":[{"!class":"list"},[{"!class":"int"}]]}'),
    (int | None, '{"!union":[{"!class":"int"},{"!class":"NoneType"}]}'),
    (typing.Literal["a", 1], '{"!literal":["a",1]}'),
    (typing.Annotated[int, "big"], '{"!annotated":[{"!class":"int"},["big"]]}'),
    (
        typing.Annotated[int, pydantic.Field(gt=1, title="T")],
        '{"!annotated":[{"!class":"int"},[{"!field":[{"title":"T"},[{"!dataclass":["annotated_types.Gt",{"gt":1}]}]]}]]}',
    ),
    (typing.Any, '{"!class":"typing.Any"}'),
]


@pytest.mark.parametrize(("value", "expected"), GOLDEN, ids=steady)
def test_a_value_has_one_readable_text(value, expected):
    """The text of a value is frozen: changing it would lose every stored sample."""
    assert canonical(value) == expected


@pytest.mark.parametrize("value", [value for value, _ in GOLDEN], ids=steady)
def test_every_text_is_json_that_a_file_can_take(value):
    """A text is JSON, and UTF-8 can encode it."""
    assert json.loads(canonical(value).encode()) is not NotImplemented


def test_the_documented_texts_are_true():
    """Every expression of the documentation's table has the text that stands beside it."""
    page = (pathlib.Path(__file__).parents[2] / "docs" / "keys.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \|", page, re.MULTILINE)
    assert len(rows) > 20
    for expression, text in rows:
        assert canonical(eval(expression, {**globals(), "np": np})) == text.replace("\\|", "|")


def test_a_call_is_its_function_and_its_arguments_by_name():
    """Identity and arguments are sorted by name, and the format has a version."""
    text = canonical_call({"name": "ask", "module": "app"}, {"prompt": "é", "args": (1,), "kwargs": {"b": 1}})
    assert text == (
        '{"memollm":1,"function":{"module":"app","name":"ask"},'
        '"arguments":{"args":{"!tuple":[1]},"kwargs":{"b":1},"prompt":"é"}}'
    )


def test_a_model_class_is_its_json_schema():
    """A model class is keyed by the schema that a model would be shown, its docstring included."""
    text = canonical(Person)
    assert text.startswith('{"!class":["app.Person",{')
    assert json.loads(text)["!class"][1] == Person.model_json_schema()


def test_a_model_class_that_was_rebuilt_is_described_again():
    """What pydantic said of a class is remembered only while the class stays as it was."""

    class Changing(pydantic.BaseModel):
        x: int = 1

    before = canonical(Changing)
    Changing.model_fields["x"].description = "changed"
    Changing.model_rebuild(force=True)
    assert canonical(Changing) == canonical(Changing) != before


def test_what_a_model_has_computed_does_not_count():
    """A cached property is no part of a model, whether it was read or not."""

    class Computing(pydantic.BaseModel):
        @functools.cached_property
        def slow(self):
            return object()

    model = Computing()
    before = canonical(model)
    assert model.slow
    assert canonical(model) == before


def test_undeclared_attributes_of_a_subclass_count():
    """A plain subclass of a dataclass may hold attributes that no field declares, and they are part of it."""
    tuned = Tuned(1)
    tuned.tone = "kind"
    assert canonical(tuned) == '{"!dataclass":["app.Tuned",{"tags":[],"x":1},{"tone":"kind"}]}'


def test_slots_of_a_builtin_subclass_count():
    """What a subclass of a builtin adds in its slots is part of it."""
    prompt = Prompt("hi")
    prompt.role = "user"
    assert canonical(prompt) == '{"!subclass":["app.Prompt","hi",{"role":"user"}]}'


LATE = """
from memollm._keys.canonical import canonical
assert canonical([1]) == "[1]"
import sys
assert not {"decimal", "fractions", "zoneinfo"} & sys.modules.keys()
import decimal, fractions, zoneinfo
class Price(decimal.Decimal):
    def __str__(self):
        return "dear"
Price.__module__ = "app"
print(canonical([Price("1.50"), decimal.Decimal("1e5"), fractions.Fraction(1, 3), zoneinfo.ZoneInfo("UTC")]))
"""


def test_types_of_modules_that_are_imported_later_are_known():
    """P9: a number's key is the same in a program that imports its module after memollm, even by way of a subclass."""
    written = subprocess.run(
        [sys.executable, "-c", LATE], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    subclass = '{"!subclass":["app.Price",{"!decimal":"1.50"}]}'
    assert written == f'[{subclass},{{"!decimal":"1E+5"}},{{"!fraction":[1,3]}},{{"!zoneinfo":"UTC"}}]\n'


def test_functions_are_named_and_fingerprinted_by_the_layer_above():
    """A function is its qualified name and the fingerprint that the hook gives."""
    hooks.functions = lambda function: function.__name__ * 2
    assert canonical(helper) == '{"!function":["app.helper","helperhelper"]}'
    assert canonical(Custom([1]).__memollm_key__) == (
        '{"!method":[{"!key":["app.Custom",[1]]},'
        '{"!function":["app.Custom.__memollm_key__","__memollm_key____memollm_key__"]}]}'
    )


def test_functions_are_refused_while_nobody_can_fingerprint_them():
    """A name alone does not tell a function's code, so a function is never keyed by its name alone."""
    hooks.functions = None
    with pytest.raises(UnkeyableArgument, match=r"^scorer is a function, whose code nothing here can tell"):
        canonical(helper, "scorer")


def test_a_failing_fingerprint_is_a_refusal():
    """The reason for which a function could not be fingerprinted is in the message and in the cause."""
    hooks.functions = lambda _: 1 / 0
    with pytest.raises(UnkeyableArgument, match="could not be fingerprinted: ZeroDivisionError was raised") as caught:
        canonical([helper], "tools")
    assert caught.value.path == "tools[0]"
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


class Raising:
    def __memollm_key__(self):
        raise ValueError("no")


def _generator():
    yield


def _cycle():
    outer = {"a": [1]}
    outer["a"].append(outer)
    return outer


async def _coroutine():
    """Never run."""


REFUSED = [
    (
        lambda: [{"role": "user"}, {"image": object()}],
        '[1]["image"]',
        "is of type object, which has no stable identity",
    ),
    (lambda: {"a": (1, {2: Plain()})}, '["a"][1][2]', "is of type app.Plain"),
    (lambda: {(1, Plain()): 1}, ".keys()[0][1]", "is of type app.Plain"),
    (lambda: {Plain()}, "{...}", "is of type app.Plain"),
    (lambda: Point(1, [Plain()]), ".tags[0]", "is of type app.Plain"),
    (lambda: Person(name="a", pet=Plain()), '["pet"]', "is of type app.Plain"),
    (lambda: Pair(1, Plain()), ".a", "is of type app.Plain"),
    (lambda: Custom({"x": Plain()}), '.__memollm_key__()["x"]', "is of type app.Plain"),
    (lambda: [Raising()], "[0]", "is of type app.Raising, whose __memollm_key__() failed: ValueError was raised"),
    (lambda: functools.partial(len, Plain()), "[0]", "is of type app.Plain"),
    (lambda: Plain().__init__, ".__self__", "is of type app.Plain"),
    (lambda: np.array([1, Plain()], dtype=object), "[1]", "is of type app.Plain"),
    (lambda: np.ma.array([1]), "", "is a subclass of numpy.ndarray"),
    (lambda: np.longdouble(1), "", "has the dtype"),
    *(
        # From NumPy 2 on.
        [(lambda: np.array(["a"], dtype=np.dtypes.StringDType()), "", "has the dtype")]
        if hasattr(getattr(np, "dtypes", None), "StringDType")
        else []
    ),
    (_cycle, '["a"][1]', "stands inside itself"),
    (_generator, "", "is of type generator"),
    (lambda: iter([]), "", "is of type list_iterator"),
    ({}.keys, "", "is of type dict_keys"),
    (lambda: time.gmtime(0), "", "is of type time.struct_time"),
    (io.StringIO, "", "is of type _io.StringIO"),
    (threading.Lock, "", "is of type _thread.lock"),
    (lambda: json, "", "is of type module"),
    (lambda: helper.__code__, "", "is of type code"),
    (lambda: ValueError("x"), "", "is of type ValueError"),
    (object, "", "is of type object"),
]


@pytest.mark.parametrize(("make", "step", "reason"), REFUSED, ids=numbered(REFUSED))
def test_what_has_no_identity_is_named_by_its_path(make, step, reason):
    """The error says where the value stands, what it is, and what to do."""
    with pytest.raises(UnkeyableArgument) as caught:
        canonical(make(), "messages")
    assert caught.value.path == "messages" + step
    assert str(caught.value).startswith(f"messages{step} {reason}")
    assert 'ignore=("messages",)' in str(caught.value)
    assert "key=" in str(caught.value)
    assert "__memollm_key__()" in str(caught.value)


def test_open_resources_are_refused():
    """Files, sockets and coroutines are refused."""
    coroutine = _coroutine()
    with socket.socket() as plug, pathlib.Path(__file__).open() as file:
        for value in (plug, file, coroutine):
            with pytest.raises(UnkeyableArgument):
                canonical(value)
    coroutine.close()


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: {"a": x}, lambda x: frozenset({x}), Point, Custom])
def test_depth_is_limited_and_never_a_recursion_error(wrap):
    """Two hundred levels are enough for everybody; more are refused, and so is what the stack cannot hold."""
    value = 0
    for _ in range(100):
        value = wrap(value)
    assert canonical(value)
    for _ in range(5000 if wrap(()) != frozenset({()}) else 150):
        value = wrap(value)
    with pytest.raises(UnkeyableArgument, match="is nested deeper than 200 levels"):
        canonical(value, "x")


def test_the_deepest_value_stands_two_hundred_levels_deep():
    """The limit is the same everywhere, not what the stack happens to hold."""
    value = 0
    for _ in range(200):
        value = [value]
    assert canonical(value) == "[" * 200 + "0" + "]" * 200
    with pytest.raises(UnkeyableArgument):
        canonical([value])


def test_a_path_of_a_call_begins_with_the_parameter():
    """In a call the path begins with the parameter's name."""
    with pytest.raises(UnkeyableArgument) as caught:
        canonical_call({"name": "ask"}, {"model": "m", "kwargs": {"client": Plain()}})
    assert caught.value.path == 'kwargs["client"]'
    assert 'ignore=("kwargs",)' in str(caught.value)


def test_a_secret_never_shows():
    """Nothing of a secret's content is in the text, however deep it lies."""
    text = canonical([{"a": pydantic.SecretStr("s3cret")}, pydantic.SecretBytes(b"s3cret")])
    assert "s3cret" not in text
    assert text == canonical([{"a": pydantic.SecretStr("other")}, pydantic.SecretBytes(b"other")])


def _run(program, *arguments):
    command = [sys.executable, "-W", "error", *arguments]
    command += ["-c", textwrap.dedent(program)] if not arguments else []
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_optional_packages_are_not_imported():
    """Keying imports no optional package."""
    program = """
        import sys
        from memollm._keys.canonical import canonical
        canonical([{"a": (1, 2.0, {3}, b"x")}, int])
        print([name for name in ("numpy", "pydantic", "attrs", "attr", "pandas") if name in sys.modules])
    """
    assert _run(program) == "[]"


def test_a_class_of_a_program_has_one_name(tmp_path):
    """A class of `__main__` has one text when the file is run, imported, or re-imported by a spawned child."""
    program = tmp_path / "study.py"
    program.write_text(
        textwrap.dedent("""
        import multiprocessing
        from dataclasses import dataclass
        from memollm._keys.canonical import canonical

        @dataclass
        class Setting:
            x: int

        def show(_):
            return canonical([Setting(1), Setting])

        if __name__ == "__main__":
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                print({show(0), *pool.map(show, [0])})
        """)
    )
    imported = _run(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import study; print({{study.show(0)}})")
    assert '"study.Setting"' in imported
    assert _run("", str(program)) == imported
    module = subprocess.run(
        [sys.executable, "-m", "study"], check=True, capture_output=True, text=True, cwd=tmp_path
    ).stdout.strip()
    assert module == imported


def test_names_of_main_without_a_file_stay():
    """A program without a file keeps `__main__` as its name."""
    program = """
        from memollm._keys.canonical import canonical
        class A: pass
        print(canonical(A))
    """
    assert _run(program) == '{"!class":"__main__.A"}'
