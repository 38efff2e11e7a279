"""What a definition reads from outside itself, and what of that it changes while it runs."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str, ...]
SUPER = "super()"
_ADDING = {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "setdefault", "put", "put_nowait"}
_TAKING = {"pop", "popleft", "popitem", "remove", "discard", "clear", "difference_update", "intersection_update"}
MUTATORS = _ADDING | _TAKING | {"sort", "reverse", "rotate", "symmetric_difference_update"}
_LOOKING = {"len", "print", "isinstance", "bool", "id", "type", "next", "iter", "hash", "range"} | {
    "dump", "write", "writelines", "log", "debug", "info", "warning", "error", "exception", "get",
}  # fmt: skip
"""What calls of these are given does not become part of what a model is asked."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(slots=True)
class Reads:
    """Dotted paths that a definition reads, in the order of its text, each with whether it is only ever called."""

    paths: dict[Path, bool] = field(default_factory=dict[Path, bool])
    changing: set[Path] = field(default_factory=set[Path])
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict[str, tuple[str, str | None]])
    handed: set[Path] = field(default_factory=set[Path])
    """Those whose whole value goes into something else: a call, a text, another container."""
    calls: set[str] = field(default_factory=set[str])
    """The last names of all that is called."""
    passed: set[tuple[Path, int | str, Path]] = field(default_factory=set["tuple[Path, int | str, Path]"])
    """What functions are given: which function, at which place or under which name, and what."""
    modules: set[str] = field(default_factory=set[str])
    """Modules that are imported by a call."""
    submodules: set[str] = field(default_factory=set[str])
    """What `import a.b` loads, where it binds `a`."""


def reads_of(node: ast.AST, *, receiver: str | None = None) -> Reads:
    """Find what a cleaned definition reads; the attributes of `receiver` count as outside, as a class's are."""
    finder = _Finder(receiver)
    finder.visit(node, frozenset())
    return finder.reads


class _Finder:
    def __init__(self, receiver: str | None) -> None:
        self.reads = Reads()
        self._receiver = receiver

    def visit(self, node: ast.AST, local: frozenset[str]) -> None:
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                self._function(node, local)
            case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
                self._children(node, local | _stored([generator.target for generator in node.generators]))
            case ast.Name() | ast.Attribute() | ast.Subscript():
                self._place(node, local)
            case ast.Call():
                self._call(node, local)
            case (
                ast.AsyncFor()
                | ast.FormattedValue()
                | ast.BinOp()
                | ast.Starred()
                | ast.List()
                | ast.Dict()
                | ast.For()
                | ast.comprehension()
            ):
                self._handed(ast.iter_child_nodes(node), local)
                self._children(node, local)
            case ast.Import() | ast.ImportFrom():
                self._import(node)
            case _:
                self._children(node, local)

    def _children(self, node: ast.AST, local: frozenset[str]) -> None:
        for child in ast.iter_child_nodes(node):
            self.visit(child, local)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, local: frozenset[str]) -> None:
        body: list[ast.AST] = [node.body] if isinstance(node, ast.Lambda) else list(node.body)
        outside = _declared(body)
        bound = _parameters(node.args) | _stored(body) - outside
        if self._receiver is not None and not local:
            bound -= {self._receiver}
        self.reads.changing |= {(name,) for name in outside & _stored(body)}
        for child in (*getattr(node, "decorator_list", ()), node.args, getattr(node, "returns", None)):
            if child is not None:
                self.visit(child, local)
        for child in body:
            self.visit(child, local - outside | bound)

    def _place(self, node: ast.Name | ast.Attribute | ast.Subscript, local: frozenset[str]) -> None:
        """Note a name, a chain of attributes, or what is stored into."""
        stores = not isinstance(node.ctx, ast.Load)
        if isinstance(node, ast.Subscript):
            if stores and (path := self._path(node.value, local)):
                self.reads.changing.add(path)
            self._children(node, local)
        elif path := self._path(node, local):
            if stores and len(path) > 1:
                self.reads.changing.add(path)
            elif not stores:
                self.reads.paths[path] = False
        elif isinstance(node, ast.Attribute):
            self.visit(node.value, local)

    def _call(self, node: ast.Call, local: frozenset[str]) -> None:
        path = self._path(node.func, local)
        self.reads.calls.add(str(getattr(node.func, "attr", getattr(node.func, "id", ""))))
        if path is None:
            self.visit(node.func, local)
            self._handed((*node.args, *node.keywords), local)
        else:
            self.reads.paths.setdefault(path, True)
            if len(path) > 1 and path[-1] in MUTATORS:
                self.reads.changing.add(path[:-1])
            elif path[len(path) - 1] not in _LOOKING:
                self._handed((*node.args, *node.keywords), local)
            self._imported_by(path, node.args)
            given: list[tuple[int | str, ast.expr]] = [*enumerate(node.args)]
            given += [(each.arg, each.value) for each in node.keywords if each.arg]
            self.reads.passed |= {(path, place, what) for place, arg in given if (what := self._path(arg, local))}
        for child in (*node.args, *node.keywords):
            self.visit(child, local)

    def _imported_by(self, path: Path, args: list[ast.expr]) -> None:
        match args:
            case [ast.Constant(value=str(module)), *_] if path[-1] in ("import_module", "__import__"):
                self.reads.modules.add(module)
            case _:
                pass

    def _handed(self, children: Iterable[ast.AST], local: frozenset[str]) -> None:
        """Note which of some nodes are paths whose value goes on as data, a part of a list included."""
        for child in children:
            whole = child.value if isinstance(child, ast.Subscript) and isinstance(child.slice, ast.Slice) else child
            inner = whole.value if isinstance(whole, ast.keyword) else whole
            if isinstance(getattr(inner, "ctx", None), ast.Load) and (path := self._path(inner, local)):
                self.reads.handed.add(path)

    def _path(self, node: ast.AST, local: frozenset[str]) -> Path | None:
        """Read `a.b.c` as a path, unless it begins at a local variable or at a computed value."""
        chain: list[str] = []
        while isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        match node:
            case ast.Name() if node.id not in local:
                return (node.id, *reversed(chain))
            case ast.Call(func=ast.Name(id="super")) if chain:
                return (SUPER, *reversed(chain))
            case _:
                return None

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        """Remember an import inside the definition: what it brings is read like a global."""
        for alias in node.names:
            if isinstance(node, ast.Import):
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                self.reads.imports[alias.asname or whole] = (whole, None)
                self.reads.submodules.add(alias.name)
            else:
                module = "." * node.level + (node.module or "")
                self.reads.imports[alias.asname or alias.name] = (module, alias.name)


def filled_parameters(node: ast.AST) -> frozenset[int | str]:
    """Find the parameters of a function whose content it changes, each by its name and its place."""
    args: Any = getattr(node, "args", None)
    names = [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)] if args is not None else []
    changed = {name for each in ast.walk(node) if (name := _filled_by(each)) in names}
    return frozenset({*changed, *(names.index(name) for name in changed)})


def _filled_by(node: ast.AST) -> str:
    """Name the variable whose content a node changes."""
    match node:
        case (
            ast.Subscript(value=ast.Name(id=name), ctx=ast.Store() | ast.Del())
            | ast.AugAssign(target=ast.Name(id=name))
        ):
            return name
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in MUTATORS:
            return name
        case _:
            return ""


def _parameters(args: ast.arguments) -> frozenset[str]:
    every = (*args.posonlyargs, *args.args, args.vararg, *args.kwonlyargs, args.kwarg)
    return frozenset(arg.arg for arg in every if arg is not None)


def _declared(body: list[ast.AST]) -> frozenset[str]:
    """Collect the names that a scope declares global or nonlocal."""
    nodes = (node for node in _scope(body) if isinstance(node, (ast.Global, ast.Nonlocal)))
    return frozenset(name for node in nodes for name in node.names)


def _stored(body: list[ast.AST] | list[ast.expr]) -> frozenset[str]:
    """Collect the names that a scope binds, imports excepted."""
    names: set[str] = set()
    for node in _scope(cast("list[ast.AST]", body)):
        match node:
            case ast.Name(id=name) if not isinstance(node.ctx, ast.Load):
                names.add(name)
            case (
                ast.FunctionDef(name=name)
                | ast.AsyncFunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.ExceptHandler(name=str(name))
                | ast.MatchAs(name=str(name))
                | ast.MatchStar(name=str(name))
                | ast.MatchMapping(rest=str(name))
            ):
                names.add(name)
            case _:
                pass
    return frozenset(names)


def _scope(body: list[ast.AST]) -> list[ast.AST]:
    """List the nodes of one scope: inner functions and classes by their head only, comprehensions by their walruses."""
    found: list[ast.AST] = []
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        found.append(node)
        if isinstance(node, (*_SCOPES, ast.ClassDef)):
            continue
        if isinstance(node, _COMPREHENSIONS):
            waiting += [each.target for each in ast.walk(node) if isinstance(each, ast.NamedExpr)]
        else:
            waiting += ast.iter_child_nodes(node)
    return found
