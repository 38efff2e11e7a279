"""What a function's identity was made of, to be looked at again at every call: where it was seen, and what it was."""

from __future__ import annotations

import marshal
from operator import attrgetter, is_, itemgetter
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._keys.canonical.names import class_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Set as AbstractSet
    from contextvars import ContextVar
    from types import CellType, FunctionType

MARSHAL_FORMAT: Final = 2
"""The last format without references, so that equal plain values of one history have equal bytes."""
_OF_CELL: Final = attrgetter("cell_contents", "cell_contents")
_OF_DOC: Final = attrgetter("__doc__", "__annotations__")
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})
_CONTAINERS: Final = frozenset({list, dict, tuple, set, frozenset})
_DEEPEST: Final = 50
_flags = cast("Callable[[type], int]", attrgetter("__flags__"))
_bases = cast("Callable[[type], tuple[type, ...]]", attrgetter("__mro__"))
_MADE_BY_CODE: Final = 1 << 9
"""The flag of a class that a class statement or a call has made."""

Look = tuple["Callable[[Any], Any]", Any, tuple[Any, ...]]
"""How to look, at what, and the items that were seen there."""


class Watch:
    """What was seen, and whether it still is so.

    What cannot change is compared by identity, and a plain container by its bytes, which are equal only for equal
    values of equal types. So what holds is as it was; what does not may still mean the same, which a new look tells.
    """

    __slots__ = ("_absent", "_bases", "_contents", "_functions", "_kinds", "_looks", "_more", "_texts")

    def __init__(
        self,
        looks: tuple[Look, ...] = (),
        contents: tuple[tuple[Any, bytes], ...] = (),
        texts: tuple[tuple[Callable[[Any], object], Any, object], ...] = (),
        absent: tuple[tuple[Mapping[str, Any], frozenset[str]], ...] = (),
        functions: tuple[tuple[FunctionType, Any, Any, Any], ...] = (),
        *,
        kinds: tuple[tuple[object, type], ...] = (),
        bases: tuple[tuple[type, tuple[type, ...]], ...] = (),
    ) -> None:
        self._functions = functions
        self._kinds = kinds
        self._bases = bases
        self._looks = looks
        self._contents = contents
        self._texts = texts
        self._absent = absent
        self._more = bool(contents or texts or absent)

    def __bool__(self) -> bool:
        return bool(self._functions or self._looks or self._kinds or self._bases or self._more)

    def __reduce__(self) -> tuple[type[Watch], tuple[()]]:
        """Let another process look at nothing again: who a function was here, it is there for good."""
        return Watch, ()

    def holds(self) -> bool:  # noqa: C901, PLR0911 - in one piece, since each call of a memoized function asks
        """Tell whether everything is as it was seen."""
        try:
            for function, code, defaults, named in self._functions:
                if function.__code__ is not code or function.__defaults__ is not defaults:
                    return False
                if function.__kwdefaults__ is not named:
                    return False
            for look, where, seen in self._looks:
                found = look(where)
                if len(found) != len(seen) or not all(map(is_, found, seen)):
                    return False
            for value, kind in self._kinds:
                if type(value) is not kind:
                    return False
            for kind, bases in self._bases:
                if kind.__mro__ is not bases:
                    return False
            return not self._more or self._has_contents()
        except Exception:  # noqa: BLE001 - what cannot be looked at any more has changed.
            return False

    def _has_contents(self) -> bool:
        for value, content in self._contents:
            if marshal.dumps(value, MARSHAL_FORMAT) != content:
                return False
        for write, value, written in self._texts:
            if write(value) != written:
                return False
        return all(space.keys().isdisjoint(names) for space, names in self._absent)


class Sightings:
    """What is seen while the code of a function is read; a label says for which part."""

    def __init__(self) -> None:
        self._names: dict[tuple[int, str], tuple[Mapping[str, Any], Any, set[str]]] = {}
        self._absent: dict[int, tuple[Mapping[str, Any], set[str]]] = {}
        self._others: dict[tuple[int, str], tuple[Callable[[Any], Any], Any, tuple[Any, ...], set[str]]] = {}
        self._contents: dict[int, tuple[Any, bytes, set[str]]] = {}
        self._functions: dict[int, tuple[tuple[FunctionType, Any, Any, Any], set[str]]] = {}
        self._texts: dict[int, tuple[Callable[[Any], object], Any, object, set[str]]] = {}
        self._kinds: dict[int, tuple[tuple[object, type], set[str]]] = {}
        self._bases: dict[int, tuple[tuple[type, tuple[type, ...]], set[str]]] = {}

    def name(self, space: Mapping[str, Any], name: str, label: str) -> None:
        """See what a name stands for in a namespace."""
        self._names.setdefault((id(space), name), (space, space[name], set()))[2].add(label)

    def no_name(self, space: Mapping[str, Any], name: str, _label: str) -> None:
        """See that a name is not in a namespace."""
        self._absent.setdefault(id(space), (space, set()))[1].add(name)

    def cell(self, cell: CellType, label: str) -> None:
        """See what a variable of an enclosing function holds."""
        self._look(_OF_CELL, cell, label, "cell")

    def no_value(self, cell: CellType, label: str) -> None:
        """See that a variable of an enclosing function holds nothing yet."""
        self._look(_whether_empty, cell, label, "empty cell")

    def variable(self, variable: ContextVar[Any], label: str) -> None:
        """See what a context variable stands for."""
        self._look(in_context, variable, label, "variable")

    def function(self, function: FunctionType, label: str) -> None:
        """See which code a function has, and its defaults."""
        seen = function, function.__code__, function.__defaults__, function.__kwdefaults__
        self._functions.setdefault(id(function), (seen, set()))[1].add(label)

    def kind(self, value: Any, label: str) -> None:
        """See of which class an object is, and what its classes are made from; a builtin's cannot change."""
        kind = class_of(value)
        if _flags(kind) & _MADE_BY_CODE:
            self._kinds.setdefault(id(value), ((value, kind), set()))[1].add(label)
        for each in (value, kind) if issubclass(kind, type) else (kind,):
            if _flags(each) & _MADE_BY_CODE:
                self._bases.setdefault(id(each), ((each, _bases(each)), set()))[1].add(label)

    def docstring(self, function: FunctionType, label: str) -> None:
        """See what a function says of itself."""
        self._look(_OF_DOC, function, label, "docstring")

    def attribute(self, owner: object, name: str, label: str) -> None:
        """See what an object holds under a name; nothing of the user's may run at that."""
        self._look(attrgetter(name, name), owner, label, f"attribute {name}")

    def items(self, container: Any, label: str) -> None:
        """See which objects a container holds; whether they change themselves is another question."""
        if isinstance(container, dict) or hasattr(container, "values"):
            self._look(tuple, container, label, "keys")
            self._look(_values, container, label, "values")
        else:
            self._look(tuple, container, label, "items")

    def entries(self, mapping: dict[Any, Any], but: frozenset[str], label: str) -> None:
        """See what a dict holds, but for entries under some names."""

        def others(held: dict[Any, Any]) -> tuple[Any, ...]:
            return tuple(each for key, item in held.items() if key not in but for each in (key, item))

        self._look(others, mapping, label, "entries")

    def content(self, value: Any, label: str) -> bool:
        """See a container that is plain all the way down; tell whether it is."""
        if not is_plain(value):
            return False
        try:
            content = marshal.dumps(value, MARSHAL_FORMAT)
        except ValueError:
            return False
        self._contents.setdefault(id(value), (value, content, set()))[2].add(label)
        return True

    def text(self, write: Callable[[Any], object], value: object, written: object, label: str) -> None:
        """See what an object writes of itself."""
        self._texts.setdefault(id(value), (write, value, written, set()))[3].add(label)

    def _look(self, look: Callable[[Any], Any], where: Any, label: str, kind: str) -> None:
        key = id(where), kind
        if key not in self._others:
            self._others[key] = look, where, tuple(look(where)), set()
        self._others[key][3].add(label)

    def absorb(self, others: Sightings) -> None:
        """Add what others have seen."""
        for kind in ("_names", "_others", "_contents", "_texts", "_functions", "_kinds", "_bases"):
            mine, theirs = getattr(self, kind), getattr(others, kind)
            for key, seen in theirs.items():
                mine.setdefault(key, seen)[-1].update(seen[-1])
        for key, (space, names) in others._absent.items():
            self._absent.setdefault(key, (space, set()))[1].update(names)

    def watch(self, but: AbstractSet[str], not_these: AbstractSet[int]) -> Watch:
        """Return what is to be looked at, but for parts of some labels and what certain objects hold."""
        spaces: dict[int, tuple[Mapping[str, Any], list[str], list[Any]]] = {}
        for (place, name), (space, value, labels) in self._names.items():
            if not labels <= but:
                _, names, values = spaces.setdefault(place, (space, [], []))
                names.append(name)
                values.append(value)
        looks = [_of_names(*found) for found in spaces.values()]
        looks += [
            (look, where, seen)
            for look, where, seen, labels in self._others.values()
            if not labels <= but and id(where) not in not_these
        ]
        contents = [
            (value, content)
            for value, content, labels in self._contents.values()
            if not labels <= but and id(value) not in not_these
        ]
        texts = [
            (write, value, written)
            for write, value, written, labels in self._texts.values()
            if not labels <= but and id(value) not in not_these
        ]
        absent = [(space, frozenset(names)) for space, names in self._absent.values()]
        functions = tuple(seen for seen, labels in self._functions.values() if not labels <= but)
        kinds = tuple(seen for seen, labels in self._kinds.values() if not labels <= but)
        bases = tuple(seen for seen, labels in self._bases.values() if not labels <= but)
        return Watch(tuple(looks), tuple(contents), tuple(texts), tuple(absent), functions, kinds=kinds, bases=bases)


def _of_names(space: Mapping[str, Any], names: list[str], values: list[Any]) -> Look:
    # Of one name an itemgetter returns no tuple.
    if len(names) == 1:
        names, values = names * 2, values * 2
    return itemgetter(*names), space, tuple(values)


def is_empty(cell: CellType) -> bool:
    """Tell whether a variable of a closure holds nothing yet."""
    try:
        _ = cell.cell_contents
    except ValueError:
        return True
    return False


def _whether_empty(cell: CellType) -> tuple[bool]:
    return (is_empty(cell),)


def in_context(variable: ContextVar[Any]) -> tuple[Any]:
    """Return what a context variable stands for: itself, where it stands for nothing."""
    try:
        return (variable.get(),)
    except LookupError:
        return (variable,)


def _values(mapping: Any) -> Any:
    return mapping.values()


def is_plain(value: object, above: tuple[int, ...] = ()) -> bool:
    """Tell whether a value consists of plain builtins all the way down, none of which marshal writes as another."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if kind not in _CONTAINERS or len(above) > _DEEPEST or id(value) in above:
        return False
    above = (*above, id(value))
    held: Any = value
    if kind is dict:
        return all(is_plain(each, above) for pair in held.items() for each in pair)
    return all(is_plain(each, above) for each in held)
