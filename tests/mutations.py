"""The changes that can be made to the package on purpose, one place at a time; `mutants.py` makes them."""

from __future__ import annotations

import ast
import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAIRS = [(ast.Eq, ast.NotEq), (ast.Is, ast.IsNot), (ast.In, ast.NotIn), (ast.And, ast.Or)]
OTHER = {one: (other,) for pair in PAIRS for one, other in (pair, pair[::-1])} | {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}
TOLD = re.compile(r"\b(warn\w*|log\w*|cast|Literal|TypeVar)$")
SQL = [  # A term that always holds keeps its parameters, so that a change is noticed by what it does.
    (r"\b(WHERE|AND|OR|ON) ([\w.?]+ (?:<>|[<>]=?|=|IS NOT|IS) [\w.?]+(?: [-+%] [\w.?]+)?)", r"\1 (\2 OR 1)"),
    (r"\s+ORDER BY (?:(?!LIMIT)[\w., ])+", " "),
    (r"\bNOT (EXISTS|IN)\b", r"\1"),
    (r"\s+UNION SELECT [^;)]+", ""),
    (r" < ", " <= "),
    (r" > ", " >= "),
    (r"\bmax\(", "min("),
    (r"\bmin\(", "max("),
]


class Change(NamedTuple):
    """A place in a file's bytes, and what to write there instead."""

    start: int
    end: int
    new: bytes

    def apply(self, source: bytes) -> bytes:
        """Return the source with the change made."""
        return source[: self.start] + self.new + source[self.end :]

    def line(self, source: bytes) -> int:
        """Return the number of the line where the change begins."""
        return source.count(b"\n", 0, self.start) + 1

    def words(self, source: bytes) -> str:
        """Say in one line what becomes what."""
        before, after = (" ".join(text.decode().split())[:70] for text in (source[self.start : self.end], self.new))
        return f"{before}  =>  {after or '(nothing)'}"


def is_quiet(node: ast.AST) -> bool:
    """Tell whether nothing below a node is to be changed: texts, types, and what only tells people something."""
    match node:
        case (
            ast.If(test=ast.Name(id="TYPE_CHECKING")) | ast.Raise() | ast.JoinedStr() | ast.Import() | ast.ImportFrom()
        ):
            return True
        case ast.Call(func=called) | ast.Subscript(value=called):
            return TOLD.search(ast.unparse(called)) is not None
    return False


def parts(node: ast.AST) -> Iterator[ast.AST]:
    """Yield what of a node's children may be changed."""
    for field, value in ast.iter_fields(node):
        if field not in {"annotation", "returns", "decorator_list", "bases"}:
            yield from (
                child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)
            )


def variants(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Yield a node's parts that can be changed, each with what to write instead."""
    match node:
        case ast.Compare(ops=[operator]):
            for other in OTHER[type(operator)]:
                yield node, f"({ast.unparse(ast.Compare(node.left, [other()], node.comparators))})"
        case ast.BoolOp(op=operator):
            yield node, f"({ast.unparse(ast.BoolOp(OTHER[type(operator)][0](), node.values))})"
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield node, f"({ast.unparse(operand)})"
        case ast.Constant(value=bool() | int() | float() as value):
            yield node, str(not value) if isinstance(value, bool) else str(value + 1)
        case ast.Call(func=ast.Name(id=name) as called) if name in NAMES:
            yield called, NAMES[name]
        case ast.Expr(value=ast.Call() | ast.Await(value=ast.Call())):
            yield node, "pass"
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield value, "None"
    match node:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test) | ast.comprehension(ifs=[test]):
            yield from ((test, text) for text in ("True", "False") if not isinstance(test, ast.Constant))


def python_changes(source: bytes) -> list[Change]:
    """Return every change of a Python file, in the order of its lines."""
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    open_nodes: list[ast.AST] = [ast.parse(source)]
    while open_nodes:
        node = open_nodes.pop()
        if is_quiet(node) or (isinstance(node, ast.Expr) and is_quiet(node.value)):
            continue
        for part, text in variants(node):
            end = starts[part.end_lineno - 1] + part.end_col_offset
            found.append(Change(starts[part.lineno - 1] + part.col_offset, end, text.encode()))
        open_nodes += parts(node)
    return sorted(set(found))


def sql_changes(source: bytes) -> list[Change]:
    """Return every change of a file of SQL statements, in the order of its lines."""
    text = source.decode()
    return sorted(
        Change(*(len(text[:at].encode()) for at in match.span()), match.expand(new).encode())
        for pattern, new in SQL
        for match in re.finditer(pattern, text)
        if not text[: match.start()].rpartition("\n")[2].startswith("--")
    )


def changes(path: Path) -> list[Change]:
    """Return every change of a file."""
    return (sql_changes if path.suffix == ".sql" else python_changes)(path.read_bytes())


def lines_around(name: str, source: bytes, change: Change) -> range:
    """Return the lines of the smallest statement around a change: a test that runs one of them may notice it."""
    first, last = change.line(source), change.line(source) + source.count(b"\n", change.start, change.end)
    if name.endswith(".py"):
        for node in ast.walk(ast.parse(source)):
            if (
                isinstance(node, ast.stmt)
                and not {"body", "cases"} & {*node._fields}
                and node.lineno <= first <= node.end_lineno
            ):
                return range(node.lineno, node.end_lineno + 1)
    return range(first, last + 1)


def runs_at_import(name: str, source: bytes, change: Change) -> bool:
    """Tell whether a change stands in no function's body."""
    line = change.line(source)
    return name.endswith(".py") and not any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.body[0].lineno <= line <= node.end_lineno
        for node in ast.walk(ast.parse(source))
    )


def home(name: str, source: bytes, change: Change) -> str:
    """Return the function or class, or the SQL statement, in which a change stands."""
    line = change.line(source)
    if name.endswith(".sql"):
        statements = re.findall(rb"^-- name: (\S+)", b"\n".join(source.splitlines()[:line]), re.MULTILINE)
        return statements[-1].decode()
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    around = (node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds))
    return ".".join(node.name for node in around if node.lineno <= line <= node.end_lineno)
