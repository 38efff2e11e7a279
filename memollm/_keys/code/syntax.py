"""Syntax trees without what does not count, and their text: the same in every version of Python.

`ast.unparse` and `ast.dump` write the same tree differently from version to version, and `repr` of a string follows
the version's Unicode tables; so the text is written here. It is made to be compared and read, not to be compiled.
"""

from __future__ import annotations

import ast
import json
import re
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.veil import veiled_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
_DEFS = (ast.FunctionDef, ast.AsyncFunctionDef)
_HINTS = frozenset({"returns", "annotation"})
_NEVER = frozenset({"type_comment", "type_params", "kind"})


def is_memo(decorator: ast.AST) -> bool:
    """Tell whether a decorator is memollm's own: its options are not code."""
    match decorator:
        case ast.Call(func=func):
            return is_memo(func)
        case ast.Name(id="cached_llm") | ast.Attribute(attr="cached_llm"):
            return True
        case _:
            return False


# Cleaning -----------------------------------------------------------------------------------------------------------


def cleaned(node: ast.AST, *, documented: bool = False) -> ast.AST:
    """Copy a definition without docstrings, annotations and type parameters; `documented` keeps its own.

    A class that has a base or a decorator keeps its docstring and the annotations of its fields: pydantic, dataclasses
    and their like make a schema of them, which a model may be shown.
    """
    if isinstance(node, ast.ClassDef):
        return _rebuilt(node, documented=documented or bool(node.bases or node.keywords or node.decorator_list))
    return _rebuilt(node, documented=documented)


def _rebuilt(node: ast.AST, *, documented: bool) -> ast.AST:
    if isinstance(node, ast.AnnAssign) and not documented:
        return _without_hint(node)
    fields: dict[str, Any] = {}
    for name, value in ast.iter_fields(node):
        if name in _NEVER or (name in _HINTS and not documented):
            continue
        if name == "body" and isinstance(value, list):
            fields[name] = list(_statements(node, cast("list[ast.stmt]", value), documented=documented))
        elif name == "decorator_list":
            fields[name] = [cleaned(each) for each in value if not is_memo(each)]
        else:
            fields[name] = _value(value, documented=documented and isinstance(node, (*_DEFS, ast.arguments)))
    return type(node)(**fields)


def _value(value: object, *, documented: bool) -> object:
    if isinstance(value, list):
        return [_value(item, documented=documented) for item in cast("list[object]", value)]
    if isinstance(value, ast.arg):
        return _rebuilt(value, documented=documented)
    if isinstance(value, ast.arguments):
        return _rebuilt(value, documented=documented)
    return cleaned(value) if isinstance(value, ast.AST) else value


def _statements(node: ast.AST, body: list[ast.stmt], *, documented: bool) -> Iterator[ast.AST]:
    defines = isinstance(node, (*_DEFS, ast.ClassDef))
    if defines and not documented and _is_text(body[:1]):
        body = body[1:]
    in_schema = documented and isinstance(node, ast.ClassDef)
    for statement in body:
        if isinstance(statement, ast.AnnAssign):
            if in_schema or statement.value is not None:
                yield _rebuilt(statement, documented=in_schema)
        else:
            yield cleaned(statement)


def _is_text(body: list[ast.stmt]) -> bool:
    match body:
        case [ast.Expr(value=ast.Constant(value=str()))]:
            return True
        case _:
            return False


def _without_hint(node: ast.AnnAssign) -> ast.AST:
    if node.value is None:
        return ast.Pass()
    return ast.Assign(targets=[cast("ast.expr", cleaned(node.target))], value=cast("ast.expr", cleaned(node.value)))


# Writing ------------------------------------------------------------------------------------------------------------

_EXPRESSIONS: dict[type[ast.AST], str] = {
    ast.Name: "{id}",
    ast.Attribute: "{value}.{attr}",
    ast.Subscript: "{value}[{slice}]",
    ast.Await: "(await {value})",
    ast.Yield: "(yield {value})",
    ast.YieldFrom: "(yield from {value})",
    ast.IfExp: "({body} if {test} else {orelse})",
    ast.Lambda: "(lambda {args}: {body})",
    ast.NamedExpr: "({target} := {value})",
    ast.Starred: "*{value}",
    ast.List: "[{elts}]",
    ast.Set: "{{{elts}}}",
    ast.Tuple: "({elts},)",
    ast.BinOp: "({left} {op} {right})",
    ast.UnaryOp: "({op} {operand})",
    ast.ListComp: "[{elt} {generators}]",
    ast.SetComp: "{{{elt} {generators}}}",
    ast.GeneratorExp: "({elt} {generators})",
    ast.DictComp: "{{{key}: {value} {generators}}}",
    ast.Slice: "{lower}:{upper}:{step}",
    ast.alias: "{name} as {asname}",
    ast.withitem: "{context_expr} as {optional_vars}",
}
_STATEMENTS: dict[type[ast.AST], str] = {
    ast.Expr: "{value}",
    ast.Return: "return {value}",
    ast.AugAssign: "{target} {op}= {value}",
    ast.AnnAssign: "{target}: {annotation} = {value}",
    ast.Raise: "raise {exc} from {cause}",
    ast.Assert: "assert {test}, {msg}",
    ast.Global: "global {names}",
    ast.Nonlocal: "nonlocal {names}",
    ast.Import: "import {names}",
    ast.Pass: "pass",
    ast.Break: "break",
    ast.Continue: "continue",
    ast.If: "if {test}:",
    ast.While: "while {test}:",
    ast.For: "for {target} in {iter}:",
    ast.AsyncFor: "async for {target} in {iter}:",
    ast.With: "with {items}:",
    ast.AsyncWith: "async with {items}:",
    ast.Try: "try:",
    ast.ExceptHandler: "except {type} as {name}:",
    ast.FunctionDef: "def {name}({args}):",
    ast.AsyncFunctionDef: "async def {name}({args}):",
    ast.Match: "match {subject}:",
    ast.match_case: "case {pattern} if {guard}:",
}
_OPERATORS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%", ast.Pow: "**",
    ast.MatMult: "@", ast.LShift: "<<", ast.RShift: ">>", ast.BitOr: "|", ast.BitXor: "^", ast.BitAnd: "&",
    ast.And: "and", ast.Or: "or", ast.Not: "not", ast.Invert: "~", ast.UAdd: "+", ast.USub: "-",
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
    ast.Is: "is", ast.IsNot: "is not", ast.In: "in", ast.NotIn: "not in",
}  # fmt: skip
_BLOCKS = {"body": "", "handlers": "", "cases": "", "orelse": "else:", "finalbody": "finally:"}
_ABSENT_TAILS = re.compile(r"(?: (?:as|from|if|=)|,) ?(?=:?$)|(?<=return) $")


def text(node: ast.AST) -> str:
    """Write a tree as normalized source, one form for everything that means the same, without the secrets in it."""
    return _whole(veiled_tree(node))


def _whole(node: ast.AST) -> str:
    return "\n".join(_lines(node)) if isinstance(node, ast.stmt) else _expression(node)


def _lines(node: ast.AST) -> Iterator[str]:
    for decorator in getattr(node, "decorator_list", ()):
        yield f"@{_expression(decorator)}"
    yield _header(node)
    for field, title in _BLOCKS.items():
        block = getattr(node, field, None)
        if not isinstance(block, list) or not (block or field == "body"):
            continue
        if title:
            yield title
        indent = "" if field == "handlers" else "    "
        for statement in cast("list[ast.AST]", block) or [ast.Pass()]:
            yield from (indent + line for line in _lines(statement))


def _header(node: ast.AST) -> str:
    match node:
        case ast.Assign():
            return " = ".join(_expression(part) for part in (*node.targets, node.value))
        case ast.Delete():
            # Formatters put the parentheses of `del (a, b)` in and out.
            return "del " + ", ".join(_expression(part) for target in node.targets for part in _deleted(target))
        case ast.ImportFrom():
            return f"from {'.' * node.level}{node.module or ''} import {_joined(node.names)}"
        case ast.ClassDef():
            return f"class {node.name}({_joined([*node.bases, *node.keywords])}):"
        case _ if template := _STATEMENTS.get(type(node)):
            return _ABSENT_TAILS.sub("", template.format_map(_Fields(node)))
        case _:
            return _expression(node)


def _deleted(target: ast.expr) -> list[ast.expr]:
    return target.elts if isinstance(target, ast.Tuple) else [target]


class _Fields:
    """A node's fields as texts, for the templates."""

    def __init__(self, node: ast.AST) -> None:
        self._node = node

    def __getitem__(self, name: str) -> str:
        return _joined(getattr(self._node, name), " " if name == "generators" else ", ")


def _joined(value: object, separator: str = ", ") -> str:
    if isinstance(value, list):
        return separator.join(_joined(item) for item in cast("list[object]", value))
    if isinstance(value, ast.AST):
        return _expression(value)
    return "" if value is None else str(value)


def _expression(node: ast.AST) -> str:
    kind = type(node)
    if template := _EXPRESSIONS.get(kind):
        return template.format_map(_Fields(node)).removesuffix(" as ")
    if operator := _OPERATORS.get(kind):
        return operator
    return _WRITERS.get(kind, _any)(node)


def _any(node: ast.AST) -> str:
    """Write a node of a kind that has no form of its own; empty fields, which versions add, are left out."""
    fields = (
        f"{name}={_inside(value)}"
        for name, value in ast.iter_fields(node)
        if value not in (None, []) and not isinstance(value, ast.expr_context)
    )
    return f"{type(node).__name__}({', '.join(fields)})"


def _inside(value: object) -> str:
    if isinstance(value, list):
        return f"[{'; '.join(_inside(item) for item in cast('list[object]', value))}]"
    return _whole(value) if isinstance(value, ast.AST) else _constant_text(value)


def _constant_text(value: object) -> str:
    """Write a constant; strings as JSON, which knows no Unicode tables."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return json.dumps(value)
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 64:  # noqa: PLR2004
        return hex(value)  # Decimal digits are limited in number.
    shown = repr(value)
    return shown.replace("inf", "1e309") if isinstance(value, (float, complex)) else shown  # `inf` is a variable.


def _constant(node: ast.Constant) -> str:
    return "..." if node.value is ... else _constant_text(node.value)


def _call(node: ast.Call) -> str:
    return f"{_expression(node.func)}({_joined([*node.args, *node.keywords])})"


def _keyword(node: ast.keyword) -> str:
    if node.arg is None:
        return f"**{_expression(node.value)}"
    return f"{node.arg}={_expression(node.value)}"


def _dict(node: ast.Dict) -> str:
    return f"{{{', '.join(_item(key, value) for key, value in zip(node.keys, node.values, strict=True))}}}"


def _item(key: ast.expr | None, value: ast.expr) -> str:
    return f"**{_expression(value)}" if key is None else f"{_expression(key)}: {_expression(value)}"


def _compare(node: ast.Compare) -> str:
    pairs = zip(node.ops, node.comparators, strict=True)
    return f"({_expression(node.left)} {' '.join(f'{_expression(op)} {_expression(right)}' for op, right in pairs)})"


def _bool_op(node: ast.BoolOp) -> str:
    return f"({_joined(node.values, f' {_expression(node.op)} ')})"


def _comprehension(node: ast.comprehension) -> str:
    start = "async for" if node.is_async else "for"
    return " ".join(
        [f"{start} {_expression(node.target)} in {_expression(node.iter)}", *(f"if {_expression(i)}" for i in node.ifs)]
    )


def _arguments(node: ast.arguments) -> str:
    positional = [*node.posonlyargs, *node.args]
    defaults: list[ast.expr | None] = [*[None] * (len(positional) - len(node.defaults)), *node.defaults]
    shown = [_parameter(arg, default) for arg, default in zip(positional, defaults, strict=True)]
    if node.posonlyargs:
        shown.insert(len(node.posonlyargs), "/")
    if node.vararg or node.kwonlyargs:
        shown.append(f"*{_parameter(node.vararg, None) if node.vararg else ''}")
    shown += [_parameter(arg, default) for arg, default in zip(node.kwonlyargs, node.kw_defaults, strict=True)]
    if node.kwarg:
        shown.append(f"**{_parameter(node.kwarg, None)}")
    return ", ".join(shown)


def _parameter(arg: ast.arg, default: ast.expr | None) -> str:
    hint = f": {_expression(arg.annotation)}" if arg.annotation else ""
    if default is None:
        return arg.arg + hint
    return f"{arg.arg}{hint}={_expression(default)}"


def _f_string(node: ast.JoinedStr) -> str:
    """Write an f-string by its pieces: versions split, merge and quote them differently."""
    inner = "".join(_piece(value) for value in node.values)
    plain = all(isinstance(value, ast.Constant) for value in node.values)
    return f'"{inner.replace("{{", "{").replace("}}", "}")}"' if plain else f'f"{inner}"'


def _piece(node: ast.expr) -> str:
    match node:
        case ast.Constant():
            return _constant_text(node.value)[1:-1].replace("{", "{{").replace("}", "}}")
        case ast.FormattedValue():
            conversion = f"!{chr(node.conversion)}" if node.conversion > 0 else ""
            spec = "".join(_piece(part) for part in getattr(node.format_spec, "values", ()))
            return f"{{ {_expression(node.value)} {conversion}{spec and ':' + spec}}}"
        case _:
            return _expression(node)


_WRITERS: dict[type[ast.AST], Callable[[Any], str]] = {
    ast.Constant: _constant,
    ast.Call: _call,
    ast.keyword: _keyword,
    ast.Dict: _dict,
    ast.Compare: _compare,
    ast.BoolOp: _bool_op,
    ast.comprehension: _comprehension,
    ast.arguments: _arguments,
    ast.JoinedStr: _f_string,
}
