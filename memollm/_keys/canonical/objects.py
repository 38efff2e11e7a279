"""Instances of classes, such as dataclasses: by what they say themselves, their fields, or the builtin they extend."""

from __future__ import annotations

from enum import Enum
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from memollm._keys.canonical.names import class_name, class_of, hooks, is_python_class, lineage, lookup, namespace
from memollm._keys.canonical.plain import COPIES
from memollm._keys.canonical.walk import (
    EXACT,
    TOO_DEEP,
    Encoder,
    Refused,
    attributes,
    child,
    failed,
    mapping,
    quote,
    tag,
    text,
)
from memollm._types.secret import is_secret_type

if TYPE_CHECKING:
    from collections.abc import Iterable

_MODELS = ("pydantic.main", "pydantic.v1.main")


def secret(cls: type[Any]) -> Encoder | None:
    """Recognize a class that hides its content: pydantic's secrets, and whatever says so."""
    return (lambda _value, _depth: tag("secret", quote(class_name(cls)))) if is_secret_type(cls) else None


def keyed(cls: type[Any]) -> Encoder | None:
    """Recognize a class that says itself what to key on."""
    return _keyed if lookup(cls, "__memollm_key__") is not None else None


def enumerated(cls: type[Any]) -> Encoder | None:
    """Recognize members of enumerations."""
    return _member if issubclass(cls, Enum) else None


def modelled(cls: type[Any]) -> Encoder | None:
    """Recognize models of pydantic, dataclasses, and instances of attrs and msgspec classes."""
    if is_model(cls):
        return _model
    if lookup(cls, "__dataclass_fields__") is not None:
        return _dataclass
    if lookup(cls, "__attrs_attrs__") is not None:
        return _attrs
    if str(namespace(cls).get("__module__")).startswith("pydantic."):
        return {"FieldInfo": _field_info, "_PydanticGeneralMetadata": _constraints}.get(cls.__name__)
    return _struct if lookup(cls, "__struct_fields__") is not None else None


def extended(cls: type[Any]) -> Encoder | None:
    """Recognize Python subclasses of the builtin types."""
    return _extension if _builtin_base(cls) is not None else None


def is_model(cls: type[Any]) -> bool:
    """Tell whether a class is a pydantic model, of either version."""
    return any(namespace(base).get("__module__") in _MODELS and base.__name__ == "BaseModel" for base in lineage(cls))


def _keyed(value: Any, depth: int) -> str:
    try:
        key = value.__memollm_key__()
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 - The user's own method may raise anything.
        raise failed(error, f"is of type {class_name(class_of(value))}, whose __memollm_key__() failed") from None
    content, own = child(key, depth, ".__memollm_key__()", value), lookup(class_of(value), "__memollm_tag__")
    # What is ours is not told by its class, whose name may change.
    return _instance("key", value, content) if own is None else tag(own, content)


def _instance(kind: str, value: object, *parts: str) -> str:
    cls = class_of(value)
    # Who says itself what it is keyed on has said all.
    code = "" if kind == "key" or hooks.classes is None else hooks.classes(cls)
    more = (tag("code", quote(code)),) if code else ()
    return tag(kind, f"[{','.join((quote(class_name(cls)), *parts, *more))}]")


def _member(value: Enum, depth: int) -> str:
    """Write a member as its class and name, and its value where it has a key: values are what prompts use."""
    name = text(object.__getattribute__(value, "_name_"), depth + 1)
    try:
        content = child(object.__getattribute__(value, "_value_"), depth, ".value", value)
    except Refused as refused:
        if refused.reason == TOO_DEEP:
            raise
        return _instance("enum", value, name)
    return _instance("enum", value, name, content)


def _fields(members: Iterable[tuple[str, object]], depth: int, owner: object) -> str:
    return attributes(members, lambda item: text(item, depth + 1), owner)


def _read(value: object, names: Iterable[str], depth: int) -> str:
    return _fields(((name, getattr(value, name)) for name in sorted(names)), depth, value)


def _dataclass(value: Any, depth: int) -> str:
    cls: type[Any] = class_of(value)
    names = [name for name, field in lookup(cls, "__dataclass_fields__").items() if _is_field(field)]
    fields = _read(value, names, depth)
    own = "__dataclass_fields__" in namespace(cls)
    rest = {} if own else {name: item for name, item in _dict_of(value).items() if name not in names}
    return _instance("dataclass", value, fields, *_more(value, rest, depth))


def _is_field(field: Any) -> bool:
    """Tell a field from a class variable and an argument of the constructor, which dataclasses list beside it."""
    return str(getattr(field, "_field_type")) == "_FIELD"  # noqa: B009 - Dataclasses tell it nowhere else.


def _attrs(value: Any, depth: int) -> str:
    names = [field.name for field in lookup(class_of(value), "__attrs_attrs__")]
    own = "__attrs_attrs__" in namespace(class_of(value))
    rest = {} if own else {name: item for name, item in _dict_of(value).items() if name not in names}
    return _instance("attrs", value, _read(value, names, depth), *_more(value, rest, depth))


def _struct(value: Any, depth: int) -> str:
    return _instance("struct", value, _read(value, class_of(value).__struct_fields__, depth))


def _more(value: object, rest: dict[str, Any], depth: int) -> list[str]:
    """Write what an instance holds beyond its declared fields: undeclared attributes, the content of a builtin base."""
    base = _builtin_base(class_of(value))
    content = [] if base is None else [EXACT[base](COPIES.get(base, _itself)(value), depth)]
    return [*content, _fields(sorted(rest.items()), depth, value)] if rest or content else []


def _model(value: Any, depth: int) -> str:
    """Write a model as its fields, extras and private attributes: what its own equality compares."""
    members = _dict_of(value)
    newer, older = (lookup(class_of(value), mark) for mark in ("__pydantic_fields__", "__fields__"))
    declared: Iterable[str] = newer if newer is not None else older
    fields = sorted((name, item) for name, item in members.items() if name in declared)
    extras: dict[str, Any] = getattr(value, "__pydantic_extra__", None) or {}
    parts = [_fields(fields, depth, value), mapping(dict(extras), depth)]
    private: dict[str, Any] = getattr(value, "__pydantic_private__", None) or {}
    parts += [_fields(sorted(private.items()), depth, value)] if private else []
    parts = parts if private or extras else parts[:1]
    given: Any = getattr(value, "__pydantic_fields_set__" if newer is not None else "__fields_set__", None)
    # What was not given is told apart by `exclude_unset`.
    unset = [] if given is None else [quote(name) for name, _ in fields if name not in given]
    return _instance("model", value, *parts, *([tag("unset", f"[{','.join(unset)}]")] if unset else []))


def _field_info(value: Any, depth: int) -> str:
    """Write a pydantic `Field(...)` in an annotation as the options that were given to it."""
    given = getattr(value, "_attributes_set")  # noqa: B009 - It shows them nowhere else.
    return tag("field", f"[{mapping(dict(given), depth)},{child(value.metadata, depth, '.metadata', value)}]")


def _constraints(value: Any, depth: int) -> str:
    return tag("constraints", mapping(_dict_of(value), depth))


def _extension(value: Any, depth: int) -> str:
    cls: type[Any] = class_of(value)
    base: type[Any] = _builtin_base(cls) or object
    plain = COPIES.get(base, _itself)(value)
    state = _fields(sorted(_state(value, base).items()), depth, value)
    parts = () if state == "{}" else (state,)
    names: Any = lookup(cls, "_fields") if base is tuple else None
    if class_of(names) is tuple and len(names) == len(plain):
        return _instance("namedtuple", value, _fields(zip(names, plain, strict=True), depth, value), *parts)
    return _instance("subclass", value, EXACT[base](plain, depth), *parts)


def _itself(value: Any) -> Any:
    return value


def _builtin_base(cls: type[Any]) -> type[Any] | None:
    """Find the builtin that a class extends in Python alone; compiled classes may hide state."""
    for base in lineage(cls):
        if base in EXACT:
            return base
        if not is_python_class(base):
            return None
    return None


def _state(value: object, base: type[Any]) -> dict[str, Any]:
    """Read the attributes that a class adds to the builtin that it extends, from its slots and its dict."""
    state = _dict_of(value)
    classes = lineage(class_of(value))
    for cls in classes[: classes.index(base)]:
        for name, member in namespace(cls).items():
            if type(member) is MemberDescriptorType:
                state.update(_slot(name, member, value))
    return state


def _slot(name: str, member: MemberDescriptorType, value: object) -> dict[str, Any]:
    try:
        return {name: member.__get__(value)}
    except AttributeError:
        return {}


def _dict_of(value: object) -> dict[str, Any]:
    try:
        return dict(object.__getattribute__(value, "__dict__"))
    except AttributeError:
        return {}
