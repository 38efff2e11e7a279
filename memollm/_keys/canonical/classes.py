"""Classes themselves as arguments, by name and schema, and the constructs of `typing`; not their instances.

A class that is a schema (a model, a dataclass, a TypedDict, an enumeration, …) is described field by field, because
two versions of it make two different calls; the order of fields counts, since models answer in that order. Each class
is described where it is first met and afterwards named by its number, so recursive types end. How a type is spelt
(`List[int]`, `Optional[X]`, a quoted name) does not count.
"""

from __future__ import annotations

import json
import typing
from dataclasses import MISSING
from enum import Enum
from inspect import cleandoc
from types import GenericAlias, GetSetDescriptorType, MemberDescriptorType, UnionType
from typing import TYPE_CHECKING, Any, Union, cast
from weakref import WeakKeyDictionary

from memollm._keys.canonical.names import (
    class_name,
    class_of,
    hooks,
    is_python_class,
    lineage,
    lookup,
    namespace,
    qualified,
)
from memollm._keys.canonical.objects import is_model
from memollm._keys.canonical.veil import of_schema
from memollm._keys.canonical.walk import Encoder, attributes, child, quote, tag, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HOMES = ("typing", "typing_extensions", "annotationlib")
_DESCRIPTORS = (MemberDescriptorType, GetSetDescriptorType, property)
_MISSING = ("dataclasses._MISSING_TYPE", "attr._make._Nothing", "msgspec._core._Nodefault")
_SCHEMAS: WeakKeyDictionary[type, tuple[object, str]] = WeakKeyDictionary()

Seen = dict[type[Any], int]
Entry = tuple[object, Any]


def recognize(cls: type[Any]) -> Encoder | None:
    """Recognize classes, and what annotations are made of."""
    if issubclass(cls, type):
        return lambda value, depth: _class(value, depth, {}, root=True)
    construct = cls in (GenericAlias, UnionType) or namespace(cls).get("__module__") in _HOMES
    return (lambda value, depth: _construct(value, depth, {})) if construct else None


def _described(annotation: Any, depth: int, seen: Seen) -> str:
    kind = class_of(annotation)
    if annotation is None:
        return _class(type(None), depth, seen)
    if kind is str:
        return tag("reference", quote(annotation))
    if kind is list:
        return f"[{','.join(_described(part, depth + 1, seen) for part in annotation)}]"
    if issubclass(kind, type):
        return _class(annotation, depth, seen)
    if kind in (GenericAlias, UnionType) or namespace(kind).get("__module__") in _HOMES:
        return _construct(annotation, depth, seen)
    return text(annotation, depth + 1)


def _construct(value: Any, depth: int, seen: Seen) -> str:
    origin = typing.get_origin(value)
    if origin is None:
        return _named_construct(value, depth, seen)
    if origin is typing.Literal:
        return tag("literal", f"[{','.join(child(item, depth, '.__args__', value) for item in value.__args__)}]")
    if origin is typing.Annotated:
        metadata = text(list(value.__metadata__), depth + 1)
        return tag("annotated", f"[{_described(value.__origin__, depth + 1, seen)},{metadata}]")
    arguments = ",".join(_described(part, depth + 1, seen) for part in typing.get_args(value))
    if origin in (Union, UnionType):
        return tag("union", f"[{arguments}]")
    return tag("type", f"[{_described(origin, depth + 1, seen)},[{arguments}]]")


def _named_construct(value: Any, depth: int, seen: Seen) -> str:
    """Describe what has a name and no arguments: a special form, a type variable, a new type, an alias."""
    if isinstance(value, typing.ForwardRef):
        return _described(value.__forward_arg__, depth, seen)
    name = next(filter(None, (getattr(value, key, None) for key in ("__qualname__", "__name__", "_name"))))
    home = quote(qualified(value.__module__, name))
    # The bound of a parameter specification means nothing, and where there is none each Python says it differently.
    bound = () if isinstance(value, typing.ParamSpec) else ("__bound__",)
    kin = ("__supertype__", "__value__", "__constraints__", *bound)
    members = [(key, getattr(value, key)) for key in kin if getattr(value, key, None) not in (None, ())]
    if not members:
        return tag("typing", home)
    if value in seen:
        return tag("typing", f"[{home},{seen[value]}]")
    seen[cast("type[Any]", value)] = len(seen)
    return tag("typing", f"[{home},{attributes(members, lambda part: _member(part, depth, seen), value)}]")


def _member(part: Any, depth: int, seen: Seen) -> str:
    return _described(list(part) if class_of(part) is tuple else part, depth + 1, seen)


def _class(cls: type[Any], depth: int, seen: Seen, *, root: bool = False) -> str:
    name = quote(class_name(cls))
    schema = _schema_of(cls, root=root)
    code = hooks.classes(cls) if root and hooks.classes is not None else ""
    if code:
        name = f"{name},{tag('code', quote(code))}"
    if schema is None:
        return tag("class", f"[{name}]" if code else name)
    if cls in seen:
        return tag("class", f"[{name},{seen[cls]}]")
    seen[cls] = len(seen)
    return tag("class", f"[{name},{schema(cls, depth + 1, seen)}]")


def _schema_of(cls: type[Any], *, root: bool) -> Callable[[type[Any], int, Seen], str] | None:
    if not is_python_class(cls):
        return None
    if is_model(cls):
        return _model_schema
    if issubclass(cls, Enum):
        return _members
    declared = any(lookup(cls, mark) is not None for mark in _MARKS)
    return _field_schema if declared or (root and _has_annotations(cls)) else None


_MARKS = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__", "__required_keys__", "_field_defaults")


def _has_annotations(cls: type[Any]) -> bool:
    return any(getattr(base, "__annotations__", None) for base in lineage(cls) if is_python_class(base))


def _model_schema(cls: Any, _depth: int, _seen: Seen) -> str:
    """Ask pydantic, which is slow; what it said holds as long as the model's core schema stands."""
    core = namespace(cls).get("__pydantic_core_schema__")
    known = _SCHEMAS.get(cls)
    if known is not None and known[0] is core and core is not None:
        return known[1]
    schema = cls.schema() if core is None else cls.model_json_schema()
    written_out = None if core is None else _serialized(cls)
    if written_out not in (None, schema):
        schema = {"read": schema, "written": written_out}
    written = json.dumps(of_schema(schema), ensure_ascii=False, separators=(",", ":"))
    _SCHEMAS[cls] = (namespace(cls).get("__pydantic_core_schema__"), written)
    return written


def _serialized(cls: Any) -> Any:
    """Ask for the schema of what a model writes, where it can be told."""
    try:
        return cls.model_json_schema(mode="serialization")
    except Exception:  # noqa: BLE001 - a serializer may be of anything.
        return None


def _members(cls: Any, depth: int, _seen: Seen) -> str:
    return attributes(cls.__members__.items(), lambda member: text(member, depth + 1), cls)


def _field_schema(cls: type[Any], depth: int, seen: Seen) -> str:
    fields = attributes(_entries(cls).items(), lambda entry: _entry(entry, depth, seen), cls)
    required = lookup(cls, "__required_keys__")
    parts = [fields, quote(_doc(cls))] if required is None else [fields, quote(_doc(cls)), text(required, depth)]
    return f"[{','.join(parts)}]"


def _entry(entry: Entry, depth: int, seen: Seen) -> str:
    annotation, extras = entry
    described = _described(annotation, depth + 1, seen)
    return f"[{described},{attributes(extras.items(), lambda item: text(item, depth + 1), entry)}]"


def _entries(cls: type[Any]) -> dict[str, Entry]:
    """Give each field's type, and its default, factory and metadata where it has them."""
    hints = _hints(cls)
    dataclass_fields: dict[str, Any] = lookup(cls, "__dataclass_fields__") or {}
    declared: Iterable[Any] = dataclass_fields.values() or lookup(cls, "__attrs_attrs__")
    if declared:
        return {field.name: (hints.get(field.name, field.type), _options(field)) for field in declared}
    defaults = _defaults(cls, hints)
    names: Iterable[str] = getattr(cls, "__struct_fields__", None) or lookup(cls, "_fields") or hints
    return {name: (hints.get(name), {"default": defaults[name]} if name in defaults else {}) for name in names}


def _options(field: Any) -> dict[str, Any]:
    """Read a field of a dataclass or an attrs class; each marks what is missing by an object of its own."""
    found = {"default": field.default, "factory": getattr(field, "default_factory", MISSING)}
    if class_name(class_of(field.default)) == "attr._make.Factory":
        found = {"factory": field.default.factory}
    if field.metadata:
        found["metadata"] = dict(field.metadata)
    return {name: item for name, item in found.items() if class_name(class_of(item)) not in _MISSING}


def _defaults(cls: type[Any], hints: Iterable[str]) -> dict[str, Any]:
    """Read the defaults of a class whose fields are its annotations, a named tuple or a struct."""
    named = lookup(cls, "_field_defaults")
    if named is not None:
        return dict(named)
    values: tuple[Any, ...] = getattr(cls, "__struct_defaults__", ())
    fields: tuple[str, ...] = getattr(cls, "__struct_fields__", ())
    if fields:
        return dict(zip(fields[len(fields) - len(values) :], values, strict=True))
    found = {name: base[name] for base in map(namespace, reversed(lineage(cls))) for name in hints if name in base}
    return {name: item for name, item in found.items() if not isinstance(item, _DESCRIPTORS)}


def _hints(cls: type[Any]) -> dict[str, Any]:
    """Resolve the annotations of a class; where a name cannot be resolved, take them as they are written."""
    try:
        return typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        written: dict[str, Any] = {}
        for base in reversed(lineage(cls)):
            written |= getattr(base, "__annotations__", {}) if is_python_class(base) else {}
        return written


def _doc(cls: type[Any]) -> str:
    """Take a docstring that someone wrote; a dataclass's own is a signature, spelt as each Python spells it."""
    doc = namespace(cls).get("__doc__")
    return cleandoc(doc) if isinstance(doc, str) and not doc.startswith(f"{cls.__name__}(") else ""
