"""Qualified names of classes and functions, the same in every process, and the hooks of the layers above."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import PurePath
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FunctionType

_MAINS = ("__main__", "__mp_main__")

# Read through `type` itself, so that a metaclass cannot answer instead.
lineage: Callable[[type[Any]], tuple[type[Any], ...]] = type.__dict__["__mro__"].__get__
namespace: Callable[[type[Any]], dict[str, Any]] = type.__dict__["__dict__"].__get__
_module: Callable[[type[Any]], str] = type.__dict__["__module__"].__get__
_qualname: Callable[[type[Any]], str] = type.__dict__["__qualname__"].__get__

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8


def module_name(module: str) -> str:
    """Name a module as an import would: a program's own module by its ``-m`` name or its file's stem."""
    main = sys.modules.get(module) if module in _MAINS else None
    spec = getattr(main, "__spec__", None)
    if spec is not None:
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return PurePath(file).stem if isinstance(file, str) else "__main__" if module in _MAINS else module


@dataclass
class Hooks:
    """What the canonical form asks of the layers above it."""

    functions: Callable[[FunctionType], str] | None = None
    """A stable fingerprint of a function's code, closure and defaults; without one, functions are refused."""
    classes: Callable[[type[Any]], str] | None = None
    """What a class of the user's does and holds beyond its name and fields; nothing for a class of a library."""
    module_name: Callable[[str], str] = module_name
    """The name that a module has in every process."""
    started: float = 0.0
    """When this process began."""


hooks = Hooks()


def class_of(value: object) -> type[Any]:
    """Give the type that a value has, whatever its `__class__` says."""
    return type(value)


def qualified(module: object, name: object) -> str:
    """Join a module and a qualified name; names of builtins stand alone."""
    if not isinstance(name, str):
        raise TypeError("a qualified name is text")
    if module is None or module == "builtins":
        return name
    return f"{hooks.module_name(str(module))}.{name}"


def class_name(cls: type[Any]) -> str:
    """Name a class by its module and qualified name."""
    return qualified(_module(cls), _qualname(cls))


def lookup(cls: type[Any], name: str) -> Any:
    """Find an attribute that a class or one of its bases defines, without asking the class; None if there is none."""
    for base in lineage(cls):
        members = namespace(base)
        if name in members:
            return members[name]
    return None


def is_python_class(cls: type[Any]) -> bool:
    """Tell whether a class statement made this class, so that it holds no state that Python cannot see."""
    compiled = isinstance(namespace(cls).get("__new__"), BuiltinFunctionType)
    return cls.__flags__ & (_HEAP_TYPE | _IMMUTABLE_TYPE) == _HEAP_TYPE and not compiled
