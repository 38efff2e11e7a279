"""What a dotted path in a function's code stands for, found without running any property or import hook."""

from __future__ import annotations

import builtins
import enum
import functools
import importlib
import importlib.util
import sys
from dataclasses import dataclass, field, replace
from inspect import cleandoc
from types import CellType, FunctionType, MappingProxyType, MemberDescriptorType, ModuleType
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from memollm._keys.canonical.names import class_of
from memollm._keys.code.modules import Home, module_name, space_of
from memollm._keys.code.reads import SUPER, Path, Reads
from memollm._keys.code.watch import Sightings, is_empty

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_EMPTY: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Found:
    """A value, the label under which it counts, and the object or class through which it was reached."""

    label: str
    value: object
    receiver: object = None
    through: str = ""
    steps: tuple[Step, ...] = ()
    """Where it was looked up, one step after another."""
    trail: tuple[str, ...] = ()
    """The labels of what the steps led through, itself included."""
    rest: Path = ()
    """What of the path led no further."""


Step = tuple["Callable[..., None]", tuple[Any, ...]]
"""What a step is for the sightings, and its arguments before the label."""


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
    of_class: bool = False
    """Whether the receiver is the class itself, and not one of its objects that is an argument."""
    closure: Mapping[str, CellType] = field(default_factory=dict[str, CellType])
    _steps: list[Step] = field(default_factory=list[Step])

    def find(self, path: Path) -> Found | None:
        """Follow a path as far as it leads through this package's modules, classes and any objects."""
        self._steps = []
        start = self._root(path)
        if start is None:
            return None
        found, rest = start
        trail = [found.label]
        left = len(rest)
        for name in rest:
            count = len(self._steps)
            self._steps.append((Sightings.kind, (found.value,)))
            step = self._step(found, name)
            if step is None:
                self._steps[count:] = [each for each in self._steps[count:] if each[0] is Sightings.no_name]
                break
            found, left = step, left - 1
            trail.append(found.label)
        return replace(found, steps=tuple(self._steps), trail=tuple(trail), rest=rest[len(rest) - left :])

    def absent(self, path: Path) -> Iterator[Step]:
        """Give where a name would stand that stands for nothing yet, as in a notebook whose next cell was not run."""
        name = path[0]
        if name in self.closure:
            yield Sightings.no_value, (self.closure[name],)
        elif not (name in self.space or name in self.reads.imports or name == SUPER or hasattr(builtins, name)):
            yield Sightings.no_name, (self.space, name)

    def _in(self, space: Mapping[str, Any], name: str) -> object:
        """Take the value of a name in a namespace, and remember that it was looked up there."""
        self._steps.append((Sightings.name, (space, name)))
        return space[name]

    def _not_in(self, space: Mapping[str, Any], name: str) -> None:
        self._steps.append((Sightings.no_name, (space, name)))

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
            if name in self.closure:
                self._steps.append((Sightings.cell, (self.closure[name],)))
            return Found(f"closure {self.label}{name}", self.cells[name]), rest
        if name in self.space:
            return Found(f"constant {module_name(self.space)}.{name}", self._in(self.space, name)), rest
        return None

    def _through_receiver(self, name: str, rest: Path) -> tuple[Found, Path] | None:
        """Look up `self.x` or `super().x`; what the object itself holds counts as bound to the function."""
        if self.receiver is None:
            return None
        self._steps.append((Sightings.kind, (self.receiver,)))
        of_object = name != SUPER and not issubclass(type(self.receiver), type)
        if rest[:1] == ("__class__",):
            return _class_found(_class_of(self.receiver)), rest[1:]
        if not rest:
            return self._receiver_found(of_object=of_object)
        own = own_dict(self.receiver) if of_object else _EMPTY
        if rest[0] in own and not overrides(type(self.receiver), rest[0]):
            return Found(f"{self.receiver_label}.{rest[0]}", self._in(own, rest[0])), rest[1:]
        if of_object and (slot := _slot(self.receiver, rest[0])):
            return Found(f"{self.receiver_label}.{rest[0]}", self._slotted(self.receiver, rest[0], slot)), rest[1:]
        return self._class_member(rest, after=self.owner if name == SUPER else None, of_object=of_object)

    def _class_member(self, rest: Path, *, after: type | None, of_object: bool) -> tuple[Found, Path] | None:
        """Look up what the receiver has of its class."""
        found = self._in_class(_class_of(self.receiver), rest[0], self.receiver, after=after)
        if found is None:
            return None
        if of_object and _works_out(found.value):
            return Found(self.receiver_label, self.receiver), rest
        return replace(found, through=self.receiver_label), rest[1:]

    def _receiver_found(self, *, of_object: bool) -> tuple[Found, Path] | None:
        """Find the receiver where it is handed on as a whole."""
        if of_object:
            return Found(self.receiver_label, self.receiver), ()
        return (_class_found(_class_of(self.receiver)), ()) if self.of_class else None

    def _member(self, found: Found, name: str) -> Found | None:  # noqa: PLR0911 - one for each kind
        value = found.value
        if name.startswith("["):
            return self._entry(found, name)
        if not isinstance(value, ModuleType) and (told := _told_of_class(found, name)):
            return told
        if isinstance(value, ModuleType):
            return self._of_module(value, name) if self.home.holds(value.__name__) else None
        if (function := _function_of(value)) is not None:
            return self._of_function(found, function, name)
        if not isinstance(value, type) and (own := self._own(found, name)):
            return own
        if not self.home.holds(_class_of(value).__module__):
            return None
        inner = self._in_class(_class_of(value), name, value)
        if inner is None or (not isinstance(value, type) and _works_out(inner.value)):
            return None
        return replace(inner, through=found.label)

    def _of_module(self, module: ModuleType, name: str) -> Found | None:
        inside = vars(module)
        if name in inside:
            return Found(f"constant {module_name(inside)}.{name}", self._in(inside, name))
        self._not_in(inside, name)
        return None

    def _entry(self, found: Found, name: str) -> Found | None:
        """Take an entry of a dict."""
        value: Any = found.value
        if type(value) is not dict or name[1:-1] not in value:
            return None
        return Found(f"{found.label}{name}", self._in(cast("dict[str, Any]", value), name[1:-1]))

    def _own(self, found: Found, name: str) -> Found | None:
        """Read what an object itself holds under a name, of whatever class it is, unless its class is asked first."""
        value: Any = found.value
        own = own_dict(value)
        if name in own and not overrides(class_of(value), name):
            return Found(f"{found.label}.{name}", self._in(own, name))
        if slot := _slot(value, name):
            return Found(f"{found.label}.{name}", self._slotted(value, name, slot))
        if own is not _EMPTY and name not in own:
            self._not_in(own, name)
        return None

    def _slotted(self, value: object, name: str, slot: MemberDescriptorType) -> object:
        self._steps.append((Sightings.attribute, (value, name)))
        return slot.__get__(value)

    def _of_function(self, found: Found, function: FunctionType, name: str) -> Found | None:
        if not self.home.holds(function.__module__):
            return None
        if name == "__doc__":
            self._steps.append((Sightings.docstring, (function,)))
            return Found(f"{found.label}.{name}", cleandoc(function.__doc__ or ""))
        if name == "__annotations__":
            self._steps.append((Sightings.docstring, (function,)))
            return Found(f"{found.label}.{name}", {hint: str(told) for hint, told in function.__annotations__.items()})
        if name not in vars(function):
            self._not_in(vars(function), name)
            return None
        return Found(f"{found.label}.{name}", self._in(vars(function), name))

    def _in_class(self, owner: type, name: str, receiver: object, *, after: type | None = None) -> Found | None:
        bases = owner.__mro__
        bases = bases[bases.index(after) + 1 :] if after in bases else bases
        if isinstance(receiver, type) and after is None:
            bases += class_of(receiver).__mro__  # A class has what its metaclass has.
        for base in bases:
            if not self.home.holds(base.__module__):
                continue
            space = class_space(base)
            if name not in space:
                self._not_in(space, name)
                continue
            own = self._in(space, name)
            value = cast("type[enum.Enum]", base)[name] if _is_member(base, name) else own
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
        if sys.modules.get(full) is loaded:
            self._in(sys.modules, full)
        if name is None:
            return Found(f"constant {full}", loaded)
        if name not in vars(loaded) and (submodule := _load(f"{full}.{name}", self.home)):
            return Found(f"constant {full}.{name}", submodule)
        return Found(f"constant {full}.{name}", self._in(vars(loaded), name)) if name in vars(loaded) else None

    def module(self, name: str) -> Found | None:
        """Find a module that the code imports by a call."""
        self._steps = []
        found = self._imported(name, None)
        return replace(found, steps=tuple(self._steps), trail=(found.label,)) if found else None


def _told_of_class(found: Found, name: str) -> Found | None:
    """Read what every object and every class tells of its class."""
    value = found.value
    if name == "__class__":
        return _class_found(class_of(value))
    if isinstance(value, type) and name in ("__name__", "__qualname__"):
        return Found(f"{found.label}.{name}", getattr(value, name))
    return None


def _class_found(owner: type) -> Found:
    return Found(f"constant {module_name(space_of(owner.__module__))}.{owner.__qualname__}", owner)


def closure_of(function: FunctionType) -> dict[str, CellType]:
    """Give the variables of a function's closure."""
    return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=False))


def cells_of(function: FunctionType) -> dict[str, object]:
    """Give a function's closure by name, without the cells that are still empty."""
    return {name: cell.cell_contents for name, cell in closure_of(function).items() if not is_empty(cell)}


def class_views(owner: type) -> Iterator[FunctionType]:
    """List the plain functions that a class defines itself, through its properties and class methods too."""
    for value in vars(owner).values():
        function = underlying(value)
        if type(function) is FunctionType and function.__qualname__.startswith(owner.__qualname__):
            yield function


def underlying(value: Any) -> object:
    """Take the function out of a property or its like."""
    if isinstance(value, property):
        return value.fget
    if isinstance(value, functools.cached_property):
        return cast("Any", value).func
    if isinstance(value, (staticmethod, classmethod)):
        return cast("staticmethod[..., Any]", value).__func__
    if issubclass(class_of(value), functools.partialmethod):
        return functools.partial(value.func, *value.args, **value.keywords)
    if issubclass(class_of(value), functools.singledispatchmethod):
        return value.dispatcher
    return value


def owner_of(function: FunctionType) -> type | None:
    """Find the class that a method was defined in, if it can be reached from its module."""
    inside = cells_of(function).get("__class__")
    if isinstance(inside, type):
        return inside
    *steps, name = function.__qualname__.split(".")
    value: object = None
    for place, step in enumerate(steps):
        holder = function.__globals__ if place == 0 else own_dict(value)
        value = holder.get(step)
    if not isinstance(value, type) or isinstance(vars(value).get(name), staticmethod):
        return None
    return value


_SPACES: WeakKeyDictionary[type, Mapping[str, Any]] = WeakKeyDictionary()


def class_space(owner: type) -> Mapping[str, Any]:
    """Give a class's own names: always the same object, which `vars` does not."""
    return _SPACES.setdefault(owner, vars(owner))


def own_dict(value: object) -> Mapping[str, Any]:
    """Read an object's own attributes past whatever its class does to attribute access."""
    if isinstance(value, type):
        return vars(value)
    try:
        own = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return _EMPTY
    return cast("dict[str, Any]", own) if type(own) is dict else _EMPTY


def overrides(kind: type, name: str) -> bool:
    """Tell whether a class answers for a name before its objects do, or lets them keep what it once worked out."""
    found: Any = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    of_code = isinstance(found, (FunctionType, staticmethod, classmethod))
    return hasattr(class_of(found), "__set__") or (hasattr(class_of(found), "__get__") and not of_code)


def _works_out(member: Any) -> bool:
    """Tell whether a member of a class asks the object for the value, as the fields of named tuples do."""
    return hasattr(class_of(member), "__get__") and underlying(member) is member and not callable(member)


def _slot(value: object, name: str) -> MemberDescriptorType | None:
    """Find the slot in which an object holds something under a name."""
    found = next((vars(base)[name] for base in type(value).__mro__ if name in vars(base)), None)
    if type(found) is not MemberDescriptorType or type(value).__getattribute__ is not object.__getattribute__:
        return None
    return found if hasattr(value, name) else None


def _function_of(value: object) -> FunctionType | None:
    """Find the plain function that a value is, or that memollm wraps."""
    if type(value) is FunctionType:
        return value
    if type(value).__module__.partition(".")[0] == "memollm" and type(value).__name__ == "CachedFunction":
        inner = cast("Any", value).__wrapped__
        return inner if type(inner) is FunctionType else None
    return None


def _class_of(value: object) -> type:
    return value if isinstance(value, type) else type(value)


def _is_member(owner: type, name: str) -> bool:
    return issubclass(owner, enum.Enum) and name in owner.__members__


def _load(module: str, home: Home) -> ModuleType | None:
    if not home.may_hold(module):
        return None
    try:
        return importlib.import_module(module)
    except Exception:  # noqa: BLE001 - the function's own call will meet it and say so.
        return None
