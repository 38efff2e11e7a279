"""What a function's own code changes while it runs: its output, which is no part of what makes its answers."""

from __future__ import annotations

import ast
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memollm._keys.code.reads import Reads, filled_parameters, reads_of
from memollm._keys.code.watch import Sightings

if TYPE_CHECKING:
    from types import FunctionType

    from memollm._keys.code.lookup import Found, View
    from memollm._keys.code.reads import Path

_MAKERS: Final = ("__init__", "__new__", "__post_init__", "__init_subclass__", "__setstate__", "model_post_init")
"""What they write is what an object begins with."""
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


@dataclass(slots=True)
class Outputs:
    """What the code changes, as far as its text shows."""

    containers: set[int] = field(default_factory=set[int])
    """The identities of objects that it changes."""
    attributes: set[tuple[int, str]] = field(default_factory=set[tuple[int, str]])
    """What it assigns: the identity of the namespace or object, and the name."""
    members: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    """What methods change of their own objects: the class and the name."""
    _changed: set[str] = field(default_factory=set[str])
    _handed: dict[str, object] = field(default_factory=dict[str, object])
    _trails: dict[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    _kept: list[object] = field(default_factory=list[object])
    _called: set[str] = field(default_factory=set[str])
    _methods: list[_Method] = field(default_factory=list[_Method])
    _fillers: dict[int, frozenset[int | str]] = field(default_factory=dict[int, "frozenset[int | str]"])
    _passed: list[tuple[object, int | str, View, Path]] = field(
        default_factory=list["tuple[object, int | str, View, Path]"]
    )

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
        for path in sorted(reads.handed):
            if found := view.find(path):
                self._handed[found.label] = found.value

    def of_method(self, owner: str, node: ast.AST, view: View) -> None:
        """Note what a method of a class would change."""
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            first = next((arg.arg for arg in (*node.args.posonlyargs, *node.args.args)), "")
            python_calls = node.name.startswith("__") and node.name not in _MAKERS
            unasked = python_calls or bool(node.decorator_list)
            reads = reads_of(node, receiver=first or None)
            self._methods.append(_Method(owner, node.name, first, unasked, reads, view))

    def of_function(self, function: FunctionType, node: ast.AST) -> None:
        """Note which of its parameters a function changes."""
        self._fillers[id(function)] = filled_parameters(node)
        self._kept.append(function)

    def passes(self, function: object, place: int | str, view: View, path: Path) -> None:
        """Note what a function is given, which it may change."""
        self._passed.append((function, place, view, path))

    def __len__(self) -> int:
        return len(self._changed) + len(self.containers) + len(self.attributes) + len(self.members)

    def settle(self) -> None:
        """Note what those methods of the user's classes change that run, and functions of what they are given."""
        for function, place, view, path in self._passed:
            if place in self._fillers.get(id(function), ()):
                self._changes(view, path)
        while running := [each for each in self._methods if each.runs_unasked or each.name in self._called]:
            self._methods = [each for each in self._methods if each not in running]
            for method in running:
                self._called |= method.reads.calls
                for path in sorted(method.reads.changing):
                    if path[0] != method.first:
                        self._changes(method.view, path)
                    elif len(path) > 1:
                        self.members.add((method.owner, path[1]))
                        self._changed.add(f"constant {method.owner}.{path[1]}")

    def _changes(self, view: View, path: Path) -> None:
        found = view.find(path)
        if found is None:
            return
        self._changed.add(found.label)
        if type(found.value) not in _PLAIN:
            self.containers.add(id(found.value))
            self._kept.append(found.value)
        if found.steps and found.steps[-1][0] in (Sightings.name, Sightings.attribute):
            holder, name = found.steps[-1][1]
            if name == path[-1]:
                self.attributes.add((id(holder), name))
                self._kept.append(holder)

    @property
    def labels(self) -> set[str]:
        """The labels of what it changes, and of what was reached through that."""
        through = {label for label, trail in self._trails.items() if not self._changed.isdisjoint(trail)}
        return self._changed | through

    def has(self, value: object) -> bool:
        """Tell whether a value is a container that it changes."""
        return id(value) in self.containers

    def spent(self) -> list[str]:
        """Name the containers that it both changes and hands on as data."""
        return [label for label, value in self._handed.items() if issubclass(type(value), _DATA) and self.has(value)]
