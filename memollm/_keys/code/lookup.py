"""What a dotted path in a function's code stands for, found without running any property or import hook."""

from __future__ import annotations

import enum
import functools
import importlib
import importlib.util
from dataclasses import dataclass, field, replace
from types import CellType, FunctionType, MappingProxyType, ModuleType
from typing import TYPE_CHECKING, Any, cast

from memollm._keys.code.modules import Home, module_name, space_of
from memollm._keys.code.reads import SUPER, Path, Reads

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Found:
    """A value, the label under which it counts, and the object or class through which it was reached."""

    label: str
    value: object
    receiver: object = None
    through: str = ""


@dataclass(slots=True)
class View:
    """The names that the code of one function or class can see."""

    home: Home
    label: str
    space: Mapping[str, Any]
    cells: Mapping[str, object] = field(default_factory=dict[str, object])
    reads: Reads = field(default_factory=Reads)
    receiver: object = None
    receiver_name: str | None = None
    receiver_label: str = "bound self"
    owner: type | None = None

    def find(self, path: Path) -> Found | None:
        """Follow a path as far as it leads through this package's modules, classes and objects."""
        start = self._root(path)
        if start is None:
            return None
        found, rest = start
        for name in rest:
            step = self._step(found, name)
            if step is None:
                break
            found = step
        return found

    def _step(self, found: Found, name: str) -> Found | None:
        try:
            return self._member(found, name)
        except Exception:  # noqa: BLE001 - a hostile object has no members.
            return None

    def _root(self, path: Path) -> tuple[Found, Path] | None:
        name, rest = path[0], path[1:]
        if name in (self.receiver_name, SUPER):
            return self._through_receiver(name, rest)
        if name in self.reads.imports:
            for module in sorted(self.reads.submodules):
                if module.startswith(f"{name}."):
                    _load(module, self.home)
            found = self._imported(*self.reads.imports[name])
            return (found, rest) if found else None
        if name in self.cells:
            return Found(f"closure {self.label}{name}", self.cells[name]), rest
        if name in self.space:
            return Found(f"constant {module_name(self.space)}.{name}", self.space[name]), rest
        return None

    def _through_receiver(self, name: str, rest: Path) -> tuple[Found, Path] | None:
        """Look up `self.x` or `super().x`; what the object itself holds counts as bound to the function."""
        if not rest or self.receiver is None:
            return None
        of_object = name != SUPER and not issubclass(type(self.receiver), type)
        own = _own_dict(self.receiver) if of_object else _EMPTY
        if rest[0] in own:
            return Found(f"{self.receiver_label}.{rest[0]}", own[rest[0]]), rest[1:]
        after = self.owner if name == SUPER else None
        found = self._in_class(_class_of(self.receiver), rest[0], self.receiver, after=after)
        return (replace(found, through=self.receiver_label), rest[1:]) if found else None

    def _member(self, found: Found, name: str) -> Found | None:
        value = found.value
        if isinstance(value, ModuleType):
            inside = vars(value)
            known = name in inside and self.home.holds(value.__name__)
            return Found(f"constant {module_name(inside)}.{name}", inside[name]) if known else None
        if type(value) is FunctionType:
            return self._of_function(found, value, name)
        if not self.home.holds(_class_of(value).__module__):
            return None
        if not isinstance(value, type) and name in (own := _own_dict(value)):
            return Found(f"{found.label}.{name}", own[name])
        inner = self._in_class(_class_of(value), name, value)
        return replace(inner, through=found.label) if inner else None

    def _of_function(self, found: Found, function: FunctionType, name: str) -> Found | None:
        if not self.home.holds(function.__module__):
            return None
        if name == "__doc__":
            return Found(f"{found.label}.{name}", function.__doc__)
        return Found(f"{found.label}.{name}", vars(function)[name]) if name in vars(function) else None

    def _in_class(self, owner: type, name: str, receiver: object, *, after: type | None = None) -> Found | None:
        bases = owner.__mro__
        bases = bases[bases.index(after) + 1 :] if after in bases else bases
        for base in bases:
            if not self.home.holds(base.__module__) or name not in vars(base):
                continue
            value = cast("type[enum.Enum]", base)[name] if _is_member(base, name) else vars(base)[name]
            if name == "__doc__" or not name.startswith("__") or callable(value):
                label = f"constant {module_name(space_of(base.__module__))}.{base.__qualname__}.{name}"
                return Found(label, value, receiver)
        return None

    def _imported(self, module: str, name: str | None) -> Found | None:
        """Follow an import inside a function, which its call would run, if it is of this package."""
        level = len(module) - len(module.lstrip("."))
        package = str(self.space.get("__package__") or "")
        full = importlib.util.resolve_name(module, package) if level and package else module
        loaded = _load(full, self.home)
        if loaded is None:
            return None
        if name is None:
            return Found(f"constant {full}", loaded)
        if name not in vars(loaded) and (submodule := _load(f"{full}.{name}", self.home)):
            return Found(f"constant {full}.{name}", submodule)
        return Found(f"constant {full}.{name}", vars(loaded)[name]) if name in vars(loaded) else None


def cells_of(function: FunctionType) -> dict[str, object]:
    """Give a function's closure by name, without the cells that are still empty."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
    return {name: cell.cell_contents for name, cell in cells if _is_set(cell)}


def class_views(owner: type) -> Iterator[FunctionType]:
    """List the plain functions that a class defines itself, through its properties and class methods too."""
    for value in vars(owner).values():
        function = underlying(value)
        if type(function) is FunctionType and function.__qualname__.startswith(owner.__qualname__):
            yield function


def underlying(value: object) -> object:
    """Take the function out of a property or its like."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return cast("Any", value).func
    if isinstance(value, (staticmethod, classmethod)):
        return cast("staticmethod[..., Any]", value).__func__
    return value


def owner_of(function: FunctionType) -> type | None:
    """Find the class that a method was defined in, if it can be reached from its module."""
    inside = cells_of(function).get("__class__")
    if isinstance(inside, type):
        return inside
    *steps, name = function.__qualname__.split(".")
    value: object = None
    for place, step in enumerate(steps):
        holder = function.__globals__ if place == 0 else _own_dict(value)
        value = holder.get(step)
    if not isinstance(value, type) or isinstance(vars(value).get(name), staticmethod):
        return None
    return value


def _own_dict(value: object) -> Mapping[str, Any]:
    """Read an object's own attributes past whatever its class does to attribute access."""
    if isinstance(value, type):
        return vars(value)
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return _EMPTY
    return cast("dict[str, Any]", own) if type(own) is dict else _EMPTY


def _class_of(value: object) -> type:
    return value if isinstance(value, type) else type(value)


def _is_member(owner: type, name: str) -> bool:
    return issubclass(owner, enum.Enum) and name in owner.__members__


def _is_set(cell: CellType) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def _load(module: str, home: Home) -> ModuleType | None:
    if not home.may_hold(module):
        return None
    try:
        return importlib.import_module(module)
    except Exception:  # noqa: BLE001 - the function's own call will meet it and say so.
        return None
