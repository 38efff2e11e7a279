"""What stands above a definition: memollm's own decorators, those that count, and the imports of its file."""

from __future__ import annotations

import ast
import functools
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.syntax import is_memo

if TYPE_CHECKING:
    from memollm._keys.code.lookup import View


def without_outer(node: ast.AST, view: View) -> ast.AST:
    """Drop memollm's decorator and those above it, which wrap what is memoized and are not part of it."""
    decorators = cast("list[ast.expr]", getattr(node, "decorator_list", []))
    places = [place for place, decorator in enumerate(decorators) if _is_ours(decorator, view)]
    kept = decorators[places[-1] + 1 :] if places else decorators
    if decorators:
        cast("Any", node).decorator_list = [each for each in kept if not _makes_static(each)]
    arguments = cast("ast.arguments", cast("Any", node).args)
    arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kwonlyargs)
    return node


def without_memo(node: ast.AST, view: View) -> ast.AST:
    """Drop memollm's decorators of a helper."""
    decorators = cast("list[ast.expr]", getattr(node, "decorator_list", []))
    if decorators:
        cast("Any", node).decorator_list = [each for each in decorators if not _is_ours(each, view)]
    return node


def _is_ours(decorator: ast.expr, view: View) -> bool:
    """Recognize `cached_llm` under whatever name it was imported or kept."""
    if is_memo(decorator):
        return True
    node: ast.AST = decorator.func if isinstance(decorator, ast.Call) else decorator
    while isinstance(node, ast.Attribute):
        node = node.value
    value = view.space.get(node.id) if isinstance(node, ast.Name) else None
    module = getattr(value, "__module__", None) if callable(value) else type(value).__module__
    return isinstance(module, str) and module.partition(".")[0] == "memollm"


def _makes_static(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Name) and decorator.id in ("staticmethod", "classmethod")


def is_class_method(node: ast.AST) -> bool:
    """Tell whether a definition says that it is a class's own method."""
    return any(isinstance(each, ast.Name) and each.id == "classmethod" for each in getattr(node, "decorator_list", ()))


@functools.lru_cache(maxsize=8)
def imports_of(module: ast.Module) -> dict[str, str]:
    """Read what a file's imports bind, as written; a name that is imported in several ways has them all."""
    names: dict[str, set[str]] = {}
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names.setdefault(alias.asname or alias.name.partition(".")[0], set()).add(alias.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                dotted = f"{'.' * node.level}{node.module or ''}.{alias.name}"
                names.setdefault(alias.asname or alias.name, set()).add(dotted)
    return {name: " or ".join(sorted(ways)) for name, ways in names.items()}
