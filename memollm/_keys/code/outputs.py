"""What a function's own code changes while it runs: its output, which is no part of what makes its answers."""

from __future__ import annotations

import ast
from collections import deque
from dataclasses import dataclass, field
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Final, cast

from memollm._keys.canonical.names import class_of
from memollm._keys.code.lookup import own_dict
from memollm._keys.code.modules import class_name
from memollm._keys.code.reads import LOOKING, Reads, filled_parameters, handed_parameters, reads_of
from memollm._keys.code.watch import Sightings

if TYPE_CHECKING:
    from memollm._keys.code.lookup import Found, View
    from memollm._keys.code.reads import Path

_MAKERS: Final = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__setstate__", "model_post_init")
"""What they write is what an object begins with."""
_SETTERS: Final = {False: ("__setattr__", "__delattr__"), True: ("__setitem__", "__delitem__")}
"""What Python calls where code assigns or deletes an attribute, or an entry."""
_PLAIN: Final = (str, bytes, int, float, complex, bool, type(None))
_DATA: Final = (list, dict, set, deque)


@dataclass(slots=True)
class _Method:
    """A method of a class of the user's: it counts as run if something that runs calls one of its name."""

    owner: str
    name: str
    first: str
    runs_unasked: bool
    """A property, or one that Python calls."""
    reads: Reads
    view: View


@dataclass(frozen=True, slots=True)
class _Passed:
    """What a function is given: the function, if it is known, and the place or name of what it is given."""

    function: object
    name: str
    place: int | str
    view: View
    what: Path


@dataclass(slots=True)
class Outputs:
    """What the code changes, as far as its text shows."""

    containers: set[int] = field(default_factory=set[int])
    """The identities of objects that it changes."""
    attributes: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    """What it assigns: the identity of the namespace or object, and the name."""
    members: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """What methods assign of their own objects: the class and the name."""
    fillings: dict[tuple[str, str], dict[str, View]] = field(default_factory=dict["tuple[str, str]", "dict[str, View]"])
    """What methods change the content of: the class and the name, and by which methods."""
    entries: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    """What it assigns in dicts that it only reads otherwise: the identity of the dict, and the key."""
    _changed: set[str] = field(default_factory=set[str])
    _handed: dict[str, object] = field(default_factory=dict[str, object])
    _trails: dict[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    _kept: list[object] = field(default_factory=list[object])
    _called: set[str] = field(default_factory=set[str])
    _set: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """The classes whose objects it assigns something in, and the methods by which they take it."""
    _methods: list[_Method] = field(default_factory=list[_Method])
    _fillers: dict[int, frozenset[int | str]] = field(default_factory=dict[int, "frozenset[int | str]"])
    _handers: dict[int, frozenset[int | str]] = field(default_factory=dict[int, "frozenset[int | str]"])
    _passed: list[_Passed] = field(default_factory=list[_Passed])

    def read(self, found: Found) -> None:
        """Note through what a value was reached."""
        self._trails[found.label] = (*found.trail, found.label)

    def leads_to(self, found: Found) -> bool:
        """Tell whether a value was reached through what the code is known to change."""
        return not self._changed.isdisjoint(found.trail[:-1])

    def of_code(self, view: View, reads: Reads) -> None:
        """Note what a function changes, calls and hands on."""
        self._called |= reads.calls
        for path in sorted(reads.changing):
            self._changes(view, path)
        for path, method in sorted(reads.filling):
            self._fills(view, path, method)
        for path in sorted(reads.handed):
            self._hands(view, path)

    def _hands(self, view: View, path: Path) -> None:
        found = view.find(path)
        if found and not found.rest:
            self._handed[found.label] = found.value

    def of_method(self, owner: str, node: ast.AST, view: View) -> None:
        """Note what a method of a class would change."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = next((arg.arg for arg in (*node.args.posonlyargs, *node.args.args)), "")
            python_calls = node.name.startswith("__") and node.name not in (*_MAKERS, *_SETTERS[False], *_SETTERS[True])
            unasked = python_calls or bool(node.decorator_list)
            reads = reads_of(node, receiver=first or None)
            self._methods.append(_Method(owner, node.name, first, unasked, reads, view))

    def of_function(self, function: FunctionType, node: ast.AST) -> None:
        """Note which of its parameters a function changes."""
        self._fillers[id(function)] = filled_parameters(node)
        self._handers[id(function)] = handed_parameters(node)
        self._kept.append(function)

    def passes(self, view: View, function: Path, place: int | str, what: Path) -> None:
        """Note what a function is given, which it may change or hand on."""
        found = view.find(function)
        known = None if found is None or found.rest else found.value
        self._passed.append(_Passed(known, function[-1], place, view, what))

    def __len__(self) -> int:
        of_objects = len(self.containers) + len(self.attributes) + len(self.entries)
        return len(self._changed) + len(self.members) + len(self.fillings) + of_objects

    def settle(self) -> None:
        """Note what those methods of the user's classes change that run, and functions of what they are given."""
        for each in self._passed:
            if each.place in self._fillers.get(id(each.function), ()):
                self._fills(each.view, each.what, "")
        while running := [each for each in self._methods if self._is_run(each)]:
            self._methods = [each for each in self._methods if each not in running]
            for method in running:
                self._runs(method)

    def _is_run(self, method: _Method) -> bool:
        called = method.name in self._called or (method.owner, method.name) in self._set
        return called or method.runs_unasked

    def _runs(self, method: _Method) -> None:
        self._called |= method.reads.calls
        for path in sorted(method.reads.changing):
            if path[0] != method.first:
                self._changes(method.view, path)
            elif len(path) > 1:
                self.members.add((method.owner, path[1]))
                self._changed.add(f"constant {method.owner}.{path[1]}")
        for path, how in sorted(method.reads.filling):
            if path[0] != method.first:
                self._fills(method.view, path, how)
            elif len(path) > 1:
                self._fills_member(method, path[1], how if len(path) == len(path[:2]) else "")

    def _fills_member(self, method: _Method, name: str, how: str) -> None:
        self.fillings.setdefault((method.owner, name), {})[how] = method.view
        if not is_of_user(getattr(method.view.owner, name, None), how, method.view):
            self._changed.add(f"constant {method.owner}.{name}")

    def is_filled(self, owner: str, name: str, value: object) -> bool:
        """Tell whether methods of a class change the content of what its objects hold under a name."""
        ways = self.fillings.get((owner, name), {})
        return any(not is_of_user(value, how, view) for how, view in ways.items())

    def _changes(self, view: View, path: Path) -> None:
        """Note what a path assigns: a name, an attribute or an entry."""
        if path[-1].startswith("["):
            self._enters(view, path)
            return
        if holder := path[:-1]:
            self._sets(view.find(holder), is_entry=False)
        found = view.find(path)
        if found is None:
            return
        if found.rest:
            self._assigns(found, view)
            return
        self._changed.add(found.label)
        if found.steps and found.steps[-1][0] in (Sightings.name, Sightings.attribute):
            holder, name = found.steps[-1][1]
            if name == path[-1]:
                self._keep(self.attributes, holder, name)

    def _enters(self, view: View, path: Path) -> None:
        found = view.find(path[:-1])
        self._sets(found, is_entry=True)
        if found is None:
            return
        if found.rest:
            self._assigns(found, view)
        elif class_of(found.value) is dict:
            self._changed.add(f"{found.label}{path[-1]}")
            self._keep(self.entries, found.value, path[-1][1:-1])
        else:
            self._fill(found)

    def _sets(self, found: Found | None, *, is_entry: bool) -> None:
        """Note that an object takes what is assigned, by a method of its class where that has one."""
        for base in () if found is None else type(found.value).__mro__:
            self._set |= {(class_name(base), method) for method in _SETTERS[is_entry] if method in vars(base)}

    def _assigns(self, found: Found, view: View) -> None:
        """Note what is assigned where nothing stands yet; what cannot be followed may be changed anywhere."""
        name, value = found.rest[0], found.value
        if name.startswith("[") and class_of(value) is dict:
            self._keep(self.entries, value, name[1:-1])
        elif view.home.holds(class_of(value).__module__) and not isinstance(value, type):
            self._keep(self.attributes, own_dict(value), name)
            self._keep(self.attributes, value, name)
        elif isinstance(value, (type, ModuleType)):
            self._changed.add(f"{found.label}.{name}")
        else:
            self._fill(found)

    def _fills(self, view: View, path: Path, method: str) -> None:
        """Note what a path changes the content of; of a method of the user's own, its code tells."""
        found = view.find(path)
        self._sets(found, is_entry=True)
        if found is None:
            return
        if found.rest:
            self._assigns(found, view)
        elif not any(is_of_user(each, method, view) for each in (found.value, *_inside(found.value))):
            self._fill(found)

    def _fill(self, found: Found) -> None:
        if found.value is None:
            # What is to be filled is made later.
            self._changed.add(found.label)
        elif type(found.value) not in _PLAIN:
            self._changed.add(found.label)
            self.containers.add(id(found.value))
            self._kept.append(found.value)

    def _keep(self, among: set[tuple[int, str]], holder: object, name: str) -> None:
        among.add((id(holder), name))
        self._kept.append(holder)

    @property
    def labels(self) -> set[str]:
        """The labels of what it changes, and of what was reached through that."""
        through = {label for label, trail in self._trails.items() if not self._changed.isdisjoint(trail)}
        return self._changed | through

    def has(self, value: object) -> bool:
        """Tell whether a value is a container that it changes."""
        return id(value) in self.containers

    def touches(self, value: object, above: tuple[int, ...] = ()) -> bool:
        """Tell whether a plain container holds anything that it changes."""
        if not (self.containers or self.entries) or id(value) in above:
            return False
        if self.has(value) or self.kept_out(value):
            return True
        return any(self.touches(each, (*above, id(value))) for each in _inside(value))

    def kept_out(self, value: object) -> frozenset[str]:
        """Give the entries of a dict that it assigns."""
        return frozenset(name for holder, name in self.entries if holder == id(value))

    def spent(self) -> list[str]:
        """Name the containers that it both changes and hands on as data."""
        for each in self._passed:
            onward = self._handers.get(id(each.function))
            if each.name not in LOOKING if onward is None else each.place in onward:
                self._hands(each.view, each.what)
        return [
            label
            for label, value in self._handed.items()
            if issubclass(type(value), _DATA) and (self.has(value) or self.kept_out(value))
        ]


def is_of_user(value: object, method: str, view: View) -> bool:
    """Tell whether an object's method is one whose code is looked at itself."""
    kind = class_of(value)
    return type(getattr(kind, method, None)) is FunctionType and view.home.holds(kind.__module__)


def _inside(value: object) -> list[object]:
    """List what a plain container holds."""
    if type(value) is dict:
        return list(cast("dict[object, object]", value).values())
    return list(cast("list[object]", value)) if type(value) in (list, tuple) else []
