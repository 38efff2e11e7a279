"""Functions that are arguments of others: what of them counts, and which belong to libraries."""

from __future__ import annotations

import os
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from memollm._keys.canonical import canonical, hooks
from memollm._types.started import STARTED

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import FunctionType

_asking: Final[ContextVar[str]] = ContextVar("memollm_asking", default="")
"""The top-level package of the function whose argument is being keyed: its own code is no library to it."""


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
    from memollm._keys.identity import NAME_ONLY, identify

    inner = peeled(function).core
    if _is_library(inner) and not getattr(inner, "__closure__", None):
        return "library"
    identity = identify(function, canonical=canonical, documented=True)
    if identity.version == NAME_ONLY:
        raise ValueError("its code cannot be read")
    unseen = [where for where, _ in identity.unseen]
    unseen += [name for name in function.__code__.co_freevars if _is_unsaid(identity.parts, name)]
    if unseen:
        raise ValueError(f"it reads what has no stable identity ({unseen[0]})")
    return identity.version


def _is_unsaid(parts: object, name: str) -> bool:
    return False if name == "__class__" else not any(f"closure {name}" in label for label in parts)  # type: ignore[attr-defined]


def _is_library(function: object) -> bool:
    code = getattr(function, "__code__", None)
    if code is None or not is_of_library(code.co_filename):
        return False
    package = str(getattr(function, "__module__", "")).partition(".")[0]
    return package != _asking.get()


@lru_cache(maxsize=1000)
def is_of_library(file: str) -> bool:
    """Tell whether a file belongs to Python or to an installed package, whose code differs by version."""
    import sysconfig

    paths = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(file.startswith(path + os.sep) for path in paths)


def name_of_module(module: str) -> str:
    """Name a module as an import would."""
    from memollm._keys.code.modules import module_name, space_of

    return module_name(space_of(module) or {"__name__": module})


hooks.started = STARTED  # Found out at the import, before anything is forked.
hooks.functions = function_text
hooks.module_name = name_of_module
