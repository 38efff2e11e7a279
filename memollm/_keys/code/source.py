"""The syntax tree that a function or class was made from, as it was loaded and not as its file reads now."""

from __future__ import annotations
import __future__

import ast
import functools
import hashlib
import inspect
import linecache
import sys
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.syntax import FunctionNode, cleaned, text
from memollm._types.started import is_older

if TYPE_CHECKING:
    from collections.abc import Iterator

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_RELOADED = "__autoreload_class__."
_HAS_DOCSTRING = 0x4000000
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
    code = code_of(function)
    seen = False
    for lines in _texts(code.co_filename, function.__globals__):
        module = _parsed(lines)
        if module is None:
            continue
        seen = True
        if node := _compiled_alike(module, code, is_reloaded=code is not function.__code__) or _rewritten(module, code):
            return CodeSource(node, module)
    if seen:
        raise Edited(code.co_filename)
    return None


def code_of(function: FunctionType) -> CodeType:
    """Give a function's code under the name that its text gives it.

    IPython's `%autoreload` compiles an edited method in a class of its own making, and puts the code into the old one.
    """
    code = function.__code__
    return _renamed(code, function.__qualname__) if code.co_qualname.startswith(_RELOADED) else code


def _renamed(code: CodeType, name: str) -> CodeType:
    head = len(code.co_qualname)
    inner = [
        _renamed(each, name + each.co_qualname[head:]) if isinstance(each, CodeType) else each
        for each in code.co_consts
    ]
    if inner and isinstance(inner[0], str) and (sys.version_info < (3, 13) or code.co_flags & _HAS_DOCSTRING):
        # It was indented anew.
        inner[0] = inspect.cleandoc(inner[0])
    return code.replace(co_qualname=name, co_consts=tuple(inner))


def code_digest(code: CodeType) -> str:
    """Digest compiled code: steady within one version of Python, for code whose text has gone."""
    return hashlib.blake2b(repr(_shape(code)).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


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


def _compiled_alike(module: ast.Module, code: CodeType, *, is_reloaded: bool) -> FunctionNode | None:
    """Find the node whose compiled code is this code, looking first where the code says that it stands."""
    shape = _shape(code)
    here = [statement for statement in module.body if _first_line(statement) <= code.co_firstlineno <= _end(statement)]
    for statement in (*here, *(other for other in module.body if other not in here)):
        if not any(_bears_name(node, code.co_name) for node in ast.walk(statement)):
            continue
        codes = _codes(_compiled(module, statement, code.co_flags))
        twin = next(
            (each for each in codes if _shape(_renamed(each, each.co_qualname) if is_reloaded else each) == shape), None
        )
        if twin is not None and (node := _node_at(statement, twin)):
            return node
    return None


def _bears_name(node: ast.AST, name: str) -> bool:
    return isinstance(node, _FUNCTIONS) and getattr(node, "name", "<lambda>") == name


@functools.lru_cache(maxsize=64)
def _compiled(module: ast.Module, statement: ast.stmt, flags: int) -> CodeType | None:
    """Compile a statement, with its module's imports: a method of what is imported is compiled in another way."""
    try:
        code = compile(
            ast.Module([*_module_imports(module), statement], []), "", "exec", flags=flags & _FUTURES, dont_inherit=True
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return cast("CodeType", code)


@functools.lru_cache(maxsize=8)
def _module_imports(module: ast.Module) -> tuple[ast.stmt, ...]:
    found: list[ast.stmt] = []
    waiting: list[ast.AST] = list(module.body)
    for node in waiting:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            if getattr(node, "module", "") != "__future__":
                found.append(node)
        elif not isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
            waiting += ast.iter_child_nodes(node)
    return tuple(found)


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
    if not is_older(code.co_filename):
        return None
    return next((node for statement in module.body if (node := _same_head(statement, code))), None)


def _same_head(statement: ast.stmt, code: CodeType) -> FunctionNode | None:
    node = _node_at(statement, code) if _first_line(statement) <= code.co_firstlineno <= _end(statement) else None
    if node is None:
        return None
    args = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args)]
    return node if args == list(code.co_varnames[: code.co_argcount]) else None
