"""The syntax tree that a function or class was made from, as it was loaded and not as its file reads now."""

from __future__ import annotations
import __future__

import ast
import functools
import hashlib
import linecache
import os
import time
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.modules import space_of
from memollm._keys.code.syntax import FunctionNode, cleaned, text

if TYPE_CHECKING:
    from collections.abc import Iterator

_LOADED = time.time()
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_FUTURES = functools.reduce(
    int.__or__, (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
)


@dataclass(frozen=True, slots=True)
class CodeSource:
    """Where a definition was found: its node and the tree of the whole file."""

    node: ast.AST
    module: ast.Module


class Edited(Exception):
    """A file no longer holds the code that runs."""


def function_source(function: FunctionType) -> CodeSource | None:
    """Find a function's tree; None without any source, `Edited` when the source there is another text's.

    The file is compiled again, one top-level statement at a time, and the code compared: so a file edited after its
    import is never taken for the function that runs, and lambdas that share a line are told apart.
    """
    code = function.__code__
    seen = False
    for lines in _texts(code.co_filename, function.__globals__):
        module = _parsed(lines)
        if module is None:
            continue
        seen = True
        if node := _compiled_alike(module, code) or _rewritten(module, code):
            return CodeSource(node, module)
    if seen:
        raise Edited(code.co_filename)
    return None


def class_source(owner: type) -> CodeSource | None:
    """Find a class's tree by its qualified name; of several with one name those that may be in force, together."""
    for filename, space in _class_files(owner):
        for lines in _texts(filename, space):
            module = _parsed(lines)
            node = module and _find_class(module, owner.__qualname__)
            if module and node:
                return CodeSource(node, module)
    return None


def code_digest(code: CodeType) -> str:
    """Digest compiled code: steady within one version of Python, for code whose text has gone."""
    return hashlib.blake2b(repr(_shape(code)).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def names_in(code: CodeType) -> Iterator[str]:
    """List the names in compiled code, inner functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


def _texts(filename: str, space: dict[str, Any]) -> Iterator[str]:
    """Give the text as last read, then as it is on disk if that has changed."""
    first = "".join(linecache.getlines(filename, space))
    if first:
        yield first
    linecache.checkcache(filename)
    second = "".join(linecache.getlines(filename, space))
    if second and second != first:
        yield second


@functools.lru_cache(maxsize=8)
def _parsed(lines: str) -> ast.Module | None:
    try:
        return ast.parse(lines)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# Matching code ------------------------------------------------------------------------------------------------------


def _compiled_alike(module: ast.Module, code: CodeType) -> FunctionNode | None:
    """Find the node whose compiled code is this code, looking first where the code says that it stands."""
    here = [statement for statement in module.body if _first_line(statement) <= code.co_firstlineno <= _end(statement)]
    for statement in (*here, *(other for other in module.body if other not in here)):
        if not any(_bears_name(node, code.co_name) for node in ast.walk(statement)):
            continue
        twin = next(
            (each for each in _codes(_compiled(statement, code.co_flags)) if _shape(each) == _shape(code)), None
        )
        if twin is not None and (node := _node_at(statement, twin)):
            return node
    return None


def _bears_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, _FUNCTIONS) and getattr(node, "name", "<lambda>") == name


@functools.lru_cache(maxsize=64)
def _compiled(statement: ast.stmt, flags: int) -> CodeType | None:
    try:
        code = compile(ast.Module([statement], []), "", "exec", flags=flags & _FUTURES, dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return cast("CodeType", code)


def _codes(code: CodeType | None) -> Iterator[CodeType]:
    for constant in code.co_consts if code else ():
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _shape(code: CodeType) -> tuple[object, ...]:
    """Reduce code to what it does, without its place in the file."""
    return (
        code.co_qualname, code.co_code, code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars,
        code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags,
        tuple(_constant_shape(constant) for constant in code.co_consts),
    )  # fmt: skip


def _constant_shape(constant: object) -> object:
    if isinstance(constant, CodeType):
        return _shape(constant)
    if isinstance(constant, frozenset):
        return sorted(map(repr, cast("frozenset[object]", constant)))
    return type(constant).__name__, repr(constant)


def _node_at(statement: ast.stmt, code: CodeType) -> FunctionNode | None:
    """Find the node of compiled code by its line, and lambdas that share a line by their columns."""
    found = [
        cast("FunctionNode", node)
        for node in ast.walk(statement)
        if _bears_name(node, code.co_name) and _first_line(cast("FunctionNode", node)) == code.co_firstlineno
    ]
    if len(found) > 1:
        found = [node for node in found if _covers(node, code)] or _if_all_alike(found)
    return min(found, key=_span, default=None)


def _first_line(node: ast.stmt | FunctionNode) -> int:
    decorators = cast("list[ast.expr]", getattr(node, "decorator_list", []))
    return min(node.lineno, *(decorator.lineno for decorator in decorators)) if decorators else node.lineno


def _end(node: ast.stmt) -> int:
    return node.end_lineno or node.lineno


def _span(node: FunctionNode) -> tuple[int, int]:
    return (node.end_lineno or 0) - node.lineno, (node.end_col_offset or 0) - node.col_offset


def _covers(node: FunctionNode, code: CodeType) -> bool:
    start, end = (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    return bool(places) and all(start <= place <= end for place in places)


def _if_all_alike(nodes: list[FunctionNode]) -> list[FunctionNode]:
    """Without columns (`-X no_debug_ranges`) lambdas on one line cannot be told apart, unless they are the same."""
    return nodes if len({text(cleaned(node)) for node in nodes}) == 1 else []


def _rewritten(module: ast.Module, code: CodeType) -> FunctionNode | None:
    """Trust a text that compiles differently if it is older than this process: an import hook rewrote the code.

    So do pytest with assertions and the checkers of types at run time.
    """
    try:
        if os.stat(code.co_filename).st_mtime >= _LOADED:  # noqa: PTH116
            return None
    except OSError:
        return None
    return next((node for statement in module.body if (node := _same_head(statement, code))), None)


def _same_head(statement: ast.stmt, code: CodeType) -> FunctionNode | None:
    node = _node_at(statement, code) if _first_line(statement) <= code.co_firstlineno <= _end(statement) else None
    if node is None:
        return None
    args = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
    return node if args == list(code.co_varnames[: code.co_argcount]) else None


# Classes ------------------------------------------------------------------------------------------------------------


def _class_files(owner: type) -> Iterator[tuple[str, dict[str, Any]]]:
    """Say where a class may stand: its module's file, or where its methods are (a notebook's cell)."""
    for value in vars(owner).values():
        if type(value) is FunctionType and value.__globals__.get("__name__") == owner.__module__:
            yield value.__code__.co_filename, value.__globals__
    space = space_of(owner.__module__)
    if isinstance(file := space.get("__file__"), str):
        yield file, dict(space)


def _find_class(module: ast.Module, qualname: str) -> ast.AST | None:
    level: list[ast.AST] = [module]
    for step in [step for step in qualname.split(".") if step != "<locals>"]:
        level = [found for node in level for found in _in_force(node, step)]
    classes: list[ast.stmt] = [node for node in level if isinstance(node, ast.ClassDef)]
    return ast.Module(classes, []) if len(classes) > 1 else next(iter(classes), None)


def _in_force(node: ast.AST, name: str) -> list[ast.AST]:
    """List the definitions of a name that may be in force: the last that is made in any case, and those after it."""
    found: list[ast.AST] = []
    for definition, is_sure in _named(node, name):
        found = [definition] if is_sure else [*found, definition]
    return found


def _named(node: ast.AST, name: str, *, is_sure: bool = True) -> Iterator[tuple[ast.AST, bool]]:
    """Give the definitions of a name in a scope, and whether each is made whichever way the code goes."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            if child.name == name:
                yield child, is_sure
        else:
            yield from _named(child, name, is_sure=False)
