"""Secrets in code: constants under a secret's name, or of its shape, are taken out before the code is written."""

from __future__ import annotations

import ast
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from memollm._types.secret import SECRET, is_ordinary, is_secret_name, masked, secret_digest

if TYPE_CHECKING:
    from collections.abc import Iterable

_PAIR = 2


@dataclass(frozen=True, slots=True)
class _Sense:
    """What the name says under which an expression stands: whether its texts are secrets for sure, and do not count."""

    name: str = ""
    certain: bool = False
    counts: bool = False

    @staticmethod
    def of(name: str | None, *, counts: bool = False) -> _Sense:
        if not name or is_ordinary(name):
            return _NOTHING
        return _Sense(name, is_secret_name(name), counts)


_NOTHING = _Sense()
_HIDING = {"SecretStr", "SecretBytes", "Secret"}
_HIDDEN = _Sense("secret", certain=True, counts=True)
_Senses = dict[str, _Sense | list[_Sense]]


def veiled_tree(node: ast.AST) -> ast.AST:
    """Copy a tree without the secrets in it."""
    return _node(node, _NOTHING)


def veiled_text(text: str, name: str = "") -> str:
    """Write a text without the secrets in it, each of which still counts."""
    return masked(text, _shown, name)


def _shown(secret: str) -> str:
    return f"{SECRET[:-1]} {secret_digest(secret)}>"


def _value(value: object, sense: _Sense | list[_Sense]) -> object:
    if isinstance(value, list):
        items = cast("list[object]", value)
        senses = sense if isinstance(sense, list) else [sense] * len(items)
        return [_value(item, each) for item, each in zip(items, senses, strict=True)]
    return _node(value, sense) if isinstance(value, ast.AST) and isinstance(sense, _Sense) else value


def _node(node: ast.AST, sense: _Sense) -> ast.AST:
    if isinstance(node, ast.Constant):
        return _constant(node, sense)
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple) and isinstance(node.value, ast.Tuple):
        return _parallel(node, node.targets[0].elts, node.value.elts)
    if isinstance(node, ast.Dict):
        # What hangs on a name is rarely a secret whole: a tool's schema describes its `api_key`.
        sense = replace(sense, certain=False)
    others = _senses(node, sense)
    fields: dict[str, Any] = {name: _value(value, others.get(name, sense)) for name, value in ast.iter_fields(node)}
    return type(node)(**fields)


def _parallel(node: ast.Assign, names: list[ast.expr], values: list[ast.expr]) -> ast.AST:
    """Copy `model, api_key = "…", "…"`: where a star leaves open which name takes which value, the last are paired."""
    senses = [_Sense.of(_named(name)) for name in names][-len(values) :]
    senses = [_NOTHING] * (len(values) - len(senses)) + senses
    copies = [_node(value, sense) for value, sense in zip(values, senses, strict=True)]
    targets = cast("list[ast.expr]", _value(node.targets, _NOTHING))
    return ast.Assign(targets=targets, value=ast.Tuple(elts=cast("list[ast.expr]", copies)))


def _constant(node: ast.Constant, sense: _Sense) -> ast.AST:
    value = node.value
    if not isinstance(value, (str, bytes)):
        return ast.Constant(value)
    text = value if isinstance(value, str) else value.decode("latin-1")
    if sense.certain:
        return ast.Name(_shown(text) if sense.counts else SECRET)
    shown = veiled_text(text, sense.name)
    return ast.Constant(shown if isinstance(value, str) else shown.encode("latin-1", "backslashreplace"))


def _senses(node: ast.AST, sense: _Sense) -> _Senses:  # noqa: C901, PLR0911 - a table
    """Say what the names in a node mean for its fields, where they mean something else than it does itself."""
    match node:
        case ast.Assign():
            return {"value": _first(_named(target) for target in node.targets)}
        case ast.AnnAssign(target=target) | ast.AugAssign(target=target) | ast.NamedExpr(target=target):
            return {"value": _first((_named(target),))}
        case ast.keyword(arg=name):
            return {"value": _Sense.of(name) if sense is _NOTHING else sense}
        case ast.Dict():
            return {"values": [_first((_named(key),), sense) for key in node.keys]}
        case ast.arguments():
            return _of_defaults(node)
        case ast.Call(func=function) if _named(function) in _HIDING:
            return {"args": [_HIDDEN] * len(node.args)}
        case ast.Call(args=[first, *others]) if (said := _Sense.of(_text(first), counts=True)) is not _NOTHING:
            # `environ.get("API_KEY", "…")`; or two texts, which are told apart in any case.
            named = [_Sense.of(each.arg) for each in node.keywords]
            return {"args": [sense, *[said] * len(others)], "keywords": [said if s is _NOTHING else s for s in named]}
        case ast.Call(args=[_, second, *others]) if (said := _Sense.of(_text(second), counts=True)) is not _NOTHING:
            return {"args": [sense, sense, *[said] * len(others)]}  # `setattr(client, "api_key", "…")`
        case ast.Tuple(elts=[first, _]) | ast.List(elts=[first, _]):
            return {"elts": [sense, _Sense.of(_text(first), counts=True) if sense is _NOTHING else sense]}
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            return {"body": _Sense.of(name, counts=True)} if is_secret_name(name) else {}
        case _:
            return {}


def _of_defaults(node: ast.arguments) -> _Senses:
    positional = [*node.posonlyargs, *node.args]
    last = positional[len(positional) - len(node.defaults) :]
    return {
        "defaults": [_Sense.of(each.arg) for each in last],
        "kw_defaults": [_Sense.of(each.arg) for each in node.kwonlyargs],
    }


def _first(names: Iterable[str | None], otherwise: _Sense = _NOTHING) -> _Sense:
    return next((sense for name in names if (sense := _Sense.of(name)) is not _NOTHING), otherwise)


def _named(target: Any) -> str | None:
    """Return the name that a target or a key has: of a variable, an attribute, an entry."""
    match target:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(slice=key):
            return _text(key)
        case _:
            return _text(target)


def _text(node: object) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
