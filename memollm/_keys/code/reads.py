"""What a definition reads from outside itself, and what of that it changes while it runs."""

from __future__ import annotations

import ast
import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable

Path = tuple[str, ...]
Target = tuple[Path, bool]
"""A path, and whether it leads all the way."""
SUPER = "super()"
_ADDING = {"append", "appendleft", "extend", "extendleft", "insert", "add", "update", "setdefault", "put", "put_nowait"}
_TAKING = {"pop", "popleft", "popitem", "remove", "discard", "clear", "difference_update", "intersection_update"}
MUTATORS = _ADDING | _TAKING | {"sort", "reverse", "rotate", "symmetric_difference_update"}
LOOKING = {"len", "print", "isinstance", "bool", "id", "type", "next", "iter", "hash", "range"} | {
    "dump", "write", "writelines", "log", "debug", "info", "warning", "error", "exception", "get",
}  # fmt: skip
"""What calls of these are given does not become part of what a model is asked."""
_OF_KIND = {"isinstance", "issubclass", "id", "hash", "super", "callable"}
"""What calls of these are given is not read."""
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


@dataclass(slots=True)
class Reads:
    """Dotted paths that a definition reads, in the order of its text, each with whether it is only ever called."""

    paths: dict[Path, bool] = field(default_factory=dict[Path, bool])
    changing: set[Path] = field(default_factory=set[Path])
    """What it assigns: names, attributes, and entries of dicts, as the step `[key]`."""
    filling: set[tuple[Path, str]] = field(default_factory=set["tuple[Path, str]"])
    """What it changes the content of, and by which method; none for a subscript."""
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict[str, tuple[str, str | None]])
    handed: set[Path] = field(default_factory=set[Path])
    """Those whose whole value goes into something else: a call, a text, another container."""
    calls: set[str] = field(default_factory=set[str])
    """The last names of all that is called."""
    passed: set[tuple[Path, int | str, Path]] = field(default_factory=set["tuple[Path, int | str, Path]"])
    """What functions are given: which function, at which place or under which name, and what."""
    whole: bool = False
    """Whether it asks for all globals of its module."""
    modules: set[str] = field(default_factory=set[str])
    """Modules that are imported by a call."""
    submodules: set[str] = field(default_factory=set[str])
    """What `import a.b` loads, where it binds `a`."""

    def at_rest(self) -> Reads:
        """Return what is read alone, of code that does not run with the function."""
        return Reads(
            self.paths, imports=self.imports, whole=self.whole, modules=self.modules, submodules=self.submodules
        )


def head_and_body(node: ast.AST) -> tuple[ast.AST, ast.AST]:
    """Divide a definition into its decorators and defaults, which run when it is made, and the rest."""
    if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
        return ast.Tuple([], ast.Load()), node
    body, args = copy.copy(node), copy.copy(node.args)
    head = [*getattr(node, "decorator_list", ()), *args.defaults, *(each for each in args.kw_defaults if each)]
    args.defaults, args.kw_defaults = [], [None] * len(args.kwonlyargs)
    body.args = args
    if not isinstance(body, ast.Lambda):
        body.decorator_list = []
    return ast.Tuple(head, ast.Load()), body


def reads_of(node: ast.AST, *, receiver: str | None = None, outside: frozenset[str] = frozenset()) -> Reads:
    """Find what a cleaned definition reads; `receiver` and the names in `outside` count as not its own."""
    finder = _Finder(receiver, outside)
    finder.visit(node, frozenset())
    return finder.reads


class _Finder:
    def __init__(self, receiver: str | None, outside: frozenset[str]) -> None:
        self.reads = Reads()
        self._receiver = receiver
        self._outside = outside if receiver is None else outside | {receiver}
        self._aliases: dict[str, Target] = {}
        """Local names that stand for what lies outside."""

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
            case ast.AugAssign(target=ast.Name()):
                self._filled(node.target, "+=", local)
                self._children(node, local)
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
        if not local:
            bound -= self._outside
        self.reads.changing |= {(name,) for name in outside & _stored(body)}
        for child in (*getattr(node, "decorator_list", ()), node.args, getattr(node, "returns", None)):
            if child is not None:
                self.visit(child, local)
        inside, before = local - outside | bound, self._aliases
        self._aliases = {name: target for name, target in before.items() if name not in bound}
        for name, value in _assigned_once(body):
            if name in bound and (target := self._target(value, inside)):
                self._aliases[name] = target
        for child in body:
            self.visit(child, inside)
        self._aliases = before

    def _place(self, node: ast.Name | ast.Attribute | ast.Subscript, local: frozenset[str]) -> None:
        """Note a name, a chain of attributes, or what is stored into."""
        stores = not isinstance(node.ctx, ast.Load)
        if stores and not isinstance(node, ast.Name) and (target := self._target(node, local)):
            into, exact = target
            if not exact:
                self.reads.filling.add((into, ""))
            elif len(into) > 1:
                self.reads.changing.add(into)
        path = self._path(node, local)
        if isinstance(node, ast.Subscript) and path is None:
            self._module_entry(node, local)
            self._children(node, local)
        elif path is None and isinstance(node, ast.Attribute):
            self.visit(node.value, local)
        elif path is not None and not stores:
            self.reads.paths[path] = False

    def _module_entry(self, node: ast.Subscript, local: frozenset[str]) -> None:
        match node.slice:
            case ast.Constant(value=str(module)) if self._path(node.value, local) == ("sys", "modules"):
                self.reads.modules.add(module)
            case _:
                pass

    def _call(self, node: ast.Call, local: frozenset[str]) -> None:
        if (kind := self._path(node, local)) is not None:
            self.reads.paths[kind] = False
            return
        path = self._path(node.func, local)
        name = str(getattr(node.func, "attr", getattr(node.func, "id", "")))
        self.reads.calls.add(name)
        self.reads.whole |= path == ("globals",)
        if path is None:
            self.visit(node.func, local)
        else:
            self.reads.paths.setdefault(path, True)
            self._imported_by(path, node.args)
        if isinstance(node.func, ast.Attribute) and name in MUTATORS:
            self._filled(node.func.value, name, local)
        elif path is None:
            self._handed((*node.args, *node.keywords), local)
        else:
            self._given(node, path, local)
        for child in (*node.args, *node.keywords):
            if not (path is not None and name in _OF_KIND and _names(child, self._receiver)):
                self.visit(child, local)

    def _given(self, node: ast.Call, function: Path, local: frozenset[str]) -> None:
        """Note what a function is given; the function's code tells whether it goes on as data."""
        given: list[tuple[int | str, ast.expr]] = [*enumerate(node.args)]
        given += [(each.arg, each.value) for each in node.keywords if each.arg]
        for place, what in given:
            target = self._target(what, local)
            if target is not None and target[1]:
                self.reads.passed.add((function, place, target[0]))
        self._handed((each for each in node.keywords if not each.arg), local)

    def _filled(self, node: ast.AST, method: str, local: frozenset[str]) -> None:
        """Note that the content of something is changed."""
        target = self._target(node, local)
        if target is not None and target[0] != (self._receiver,):
            self.reads.filling.add((target[0], method))

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
            target = self._target(inner, local) if isinstance(getattr(inner, "ctx", None), ast.Load) else None
            if target is not None and target[1]:
                self.reads.handed.add(target[0])

    def _target(self, node: ast.AST, local: frozenset[str]) -> Target | None:
        """Read a chain of attributes and entries as a path, as far as it can be told, and whether that is all of it."""
        match node:
            case ast.Name(id=name):
                return self._aliases.get(name) if name in local else ((name,), True)
            case ast.Attribute(value=value, attr=attr):
                return _one_more(self._target(value, local), attr)
            case ast.Subscript(value=value, slice=key) if not isinstance(key, ast.Slice):
                return _one_more(self._target(value, local), _entry(key))
            case ast.Call(func=ast.Attribute(value=value, attr="get" | "setdefault"), args=[key, *_]):
                return _one_more(self._target(value, local), _entry(key))
            case _:
                return None

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
            case ast.Call(func=ast.Name(id="type"), args=[value], keywords=[]) if "type" not in local:
                whose = self._path(value, local)
                return None if whose is None else (*whose, "__class__", *reversed(chain))
            case ast.Subscript(value=ast.Call(func=ast.Name(id="globals")), slice=ast.Constant(value=str(name))):
                return (name, *reversed(chain))
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


def _one_more(target: Target | None, step: str) -> Target | None:
    """Go one step on along a path; a step that cannot be told leads to somewhere inside."""
    if target is None or not target[1] or not step:
        return target and (target[0], False)
    return (*target[0], step), True


def _entry(key: ast.expr) -> str:
    """Write the step to an entry of a dict; nothing if its key is not to be seen."""
    return f"[{key.value}]" if isinstance(key, ast.Constant) and isinstance(key.value, str) else ""


def _names(node: ast.AST, name: str | None) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _assigned_once(body: list[ast.AST]) -> list[tuple[str, ast.AST]]:
    """List the names that a scope binds in one place only, to what stands there."""
    found: list[tuple[str, ast.AST]] = []
    times: dict[str, int] = {}
    for node in _scope(body):
        match node:
            case ast.Name(id=name) if not isinstance(node.ctx, ast.Load):
                times[name] = times.get(name, 0) + 1
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                found.append((name, value))
            case _:
                pass
    # A name that is changed in place by `+=` is bound twice by that; it may be what it was all the same.
    changed = {getattr(node.target, "id", "") for node in _scope(body) if isinstance(node, ast.AugAssign)}
    return [(name, value) for name, value in found if times[name] == 1 + (name in changed)]


def handed_parameters(node: ast.AST) -> frozenset[int | str]:
    """Find the parameters of a function that go on as data, each by its name and its place."""
    names = _positional(node)
    handed = {path[0] for path in reads_of(node, outside=frozenset(names)).handed if path[0] in names}
    handed |= {what[0] for _, _, what in reads_of(node, outside=frozenset(names)).passed if what[0] in names}
    return frozenset({*handed, *(names.index(name) for name in handed)})


def _positional(node: ast.AST) -> list[str]:
    args: Any = getattr(node, "args", None)
    return [arg.arg for arg in (*args.posonlyargs, *args.args, *args.kwonlyargs)] if args is not None else []


def filled_parameters(node: ast.AST) -> frozenset[int | str]:
    """Find the parameters of a function whose content it changes, each by its name and its place."""
    names = _positional(node)
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
