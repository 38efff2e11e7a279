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
