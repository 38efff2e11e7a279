"""Callables taken apart: partials, bound methods, decorators and callable objects around one plain function."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from types import FunctionType, MethodType
from typing import Any, cast

_DEPTH = 50


@dataclass(slots=True)
class Layers:
    """What stands around a plain function; `core` is something else where there is none, as in C."""

    core: object
    receiver: object = None
    caller: type | None = None
    bound: dict[str, object] = field(default_factory=dict[str, object])
    wrappers: list[FunctionType] = field(default_factory=list[FunctionType])


def peeled(function: object) -> Layers:
    """Take a callable apart, from the outside to the plain function that it was made from."""
    layers = Layers(function)
    for _ in range(_DEPTH):
        inner = _next(layers, layers.core)
        if inner is None:
            break
        layers.core = inner
    return layers


def _next(layers: Layers, outer: Any) -> object:
    """Look under one layer; by `type`, for objects may lie about their class or raise when asked."""
    if issubclass(type(outer), functools.partial):
        return _bound_by(layers, outer)
    if type(outer) is MethodType:
        layers.receiver = outer.__self__
        return outer.__func__
    if issubclass(type(outer), (staticmethod, classmethod)):
        return cast("object", outer.__func__)
    if issubclass(type(outer), type):
        return None
    if callable(wrapped := _wrapped(outer)):
        if type(outer) is FunctionType:
            layers.wrappers.append(outer)
        return wrapped
    return _call_of(layers, outer)


def _wrapped(outer: object) -> object:
    try:
        return getattr(outer, "__wrapped__", None)
    except Exception:  # noqa: BLE001 - a hostile object wraps nothing.
        return None


def _bound_by(layers: Layers, outer: Any) -> object:
    layers.bound |= {f"bound {place}": value for place, value in enumerate(outer.args)}
    layers.bound |= {f"bound {name}": value for name, value in outer.keywords.items()}
    return outer.func


def _call_of(layers: Layers, outer: object) -> object:
    """Look into an object whose class defines `__call__` in Python."""
    call = next((vars(base)["__call__"] for base in type(outer).__mro__ if "__call__" in vars(base)), None)
    if type(outer) is FunctionType or type(call) is not FunctionType:
        return None
    layers.receiver, layers.caller = outer, type(outer)
    return call
