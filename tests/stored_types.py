"""Classes whose objects are stored in tests, importable by name."""

import dataclasses
import enum
import typing

import attrs
import msgspec
import pydantic

T = typing.TypeVar("T")


class Colour(enum.Enum):
    RED = "red"


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Text(str):
    __slots__ = ()


class Point(typing.NamedTuple):
    x: int
    y: int


@dataclasses.dataclass
class Answer:
    text: str
    score: float | None = None
    parts: list = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    name: str
    tags: frozenset[str] = frozenset()


@dataclasses.dataclass
class Noisy:
    value: int
    made: typing.ClassVar[int] = 0

    def __post_init__(self):
        type(self).made += 1
        self.value += 1


@attrs.define(frozen=True)
class Reading:
    place: str
    value: tuple


class Row(msgspec.Struct):
    key: str
    data: bytes = b""


class Verdict(pydantic.BaseModel):
    label: str
    why: list[str] = []
    odds: dict[str, float] = {}
    extra: typing.Any = None


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow", arbitrary_types_allowed=True)
    anything: typing.Any = None
    _note: str = pydantic.PrivateAttr(default="")


class Wrapped(pydantic.BaseModel, typing.Generic[T]):
    inner: T


class Plain:
    def __init__(self, value):
        self.value = value


class Liar(Plain):
    """Claims to equal everything, and comes back changed."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 1

    def __setstate__(self, state):
        self.value = state["value"] + 1


class Forgetful(Plain):
    """Leaves out of its pickle what its own equality looks at."""

    def __eq__(self, other):
        return self.value == other.value

    def __hash__(self):
        return 1

    def __reduce__(self):
        return Forgetful, (0,)
