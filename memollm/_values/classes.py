"""Values whose class is named: pydantic models, dataclasses, attrs classes, msgspec structs, named tuples, enums.

A record that names a class is signed. When it is read, its class must still be there and have the same fields, or the
record is stale: an object is built whole or not at all.
"""

from __future__ import annotations

import enum
import sys
import types
import typing
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from memollm._types.samples import ATOMS
from memollm._types.secret import said_by
from memollm._types.signals import pass_on
from memollm._values.live import refuse_live, refuse_secret
from memollm._values.names import WAY_OUT, check_fields, class_name, fields_of, find_class, is_model
from memollm._values.same import kind_of
from memollm._values.schema import schema_of
from memollm._values.tree import Reader, Unfit, Writer, from_json, to_json
from memollm.errors import RecordError, StaleRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from memollm._values.same import Sameness


class Registered(NamedTuple):
    """How the user stores a type of their own."""

    name: str
    encode: Callable[[Any], object]
    decode: Callable[[Any], object]


class TypedWriter(Writer):
    """A writer that also knows registered types and classes; `names_class` says whether it met one."""

    def __init__(self, registry: Mapping[type, Registered], same: Sameness) -> None:
        super().__init__()
        self.names_class = False
        self._registry = registry
        self._same = same

    def other(self, value: Any, path: str, depth: int) -> Any:
        """Write a part of a type that is not built in."""
        cls = kind_of(value)
        if cls in self._registry:
            node = self._registered(value, path, depth)
        elif name := class_name(cls):
            refuse_live(value, path)
            node = self._of_class(value, name, path, depth)
        else:
            node = None
        self.names_class |= node is not None
        return super().other(value, path, depth) if node is None else node

    def _registered(self, value: Any, path: str, depth: int) -> Any:
        entry = self._registry[type(value)]
        return {"$": "registered", "c": entry.name, "v": self.node(entry.encode(value), path, depth)}

    def _of_class(self, value: Any, name: str, path: str, depth: int) -> Any:
        cls = kind_of(value)
        if isinstance(value, enum.Enum):
            return {"$": "enum", "c": name, "v": self.node(value.name, path, depth)}
        if is_model(cls):
            return self._model(value, name, path, depth)
        if (fields := fields_of(cls)) is None:
            return None
        parts = {field: self.node(getattr(value, field), f"{path}.{field}", depth) for field in fields}
        return {"$": "fields", "c": name, "v": parts}

    def _model(self, value: Any, name: str, path: str, depth: int) -> Any:
        """Write pydantic's own JSON where its validation gives the same model back, else the model's state."""
        # Its own serializers may well show what a secret hides.
        _refuse_secrets(value, path)
        fields = fields_of(type(value)) or ()
        beside = {key: item for key, item in value.__dict__.items() if key not in fields}
        for unset in ([], list(_with_extras(value, []))):
            if (stored := self._validated(value, beside, unset)) is not None:
                parts = {
                    "x": self.node(beside, path, depth) if beside else None,
                    "b": unset,
                    "s": schema_of(type(value)),
                }
                return {"$": "pydantic", "c": name, "v": stored, **{key: part for key, part in parts.items() if part}}
        state = {key: self.node(part, path, depth) for key, part in value.__getstate__().items()}
        return {"$": "model", "c": name, "f": list(fields), "v": state}

    def _validated(self, value: Any, beside: dict[str, Any], unset: list[list[Any]]) -> Any:
        try:
            text = _dump_model(value)
            return msgspec.Raw(text) if self._same(_load_model(type(value), text, beside, unset), value) else None
        except Exception as exc:  # noqa: BLE001 (a model's serializers and validators may raise anything)
            pass_on(exc)
            return None


class _Whole(msgspec.Struct):
    """A record that is one pydantic model, whose own JSON is left to pydantic."""

    kind: str = msgspec.field(name="$")
    name: str = msgspec.field(name="c")
    stored: msgspec.Raw = msgspec.field(name="v")
    schema: str = msgspec.field(name="s", default="")
    unset: tuple[list[Any], ...] = msgspec.field(name="b", default=())
    beside: msgspec.Raw | None = msgspec.field(name="x", default=None)


_read_whole = msgspec.json.Decoder(_Whole).decode
_BEGINS_WHOLE = b'{"$":"pydantic",'


class TypedReader(Reader):
    """A reader of records whose signature was verified."""

    def __init__(self, body: bytes, registry: Mapping[str, Registered]) -> None:
        super().__init__(body)
        self._registry = registry

    def other(self, raw: dict[str, Any]) -> Any:
        """Read a part with a tag that is not built in."""
        read = _READERS.get(raw["$"])
        if read is None:
            return super().other(raw)
        try:
            return read(self, raw)
        except RecordError:
            raise
        except Exception as exc:  # The classes are the user's, and may raise anything.
            pass_on(exc)
            raise _no_longer_taken(raw["c"], exc) from exc

    def _registered(self, raw: dict[str, Any]) -> Any:
        entry = self._registry.get(raw["c"])
        if entry is None:
            raise StaleRecord(f"no type is registered under the name {raw['c']!r}: register it before reading")
        return entry.decode(self.node(raw["v"]))

    def _enum(self, raw: dict[str, Any]) -> Any:
        members = find_class(raw["c"]).__members__
        if raw["v"] not in members:
            raise StaleRecord(f"{raw['c']} has no member {raw['v']!r} any more. {WAY_OUT}")
        return members[raw["v"]]

    def _fields(self, raw: dict[str, Any]) -> Any:
        cls = find_class(raw["c"])
        check_fields(cls, raw["c"], raw["v"])
        parts = {field: self.node(part) for field, part in raw["v"].items()}
        _check_types(cls, raw["c"], parts)
        return _build(cls, parts)

    def _model(self, raw: dict[str, Any]) -> Any:
        cls = find_class(raw["c"])
        check_fields(cls, raw["c"], raw["f"])
        state = self.node(raw["v"])
        _check_types(cls, raw["c"], {key: part for key, part in state["__dict__"].items() if key in raw["f"]})
        model = cls.__new__(cls)
        model.__setstate__(state)
        return model

    def _pydantic(self, raw: dict[str, Any]) -> Any:
        beside = self.node(raw.get("x", {}))
        return _of_model(raw["c"], to_json(raw["v"]), raw.get("s", ""), raw.get("b", ()), beside)

    READERS: typing.ClassVar = {
        "registered": _registered,
        "enum": _enum,
        "fields": _fields,
        "model": _model,
        "pydantic": _pydantic,
    }


_READERS = TypedReader.READERS


def read_classes(body: bytes, registry: Mapping[str, Registered]) -> Any:
    """Read the body of a record whose signature was verified; most are one model, of which nothing else is parsed."""
    if not body.startswith(_BEGINS_WHOLE):
        return TypedReader(body, registry).read()
    try:
        whole = _read_whole(body)
    except msgspec.DecodeError:  # What stands beside it is in bytes that follow.
        return TypedReader(body, registry).read()
    beside: dict[str, Any] = TypedReader(bytes(whole.beside), registry).read() if whole.beside else {}
    return _of_model(whole.name, bytes(whole.stored), whole.schema, whole.unset, beside)


def _of_model(name: str, text: bytes, schema: str, unset: Sequence[list[Any]], beside: dict[str, Any]) -> Any:
    """Build a model; if its class is not surely the one that it was written with, see whether anything is lost."""
    cls = find_class(name)
    try:
        model = _load_model(cls, text, beside, unset)
    except Exception as exc:
        pass_on(exc)
        raise StaleRecord(f"{name}{_where(exc)} no longer takes what was stored: {said_by(exc)}. {WAY_OUT}") from exc
    if schema and schema == schema_of(cls):
        return model
    try:
        path = differing(from_json(text), from_json(_dump_model(model)))
    except Exception as exc:  # The classes are the user's, and may raise anything.
        pass_on(exc)
        raise _no_longer_taken(name, exc) from exc
    if path:
        raise StaleRecord(f"{name}{path} is lost or changed by the class as it is now. {WAY_OUT}")
    return model


def differing(stored: Any, now: Any) -> str:
    """Say where two JSON values first differ, as a path; empty if they do not."""
    kind = kind_of(stored)
    places: list[tuple[str, Any, Any]]
    if kind is not kind_of(now) or kind not in {dict, list} or (kind is list and len(stored) != len(now)):
        return "" if kind is kind_of(now) and stored == now else " "
    if kind is dict:
        places = [(f".{key}", stored.get(key, Unfit), now.get(key, Unfit)) for key in {**stored, **now}]
    else:
        places = [(f"[{index}]", part, now[index]) for index, part in enumerate(stored)]
    return next((f"{place}{deeper}".rstrip() for place, one, other in places if (deeper := differing(one, other))), "")


def _dump_model(model: Any) -> bytes:
    dump = sys.modules["pydantic"].BaseModel.model_dump_json
    text: str = dump(model, by_alias=True, exclude_unset=True, round_trip=True, warnings=False)
    return text.encode()


def _load_model(cls: Any, text: bytes, beside: dict[str, Any], unset: Sequence[list[Any]]) -> Any:
    """Validate a model again.

    `unset` are the paths to models that an SDK put together without validation, which alone counts undeclared fields
    as set.
    """
    model = cls.__pydantic_validator__.validate_json(text)
    if beside:
        model.__dict__.update(beside)
    for path in unset:
        part = model
        for step in path:
            part = _part(part, step)
        part.__pydantic_fields_set__.difference_update(part.__pydantic_extra__)
    return model


def _part(value: Any, step: Any) -> Any:
    if kind_of(value) in {list, tuple, dict}:
        return value[step]
    return value.__dict__[step] if step in value.__dict__ else value.__pydantic_extra__[step]


def _refuse_secrets(value: Any, path: str) -> None:
    """Refuse a secret wherever it is in a model."""
    kind = kind_of(value)
    parts: Iterable[tuple[str, Any]] = ()
    if kind in {list, tuple}:
        items: list[Any] = value
        parts = ((f"[{place}]", item) for place, item in enumerate(items))
    elif kind is dict:
        entries: dict[Any, Any] = value
        parts = ((f"[{key!r}]", item) for key, item in entries.items())
    elif kind not in ATOMS:
        refuse_secret(value, path)
        own: dict[str, Any] = getattr(value, "__dict__", {})
        extras: dict[str, Any] = getattr(value, "__pydantic_extra__", None) or {}
        parts = ((f".{name}", item) for name, item in (*own.items(), *extras.items()))
    for step, part in parts:
        _refuse_secrets(part, path + step)


def _with_extras(value: Any, path: list[Any]) -> Iterator[list[Any]]:
    """Give the path to each model that has undeclared fields."""
    kind = kind_of(value)
    parts: Iterable[tuple[Any, Any]] = ()
    if kind in {list, tuple}:
        items: list[Any] = value
        parts = enumerate(items)
    elif kind is dict:
        parts = value.items()
    elif is_model(kind):
        extras: dict[str, Any] = value.__pydantic_extra__ or {}
        if extras:
            yield path
        parts = {**extras, **value.__dict__}.items()
    for step, part in parts:
        yield from _with_extras(part, [*path, step])


def _no_longer_taken(name: str, exc: Exception) -> StaleRecord:
    return StaleRecord(f"{name} no longer takes what was stored: {type(exc).__name__}: {said_by(exc)}. {WAY_OUT}")


def _where(exc: Exception) -> str:
    errors = getattr(exc, "errors", None)
    return "".join(f".{part}" for part in errors()[0]["loc"]) if errors else ""


def _build(cls: Any, parts: dict[str, Any]) -> Any:
    """Make the object as unpickling would: without running its `__init__`, whose effects are in the parts."""
    if "__struct_fields__" in dir(cls):
        return cls(**parts)
    if "_fields" in dir(cls):
        return cls._make(parts.values())
    made = cls.__new__(cls)
    for field, part in parts.items():
        object.__setattr__(made, field, part)
    return made


def _check_types(cls: type, name: str, parts: dict[str, Any]) -> None:
    hints = _hints(cls)
    for field, part in parts.items():
        if field in hints and not _fits(part, hints[field]):
            raise StaleRecord(
                f"{name}.{field} is a {_show(hints[field])} now, and a {type(part).__name__} was stored. {WAY_OUT}"
            )


@lru_cache(maxsize=512)
def _hints(cls: type) -> dict[str, Any]:
    try:
        return typing.get_type_hints(cls)
    except Exception:  # noqa: BLE001 (annotations are the user's code; without them nothing is known)
        return {}


def _fits(value: object, hint: Any) -> bool:
    """Tell whether a value can stand under an annotation, as far as a look at its own class can tell."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    kind = origin or hint
    if not isinstance(kind, type):
        return True
    try:
        return isinstance(value, kind) or (kind is float and type(value) is int)
    except TypeError:  # A protocol that cannot be checked.
        return True


def _show(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint)
