"""Functions that are arguments of others: what of them counts, and which belong to libraries."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary

from memollm._keys.canonical import canonical, hooks
from memollm._keys.installed import is_of_library
from memollm._types.started import STARTED

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from memollm._keys.code.watch import Watch

_asking: Final[ContextVar[str]] = ContextVar("memollm_asking", default="")
"""The top-level package of the function whose argument is being keyed: its own code is no library to it."""

_describing: Final[ContextVar[frozenset[type]]] = ContextVar("memollm_describing", default=frozenset())
_classes: Final[WeakKeyDictionary[type, tuple[Watch, str]]] = WeakKeyDictionary()


@contextmanager
def asked_by(package: str) -> Generator[None]:
    """Key arguments of a function of this package."""
    before = _asking.set(package)
    try:
        yield
    finally:
        _asking.reset(before)


def function_text(function: FunctionType) -> str:
    """Say what a function that is an argument does, and says of itself; one of a library is told by its name."""
    from memollm._keys.code.layers import peeled
    from memollm._keys.code.lookup import cells_of
    from memollm._keys.identity import NAME_ONLY, identify

    inner: Any = peeled(function).core
    if _is_library(inner) and not getattr(inner, "__closure__", None):
        return "library"
    identity = identify(function, canonical=canonical, documented=True)
    if identity.version == NAME_ONLY:
        raise ValueError("its code cannot be read")
    unseen = [where for where, _ in identity.unseen]
    unseen += [name for name, value in cells_of(inner).items() if _is_unsaid(identity.parts, name, value)]
    if unseen:
        raise ValueError(f"it reads what has no stable identity ({unseen[0]})")
    return identity.version


def _is_unsaid(parts: Mapping[str, str], name: str, value: object) -> bool:
    """Tell whether a variable of a closure counts for nothing, as one does that the function changes itself."""
    return not isinstance(value, type | ModuleType) and not any(f"closure {name}" in label for label in parts)


def class_text(owner: type) -> str:
    """Say what a class of the user's does and holds, for what is more than its name and fields; else nothing."""
    known = _classes.get(owner)
    if known is not None and known[0].holds():
        return known[1]
    if owner in _describing.get() or not _has_more(owner):
        return ""
    from memollm._keys.identity import describe

    before = _describing.set(_describing.get() | {owner})
    try:
        watch, text = describe(owner, canonical=canonical)
    finally:
        _describing.reset(before)
    _classes[owner] = watch, text
    return text


def _has_more(owner: type) -> bool:
    """Tell whether a class has methods or attributes of its own that somebody of the user's wrote."""
    return any(
        _is_written(base, name, value)
        for base in owner.__mro__
        if not _is_of_others(base)
        for name, value in list(vars(base).items())
    )


def _is_of_others(owner: type) -> bool:
    package = owner.__module__.partition(".")[0]
    file = getattr(sys.modules.get(owner.__module__), "__file__", None)
    if package in ("builtins", "memollm") or package in sys.builtin_module_names:
        return True
    return bool(file) and is_of_library(file) and package != _asking.get()


def _is_written(owner: type, name: str, value: object) -> bool:
    """Tell a member that somebody wrote from what decorators, enumerations and models put into their classes."""
    from memollm._keys.code.lookup import underlying

    inner: Any = underlying(value)
    if isinstance(inner, partial):
        return True
    inner = getattr(inner, "__wrapped__", inner)
    if isinstance(inner, FunctionType):
        file = inner.__code__.co_filename
        return not (is_of_library(file) or (file.startswith("<") and name.startswith("__")))
    fields = {*vars(owner).get("__annotations__", {}), *getattr(owner, "__members__", {})}
    return not (name.startswith(("_", "model_")) or name in fields or hasattr(inner, "__get__"))


def _is_library(function: object) -> bool:
    code = getattr(function, "__code__", None)
    if code is None or not is_of_library(code.co_filename):
        return False
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    return package != _asking.get()


def name_of_module(module: str) -> str:
    """Name a module as an import would."""
    from memollm._keys.code.modules import module_name, space_of

    return module_name(space_of(module) or {"__name__": module})


hooks.started = STARTED  # Found out at the import, before anything is forked.
hooks.functions, hooks.classes = function_text, class_text
hooks.module_name = name_of_module
