"""The parts that a function's fingerprint is made of: its text, and every constant and helper that it reads."""

from __future__ import annotations

import ast
import functools
from collections import deque
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.layers import Layers, peeled
from memollm._keys.code.lookup import Found, View, cells_of, class_views, owner_of, underlying
from memollm._keys.code.modules import Home, module_name, space_of
from memollm._keys.code.reads import Path, Reads, reads_of
from memollm._keys.code.source import CodeSource, Edited, class_source, code_digest, function_source, names_in
from memollm._keys.code.syntax import cleaned, is_memo, text
from memollm._keys.code.values import PLAIN, Canonical, code_inside, type_name, value_text

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_HELPERS = 200


@dataclass(slots=True)
class Findings:
    """The parts, and why the function's own text is not among them, if it is not."""

    parts: dict[str, str] = field(default_factory=dict[str, str])
    blind: str = ""


def findings(layers: Layers, owner: type | None, canonical: Canonical) -> Findings:
    """Collect what the code of a function is made of."""
    if type(layers.core) is not FunctionType:
        return Findings(blind="it is not a function written in Python")
    return _Collector(layers, layers.core, canonical).run(owner)


class _Collector:
    """A walk over the helpers, nearest first, that ends when there are no more or too many."""

    def __init__(self, layers: Layers, core: FunctionType, canonical: Canonical) -> None:
        self._layers = layers
        self._core = core
        self._canonical = canonical
        self._home = Home(core.__globals__)
        self._found = Findings()
        self._seen: dict[tuple[int, int], object] = {(id(core), id(layers.receiver)): core}
        self._documented: set[int] = set()
        self._waiting: deque[Callable[[], None]] = deque()
        self._values: dict[str, object] = {}
        self._changing: list[Found] = []

    def run(self, owner: type | None) -> Findings:
        self._root(owner)
        for wrapper in self._layers.wrappers:
            self._later(wrapper, functools.partial(self._helper, wrapper, None))
        for label, value in self._layers.bound.items():
            self._take(Found(label, value), called=False)
        while self._waiting:
            self._waiting.popleft()()
        self._forget_changing()
        return self._found

    # The function itself --------------------------------------------------------------------------------------------

    def _root(self, owner: type | None) -> None:
        core = self._core
        defined_in = owner_of(core)
        receiver = self._layers.receiver
        view = self._view(core, "", owner or defined_in if receiver is None else receiver, defined_in)
        try:
            source = function_source(core)
        except Edited as edited:
            self._compiled_only(core, "body", view)
            self._found.blind = f"{edited} no longer holds the code that runs"
            return
        if source is None:
            self._found.blind = "there is no source for it"
            return
        self._defaults(core)
        node = _without_outer(cleaned(source.node), view)
        self._found.parts["body"] = text(node)
        self._follow(view, reads_of(node, receiver=view.receiver_name), source)

    def _defaults(self, core: FunctionType) -> None:
        code = core.__code__
        names = code.co_varnames[: code.co_argcount]
        values = core.__defaults__ or ()
        defaults = dict(zip(names[len(names) - len(values) :], values, strict=False)) | (core.__kwdefaults__ or {})
        for name, value in defaults.items():
            self._take(Found(f"default {name}", value), called=False)

    # Helpers --------------------------------------------------------------------------------------------------------

    def _later(self, subject: object, job: Callable[[], None], receiver: object = None) -> None:
        """Visit a helper once for each receiver, after those that are nearer; kept alive, their ids stay their own."""
        place = id(subject), id(receiver)
        if place in self._seen:
            return
        if len(self._seen) > MAX_HELPERS:
            self._found.parts["limit"] = f"more than {MAX_HELPERS} helpers; the others count by name only"
            return
        self._seen[place] = subject, receiver
        self._waiting.append(job)

    def _helper(self, function: FunctionType, receiver: object, reached: str = "") -> None:
        name = f"{module_name(function.__globals__)}.{function.__code__.co_qualname}"
        label = self._free_label(f"helper {name}")
        view = self._view(function, f"{name}.", receiver, owner_of(function))
        view.receiver_label = reached
        try:
            source = function_source(function)
        except Edited:
            self._compiled_only(function, label, view)
            return
        if source is None:
            self._found.parts[label] = "no source"
            return
        node = cleaned(source.node, documented=id(function) in self._documented)
        node = _without_memo(node, view)
        self._found.parts[label] = text(node)
        self._follow(view, reads_of(node, receiver=view.receiver_name), source)

    def _class(self, owner: type) -> None:
        space = space_of(owner.__module__)
        name = f"{module_name(space)}.{owner.__qualname__}"
        label = self._free_label(f"helper {name}")
        source = class_source(owner)
        if source is None:
            self._found.parts[label] = value_text(owner, name, self._canonical)
            return
        functions = list(class_views(owner))
        cells = {key: value for function in functions for key, value in cells_of(function).items()}
        cells.pop("__class__", None)
        view = View(self._home, f"{name}.", functions[0].__globals__ if functions else space, cells)
        node = cleaned(source.node)
        self._found.parts[label] = _compiled_class(functions) or text(node)
        self._follow(view, reads_of(node), source)

    def _compiled_only(self, function: FunctionType, label: str, view: View) -> None:
        """Count code whose text has gone by its compiled form, and what it reads by the names in that."""
        self._found.parts[label] = f"compiled {code_digest(function.__code__)}"
        paths: dict[Path, bool] = {(name,): False for name in names_in(function.__code__)}
        self._follow(view, Reads(paths), None)

    def _view(self, function: FunctionType, label: str, receiver: object, owner: type | None) -> View:
        code = function.__code__
        first = code.co_varnames[0] if receiver is not None and code.co_argcount else None
        cells = cells_of(function)
        cells.pop("__class__", None)
        return View(self._home, label, function.__globals__, cells, receiver=receiver, receiver_name=first, owner=owner)

    def _free_label(self, label: str) -> str:
        """Tell apart helpers that one factory made."""
        number, free = 1, label
        while free in self._found.parts:
            number += 1
            free = f"{label} ({number})"
        return free

    # What they read -------------------------------------------------------------------------------------------------

    def _follow(self, view: View, reads: Reads, source: CodeSource | None) -> None:
        view.reads = reads
        imports = _imports(source.module) if source else {}
        for path, called in reads.paths.items():
            if found := view.find(path):
                self._take_safely(found, called=called, imported=imports.get(path[0], ""))
        self._changing += [found for path in sorted(reads.changing) if (found := view.find(path))]

    def _take_safely(self, found: Found, *, called: bool, imported: str) -> None:
        try:
            self._take(found, called=called, imported=imported)
        except Exception:  # noqa: BLE001 - a hostile value counts by its type, and breaks nothing else.
            self._found.parts[found.label] = f"object of {type_name(type(found.value))}"

    def _take(self, found: Found, *, called: bool, imported: str = "") -> None:
        """Count one value that is read: code by its text, data by its canonical text, foreign things by name."""
        value = underlying(found.value)
        layers = peeled(value) if callable(value) and not isinstance(value, type) else None
        if isinstance(value, ModuleType) or (isinstance(value, type) and not self._home.holds(value.__module__)):
            self._foreign(found, value, imported)
        elif isinstance(value, type):
            self._later(value, lambda: self._class(value))
        elif layers and type(layers.core) is FunctionType and (called or layers.caller is None):
            self._take_function(found, layers, layers.core, called=called, imported=imported)
        elif layers and layers.caller is None and hasattr(layers.core, "__qualname__"):
            self._foreign(found, layers.core, imported)
        else:
            self._take_value(found, value)

    def _take_function(self, found: Found, layers: Layers, core: FunctionType, *, called: bool, imported: str) -> None:
        for label, value in layers.bound.items():
            self._take(Found(f"{found.label} {label}", value), called=False)
        for wrapper in layers.wrappers:
            if self._home.holds(wrapper.__globals__.get("__name__")):
                self._later(wrapper, functools.partial(self._helper, wrapper, None))
        if not self._home.holds(core.__globals__.get("__name__")):
            self._foreign(found, core, imported)
            return
        if not called:
            self._documented.add(id(core))
        receiver = found.receiver if layers.receiver is None else layers.receiver
        label = found.through if layers.receiver is None else found.label
        self._later(core, functools.partial(self._helper, core, receiver, label), receiver)
        if not found.label.startswith("constant "):
            self._found.parts[found.label] = f"function {module_name(core.__globals__)}.{core.__qualname__}"

    def _foreign(self, found: Found, value: object, imported: str) -> None:
        """Count a thing of another package by how it was imported: where it is defined differs between versions."""
        if isinstance(value, ModuleType) and self._home.holds(value.__name__):
            return
        name = imported or str(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        self._found.parts[found.label.replace("constant ", "import ", 1)] = name

    def _take_value(self, found: Found, value: object) -> None:
        self._values[found.label] = value
        self._found.parts[found.label] = value_text(value, found.label.partition(" ")[2], self._canonical)
        for label, inside in code_inside(found.label, value):
            self._take(Found(label, inside), called=False)
        if type(value) not in PLAIN and self._home.holds(type(value).__module__):
            self._later(type(value), lambda: self._class(type(value)))

    def _forget_changing(self) -> None:
        """Leave out what the code changes while it runs: its value depends on when one looks."""
        labels = {found.label for found in self._changing}
        changing = {id(found.value) for found in self._changing if type(found.value) not in PLAIN}
        for label, value in self._values.items():
            if label in labels or id(value) in changing:
                self._found.parts.pop(label, None)


def _compiled_class(functions: list[FunctionType]) -> str:
    """Digest the methods of a class whose text is not the one that runs."""
    try:
        for function in functions:
            function_source(function)
    except Edited:
        return f"compiled {' '.join(code_digest(function.__code__) for function in functions)}"
    return ""


def _without_outer(node: ast.AST, view: View) -> ast.AST:
    """Drop memollm's decorator and those above it, which wrap what is memoized and are not part of it."""
    decorators = cast("list[ast.expr]", getattr(node, "decorator_list", []))
    places = [place for place, decorator in enumerate(decorators) if _is_ours(decorator, view)]
    kept = decorators[places[-1] + 1 :] if places else decorators
    if decorators:
        cast("Any", node).decorator_list = [each for each in kept if not _makes_static(each)]
    arguments = cast("ast.arguments", cast("Any", node).args)
    arguments.defaults, arguments.kw_defaults = [], [None] * len(arguments.kwonlyargs)
    return node


def _without_memo(node: ast.AST, view: View) -> ast.AST:
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


@functools.lru_cache(maxsize=8)
def _imports(module: ast.Module) -> dict[str, str]:
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
