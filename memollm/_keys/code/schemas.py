"""What a class makes known of itself, and what the text of a function says of its defaults."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._keys.code.values import hint_text

if TYPE_CHECKING:
    from types import FunctionType

    from memollm._keys.code.values import Canonical

_SCHEMAS: Final = ("__dataclass_fields__", "__attrs_attrs__", "__struct_fields__")


def schema_of(owner: type, canonical: Canonical) -> list[str]:
    """Write what a class with a base or fields makes known of itself: pydantic and its like show it to models."""
    if owner.__bases__ == (object,) and not any(hasattr(owner, mark) for mark in _SCHEMAS):
        return []
    doc = owner.__doc__ if "__doc__" in vars(owner) else None
    written = [inspect.cleandoc(doc)] if isinstance(doc, str) and not doc.startswith(f"{owner.__name__}(") else []
    try:
        return [*written, canonical(owner, "")]
    except Exception:  # noqa: BLE001 - a field may be of anything.
        return [*written, *(f"{name}: {hint_text(hint, canonical)}" for name, hint in _hints_of(owner).items())]


def _hints_of(owner: type) -> dict[str, object]:
    return dict(vars(owner).get("__annotations__", {}))


def has_plain_defaults(node: ast.AST, function: FunctionType) -> bool:
    """Tell whether all defaults are as the text says them."""
    arguments = cast("ast.arguments", cast("Any", node).args)
    written = [*arguments.defaults, *(each for each in arguments.kw_defaults if each is not None)]
    held = [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]
    return len(written) == len(held) and all(
        isinstance(each, ast.Constant) and type(each.value) is type(value) and each.value == value
        for each, value in zip(written, held, strict=True)
    )


def taken_over(node: ast.AST, function: FunctionType) -> frozenset[str]:
    """Name the parameters whose default is what a variable was when the function was made, as in `style=style`.

    So functions that one loop makes are told apart. A global of another name is a constant, which may be edited.
    """
    arguments = cast("ast.arguments", cast("Any", node).args)
    positional = [*arguments.posonlyargs, *arguments.args]
    given = [*zip(positional[len(positional) - len(arguments.defaults) :], arguments.defaults, strict=True)]
    given += [(arg, value) for arg, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value]
    return frozenset(
        arg.arg
        for arg, value in given
        if isinstance(value, ast.Name)
        and (isinstance(node, ast.Lambda) or value.id == arg.arg or value.id not in function.__globals__)
    )
