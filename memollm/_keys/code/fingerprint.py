"""The parts that a function's fingerprint is made of: its text, and every constant and helper that it reads."""

from __future__ import annotations

import functools
import inspect
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, MethodWrapperType, ModuleType
from typing import TYPE_CHECKING, Any, Final

from memollm._keys.canonical.names import class_of
from memollm._keys.code.decorators import imports_of, without_memo, without_outer
from memollm._keys.code.definition import Definition
from memollm._keys.code.findings import Findings, is_ignored
from memollm._keys.code.layers import Layers, peeled
from memollm._keys.code.lookup import Found, View, cells_of, class_space, class_views, closure_of, owner_of, underlying
from memollm._keys.code.modules import Home, module_name, project_of, space_of
from memollm._keys.code.outputs import Outputs
from memollm._keys.code.reads import Reads, head_and_body, reads_of
from memollm._keys.code.schemas import has_plain_defaults, schema_of, taken_over
from memollm._keys.code.source import CodeSource, code_of
from memollm._keys.code.values import Canonical, Contents, hint_text, type_name
from memollm._keys.code.visits import Visits
from memollm._keys.code.watch import Sightings
from memollm._types.secret import SECRET, is_secret_name

if TYPE_CHECKING:
    import ast
    from collections.abc import Collection, Mapping

_BOUND: Final = (BuiltinFunctionType, MethodWrapperType, MethodType)


def findings(
    layers: Layers,
    owner: type | None,
    canonical: Canonical,
    *,
    ignored: Collection[str] = (),
    also: Collection[object] = (),
    documented: bool = False,
) -> Findings:
    """Collect what the code of a function is made of; `also` holds functions that decide with it."""
    space = layers.core.__globals__ if type(layers.core) is FunctionType else {}
    return _Collector(layers, space, canonical, ignored).run(owner, also, documented=documented)


class _Collector:
    """A walk over the helpers, nearest first, that ends when there are no more or too many."""

    def __init__(self, layers: Layers, space: dict[str, Any], canonical: Canonical, ignored: Collection[str]) -> None:
        self._layers = layers
        self._canonical = canonical
        self._ignored = frozenset(ignored)
        self._home = Home(space)
        self._found = Findings()
        self._sightings = Sightings()
        self._outputs = Outputs()
        self._contents = Contents(canonical, project_of(space), self._outputs)
        self._visits = Visits(layers.core, layers.receiver)
        self._documented: set[int] = set()
        self._values: dict[str, Found] = {}
        self._known_outputs = 0
        """How many there were when values were written last."""
        self._expanded: dict[int, object] = {}
        """What functions are bound to or closed over, each taken once; kept alive, their ids stay their own."""

    def run(self, owner: type | None, also: Collection[object], *, documented: bool) -> Findings:
        core = self._layers.core
        if type(core) is FunctionType:
            self._root(core, owner, documented=documented)
        elif isinstance(core, type):
            self._whole_class(core)
        else:
            self._builtin(core)
        self._around(also)
        self._walk()
        while self._known_outputs != len(self._outputs):
            # What was written before it was known that the code changes it is written once more.
            for label in self._values:
                self._found.parts.pop(label, None)
            self._contents.begin_again()
            self._walk()
        if self._visits.limit:
            self._found.parts["limit"] = self._visits.limit
        self._forget_outputs()
        return self._found

    def _around(self, also: Collection[object]) -> None:
        """Count what stands around the function, and what decides with it."""
        for wrapper in self._layers.wrappers:
            self._wrapper(wrapper, "registry")
        for label, value in self._layers.bound.items():
            self._take(Found(label, value), called=False)
        for number, function in enumerate(also):
            self._take(Found(f"key {number}", function), called=True)

    def _whole_class(self, owner: type) -> None:
        self._home = Home(space_of(owner.__module__))
        self._visits.begin_again()
        for base in owner.__mro__:
            if self._home.holds(base.__module__):
                self._visits.later(base, functools.partial(self._class, base))

    def _walk(self) -> None:
        self._known_outputs = len(self._outputs)
        while self._visits or self._unwritten():
            self._visits.go()
            self._outputs.settle()
            self._write_values()
        self._outputs.settle()

    # The function itself --------------------------------------------------------------------------------------------

    def _root(self, core: FunctionType, owner: type | None, *, documented: bool) -> None:
        defined_in = owner_of(core)
        receiver = self._layers.receiver
        view = self._view(core, "", owner or defined_in if receiver is None else receiver, defined_in)
        self._sightings.function(core, "body")
        defined = Definition.of(core)
        self._found.blind = defined.blind
        self._defaults(core, "default ", taken_over(defined.source.node, core) if defined.source else frozenset())
        if documented:
            self._found.parts["documented"] = defined.text(defined.tree(documented=True))
            self._told(core, "documented")
        view.of_class = defined.is_class_method(defined_in)
        node = without_outer(defined.tree(), view)
        self._found.parts["body"] = defined.text(node)
        self._follow_all(view, node, defined.source)

    def _builtin(self, core: Any) -> None:
        """Count a function written in C by its name, and by what it is bound to."""
        self._found.blind = "it is not a function written in Python"
        receiver = getattr(core, "__self__", None)
        if isinstance(core, _BOUND) and receiver is not None and not isinstance(receiver, ModuleType):
            self._found.parts["body"] = f"builtin {core.__qualname__}"
            self._take(Found("bound self", receiver), called=False)
            self._found.blind = ""

    def _defaults(self, function: FunctionType, label: str, made_with: frozenset[str] = frozenset()) -> None:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount]
        values = function.__defaults__ or ()
        defaults = dict(zip(names[len(names) - len(values) :], values, strict=False)) | (function.__kwdefaults__ or {})
        for name, value in defaults.items():
            told = f"bound {label}" if name in made_with else label
            self._take_safely(Found(f"{told}{name}", value), called=False)

    def _told(self, function: FunctionType, label: str) -> None:
        """Count what is said of a function that is handed on: its docstring as it is now, and its attributes."""
        self._found.parts[f"{label}.__doc__"] = inspect.cleandoc(function.__doc__ or "")
        self._sightings.docstring(function, label)
        hints = {hint: hint_text(told, self._canonical) for hint, told in function.__annotations__.items()}
        self._found.parts[f"{label}.__annotations__"] = str(hints)
        for name, value in vars(function).items():
            if not name.startswith("__"):
                steps = ((Sightings.name, (vars(function), name)),)
                self._take_safely(Found(f"{label}.{name}", value, steps=steps), called=False)

    # Helpers --------------------------------------------------------------------------------------------------------

    def _wrapper(self, wrapper: FunctionType, label: str) -> None:
        """Count a decorator's function; one of another package by how it is written above the function.

        What `singledispatch` chooses from counts, too.
        """
        registry: Any = getattr(wrapper, "registry", None)
        if class_of(registry) is MappingProxyType:
            self._take(Found(label, registry), called=False)
        if self._home.holds(wrapper.__globals__.get("__name__")):
            self._visits.later(wrapper, functools.partial(self._helper, wrapper, None))

    def _helper(self, function: FunctionType, receiver: object, reached: str = "") -> None:
        name = f"{module_name(function.__globals__)}.{code_of(function).co_qualname}"
        label = self._found.free_label(f"helper {name}")
        view = self._view(function, f"{name}.", receiver, owner_of(function))
        view.receiver_label = reached
        self._sightings.function(function, label)
        defined, documented = Definition.of(function), id(function) in self._documented
        view.of_class = defined.is_class_method(view.owner)
        node = without_memo(defined.tree(documented=documented), view)
        self._outputs.of_function(function, node)
        if not has_plain_defaults(node, function):
            self._defaults(function, f"default {name}.")
        self._found.parts[label] = defined.text(node)
        if documented:
            self._told(function, label)
        follow = functools.partial(self._follow_all, view, node, defined.source)
        self._visits.rests(function, follow, receiver)
        follow()

    def _class(self, owner: type) -> None:
        """Count a class as it is: what its methods say, its schema, and what it holds."""
        space = space_of(owner.__module__)
        name = f"{module_name(space)}.{owner.__qualname__}"
        label = self._found.free_label(f"helper {name}")
        self._sightings.items(class_space(owner), label)
        self._sightings.kind(owner, label)
        functions = list(class_views(owner))
        texts = [self._method(owner, name, label, function) for function in functions]
        head = f"class {owner.__qualname__}({', '.join(map(type_name, owner.__bases__))}):"
        self._found.parts[label] = "\n".join([head, *schema_of(owner, self._canonical), *texts])
        self._members(owner, name, {id(function) for function in functions})
        for base in (*owner.__bases__, type(owner)):
            if self._home.holds(base.__module__):
                self._visits.later(base, functools.partial(self._class, base))

    def _method(self, owner: type, name: str, label: str, function: FunctionType) -> str:
        """Count what a method of a class reads, and return its text."""
        view = self._view(function, f"{name}.", None, owner)
        self._sightings.function(function, label)
        defined = Definition.of(function)
        node = without_memo(defined.tree(), view)
        self._outputs.of_method(name, node, view)
        if not has_plain_defaults(node, function):
            self._defaults(function, f"default {name}.{function.__name__}.")
        head, body = head_and_body(node)
        self._follow_head(view, head, defined.source)
        # Of the methods only those that run change anything.
        self._follow(view, reads_of(body).at_rest(), defined.source)
        return defined.text(node)

    def _members(self, owner: type, name: str, in_text: set[int]) -> None:
        """Count what a class holds now: it may have been set since its text was read, or never have had one."""
        for member, value in list(class_space(owner).items()):
            inner: Any = underlying(value)
            if member.startswith("__") or id(inner) in in_text:
                continue
            is_code = issubclass(class_of(inner), (FunctionType, functools.partial)) or hasattr(inner, "__wrapped__")
            works_out = inspect.isdatadescriptor(inner) or (hasattr(inner, "__get__") and not is_code)
            if works_out and not self._home.holds(class_of(inner).__module__):
                continue
            label = f"constant {name}.{member}"
            if label not in self._values and member not in ("_abc_impl", "_member_map_", "_value2member_map_"):
                self._take_safely(Found(label, value, trail=(label,)), called=is_code)

    def _view(self, function: FunctionType, label: str, receiver: object, owner: type | None) -> View:
        code = function.__code__
        first = code.co_varnames[0] if receiver is not None and code.co_argcount else None
        cells = cells_of(function)
        cells.pop("__class__", None)
        return View(
            self._home, label, function.__globals__, cells, receiver=receiver, receiver_name=first, owner=owner,
            closure=closure_of(function),
        )  # fmt: skip

    # What they read -------------------------------------------------------------------------------------------------

    def _follow_all(self, view: View, node: ast.AST, source: CodeSource | None) -> None:
        """Follow a definition: its decorators and defaults, which ran when it was made, and its body, which runs."""
        head, body = head_and_body(node)
        self._follow_head(view, head, source)
        reads = reads_of(body, receiver=view.receiver_name)
        self._follow(view, reads if self._visits.runs else reads.at_rest(), source)

    def _follow_head(self, view: View, head: ast.AST, source: CodeSource | None) -> None:
        with self._visits.at_rest():
            self._follow(view, reads_of(head).at_rest(), source)

    def _follow(self, view: View, reads: Reads, source: CodeSource | None) -> None:
        view.reads = reads
        if reads.whole:
            self._whole_space(view.space)
        imports = imports_of(source.module) if source else {}
        self._outputs.of_code(view, reads)
        for function, place, what in reads.passed:
            self._outputs.passes(view, function, place, what)
        for path, called in reads.paths.items():
            found = view.find(path)
            if found is None:
                for look, where in view.absent(path):
                    look(self._sightings, *where, "absent")
            elif not self._outputs.leads_to(found):
                self._take_safely(found, called=called, imported=imports.get(path[0], ""))
        for module in sorted(reads.modules):
            if found := view.module(module):
                self._take_safely(found, called=False)

    def _take_safely(self, found: Found, *, called: bool, imported: str = "") -> None:
        try:
            self._take(found, called=called, imported=imported)
        except Exception:  # noqa: BLE001 - a hostile value counts by its type, and breaks nothing else.
            self._found.parts[found.label] = f"object of {type_name(type(found.value))}"

    def _take(self, found: Found, *, called: bool, imported: str = "") -> None:
        """Count one value that is read: code by its text, data by its canonical text, foreign things by name."""
        if is_ignored(found.label, self._ignored):
            return
        for look, where in found.steps:
            look(self._sightings, *where, found.label)
        self._outputs.read(found)
        value = underlying(found.value)
        layers = peeled(value) if callable(value) and not isinstance(value, type) else None
        if isinstance(value, ModuleType) and self._home.holds(value.__name__):
            self._visits.later(value, functools.partial(self._whole_space, vars(value)))
        elif isinstance(value, ModuleType) or (isinstance(value, type) and not self._home.holds(value.__module__)):
            self._foreign(found, value, imported)
        elif isinstance(value, type):
            self._visits.later(value, lambda: self._class(value))
        elif layers and type(layers.core) is FunctionType and (called or layers.caller is None):
            self._take_function(found, layers, layers.core, called=called, imported=imported)
        elif layers and layers.caller is None and hasattr(layers.core, "__qualname__"):
            self._take_builtin(found, layers, imported)
        else:
            self._take_value(found, value)

    def _take_bound(self, found: Found, layers: Layers) -> None:
        for label, value in layers.bound.items():
            self._take(Found(f"{found.label} {label}", value, trail=found.trail), called=False)
        for wrapper in layers.wrappers:
            self._wrapper(wrapper, f"{found.label} registry")

    def _take_function(self, found: Found, layers: Layers, core: FunctionType, *, called: bool, imported: str) -> None:
        self._take_bound(found, layers)
        if not self._home.holds(core.__globals__.get("__name__")):
            self._take_foreign(found, layers, core, imported)
            return
        if not called:
            self._documented.add(id(core))
            if core is self._layers.core:
                self._told(core, "body")
        receiver = found.receiver if layers.receiver is None else layers.receiver
        label = found.through if layers.receiver is None else found.label
        self._visits.later(core, functools.partial(self._helper, core, receiver, label), receiver)
        if not found.label.startswith("constant "):
            self._found.parts[found.label] = f"function {module_name(core.__globals__)}.{core.__qualname__}"

    def _take_foreign(self, found: Found, layers: Layers, core: FunctionType, imported: str) -> None:
        """Count a function of another package by its name, and all that it was made with."""
        self._foreign(found, core, imported)
        self._take_receiver(found, layers.receiver)
        for name, value in cells_of(core).items() if self._is_first(core) else ():
            self._take(Found(f"{found.label} closure {name}", value, trail=found.trail), called=False)

    def _take_receiver(self, found: Found, receiver: object) -> None:
        if receiver is not None and not isinstance(receiver, (type, ModuleType)) and self._is_first(receiver):
            self._take_value(Found(f"{found.label} self", receiver, trail=found.trail), receiver)

    def _is_first(self, value: object) -> bool:
        is_first = id(value) not in self._expanded
        self._expanded[id(value)] = value
        return is_first

    def _take_builtin(self, found: Found, layers: Layers, imported: str) -> None:
        self._take_bound(found, layers)
        self._foreign(found, layers.core, imported)
        if isinstance(layers.core, _BOUND):
            self._take_receiver(found, layers.core.__self__)

    def _foreign(self, found: Found, value: object, imported: str) -> None:
        """Count a thing of another package by how it was imported: where it is defined differs between versions."""
        name = imported or str(getattr(value, "__qualname__", getattr(value, "__name__", "")))
        self._found.parts[found.label.replace("constant ", "import ", 1)] = name

    def _whole_space(self, space: Mapping[str, Any]) -> None:
        """Count all that a module of the user's defines: what is read of it could not be told."""
        for name, value in list(space.items()):
            if name.startswith("__") or isinstance(value, ModuleType):
                continue
            label = f"constant {module_name(space)}.{name}"
            steps = ((Sightings.name, (space, name)),)
            self._take_safely(Found(label, value, steps=steps, trail=(label,)), called=True)

    # Values ---------------------------------------------------------------------------------------------------------

    def _take_value(self, found: Found, value: object) -> None:
        name = found.label.rpartition(".")[2].rpartition(" ")[2]
        if is_secret_name(name) and not isinstance(value, (int, float)):
            self._found.parts[found.label] = SECRET
        elif name == "__name__" and isinstance(value, str):
            self._found.parts[found.label] = module_name({"__name__": value, **space_of(value)})
        else:
            self._values.setdefault(found.label, Found(found.label, value, trail=found.trail))

    def _unwritten(self) -> list[Found]:
        return [found for label, found in self._values.items() if label not in self._found.parts]

    def _write_values(self) -> None:
        """Write the values that were met, without what the code is known to change itself, and visit code in them."""
        for found in self._unwritten():
            self._found.parts[found.label] = self._contents.text(found.value, found.label)
        met, self._contents.code = self._contents.code, []
        for label, code in met:
            if not isinstance(code, type) or self._home.holds(code.__module__):
                self._take_safely(Found(label, code), called=isinstance(code, type))

    def _forget_outputs(self) -> None:
        """Leave out what the code changes while it runs: its value depends on when one looks."""
        found, outputs = self._found, self._outputs
        dropped = {label for label, value in self._values.items() if outputs.has(value)} | outputs.labels
        for label in dropped:
            found.parts.pop(label, None)
        found.unseen = [
            (label, kind)
            for label, kind in self._contents.unseen
            if not any(label.startswith(each) for each in dropped)
        ]
        found.spent = outputs.spent()
        self._sightings.absorb(self._contents.sightings)
        found.watch = self._sightings.watch(dropped, outputs.containers)
