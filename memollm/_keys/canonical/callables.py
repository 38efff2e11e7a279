"""Functions, methods and partials: by name, and by a fingerprint of the code that a layer above supplies."""

from __future__ import annotations

from functools import lru_cache, partial
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    FunctionType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

from memollm._keys.canonical.names import class_name, hooks, qualified
from memollm._keys.canonical.walk import Encoder, Refused, child, failed, mapping, quote, sequence, tag

_BoundBuiltin = BuiltinFunctionType | MethodWrapperType
_Unbound = MethodDescriptorType | WrapperDescriptorType | ClassMethodDescriptorType


def _function(value: FunctionType, _depth: int) -> str:
    if hooks.functions is None:
        raise Refused("is a function, whose code nothing here can tell from other code")
    try:
        fingerprint = hooks.functions(value)
    except (MemoryError, Refused):
        raise
    except Exception as error:  # noqa: BLE001 - A function whose code cannot be read is refused, whatever the reason.
        raise failed(error, "is a function that could not be fingerprinted") from None
    return tag("function", f"[{quote(qualified(value.__module__, value.__qualname__))},{quote(fingerprint)}]")


def _method(value: MethodType, depth: int) -> str:
    owner = child(value.__self__, depth, ".__self__", value)
    return tag("method", f"[{owner},{child(value.__func__, depth, '.__func__', value)}]")


def _bound_builtin(value: _BoundBuiltin, depth: int) -> str:
    owner = value.__self__
    if owner is None or isinstance(owner, ModuleType):
        return tag("builtin", quote(qualified(getattr(value, "__module__", None), value.__qualname__)))
    return tag("method", f"[{child(owner, depth, '.__self__', value)},{quote(value.__name__)}]")


def _unbound(value: _Unbound, _depth: int) -> str:
    return tag("builtin", quote(f"{class_name(value.__objclass__)}.{value.__name__}"))


def _partial(value: partial[Any], depth: int) -> str:
    function = child(value.func, depth, ".func", value)
    return tag("partial", f"[{function},{sequence(value.args, depth, value)},{mapping(value.keywords, depth)}]")


def _cached(value: Any, depth: int) -> str:
    return tag("lru_cache", child(value.__wrapped__, depth, ".__wrapped__", value))


ENCODERS: dict[type, Encoder] = {
    FunctionType: _function,
    MethodType: _method,
    BuiltinFunctionType: _bound_builtin,
    MethodWrapperType: _bound_builtin,
    MethodDescriptorType: _unbound,
    WrapperDescriptorType: _unbound,
    ClassMethodDescriptorType: _unbound,
    partial: _partial,
    type(lru_cache(len)): _cached,
}
