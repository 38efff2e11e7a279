"""The text of a value that code reads: its whole content where that can be seen, and what is to be looked at again."""

from __future__ import annotations

import functools
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, MappingProxyType, MethodType, MethodWrapperType
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._keys.canonical.names import class_of, lookup
from memollm._keys.canonical.veil import under
from memollm._keys.code import kinds
from memollm._keys.code.lookup import own_dict
from memollm._keys.code.modules import class_name, module_name
from memollm._keys.code.watch import Sightings, in_context
from memollm._types.secret import SECRET, is_secret_name, is_secret_type

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm._keys.code.outputs import Outputs

Canonical = Callable[[object, str], str]

PLAIN: Final[tuple[type, ...]] = (str, bytes, int, float, complex, bool, type(None))
_ATOMS: Final = frozenset({*PLAIN, range, slice})
_CODE: Final = (FunctionType, MethodType, functools.partial, BuiltinFunctionType, MethodWrapperType)
_MAPPINGS: Final = (dict, MappingProxyType)
_LISTS: Final = (list, tuple, set, frozenset, deque)
_PLAIN_KINDS: Final[frozenset[type]] = frozenset({list, dict, tuple, set, frozenset})
_DEFAULTS: Final = ("default", "const", "example", "examples")
_MAX_NESTING: Final = 20
_MAX_ITEMS: Final = 20_000
_MAX_TEXT: Final = 10_000
_MAX_BYTES: Final = 1 << 20
"""How large an array's bytes may be that are compared at every call."""


class Contents:
    """Writes what values hold, and notes the code in them, what cannot be seen, and what is to be looked at again."""

    def __init__(self, canonical: Canonical, project: str | None, outputs: Outputs) -> None:
        self._canonical = canonical
        self._project = project
        self._outputs = outputs
        self._label = ""
        self._name = ""
        """Under which what is being written stands."""
        self._left = _MAX_ITEMS
        self._met: dict[int, str] = {}
        """Objects that were written already, and where."""
        self._sightings = self.sightings = Sightings()
        self.code: list[tuple[str, object]] = []
        """Functions and classes that were met: they count with their text."""
        self.unseen: list[tuple[str, str]] = []
        """What could not be seen into: where it was met, and its type."""

    def begin_again(self) -> None:
        """Forget what was written: it is written once more, by all that is known now."""
        self._sightings = self.sightings = Sightings()
        self.unseen = []

    def text(self, value: object, label: str) -> str:
        """Write a value that stands under a label: a very long text by its beginning and its digest."""
        self._label, self._left, self._met = label, _MAX_ITEMS, {}
        self._name = label.rpartition(".")[2].rpartition(" ")[2]
        whole = self._write(value, label, ())
        if len(whole) <= _MAX_TEXT:
            return whole
        digest = hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
        return f"{whole[:1000]} and so on, {len(whole)} characters with digest {digest}"

    def _write(self, value: object, at: str, above: tuple[int, ...]) -> str:  # noqa: PLR0911 - one for each kind
        kind = class_of(value)
        if kind in _ATOMS:
            return self._atom(value, at)
        if issubclass(kind, PurePath):
            return self._path(os.fspath(cast("PurePath", value))) or self._formed(value, at)
        if issubclass(kind, _CODE) or issubclass(kind, type):
            return self._of_code(value, at)
        if id(value) in above:
            return f"itself, {len(above) - above.index(id(value))} above"
        if id(value) in self._met:
            return f"the same as {self._met[id(value)]}"
        self._left -= 1
        if len(above) >= _MAX_NESTING or self._left < 0:
            return self._hidden(value, at)
        if self._outputs.has(value):
            return "filled by the function"
        try:
            return self._held(value, at, (*above, id(value)))
        except Exception:  # noqa: BLE001 - whatever a hostile value raises, it cannot be seen into.
            return self._hidden(value, at)

    def _atom(self, value: object, at: str) -> str:
        if type(value) is str and (path := self._path(value)):
            return path
        return self._formed(value, at)

    def _formed(self, value: object, at: str) -> str:
        """Write a value's canonical form, without what its name says is a secret."""
        return under(self._name, self._canonical(value, at))

    def _path(self, text: str) -> str:
        """Write a path under the project's root as one that every checkout has."""
        root = self._project
        if root is None or not (text == root or text.startswith(root + os.sep)) or "\n" in text:
            return ""
        return f"path of the project {os.path.relpath(text, root)!a}"

    def _of_code(self, value: Any, at: str) -> str:
        self.code.append((at, value))
        if type(value) is FunctionType:
            return f"function {module_name(value.__globals__)}.{value.__qualname__}"
        if _is(value, type):
            return f"class {type_name(value)}"
        return f"object of {type_name(class_of(value))}"

    def _held(self, value: Any, at: str, above: tuple[int, ...]) -> str:  # noqa: PLR0911 - one for each kind
        """Write what an object holds."""
        kind = class_of(value)
        if kind in _PLAIN_KINDS and (plain := self._plain(value, at)):
            return plain
        self._sightings.kind(value, self._label)
        if is_secret_type(kind):
            return SECRET
        if kind is ContextVar:
            return self._context(value, at, above)
        if lookup(kind, "__memollm_key__") is not None or hasattr(kind, "tobytes") or issubclass(kind, bytearray):
            return self._told(value, at)
        if kinds.is_harmless(value):
            return f"object of {type_name(kind)}"
        if kinds.is_live(value):
            return self._client(value, at, above)
        if _is(value, *_MAPPINGS):
            return self._mapping(value, at, above)
        if _is(value, *_LISTS):
            return self._items(value, at, above)
        return self._instance(value, at, above)

    def _plain(self, value: object, at: str) -> str:
        """Write a container that is plain all the way down; nothing if it is not."""
        if self._outputs.touches(value) or not self._sightings.content(value, self._label):
            return ""
        written = self._formed(value, at)
        return "" if self._project is not None and self._project in written else written

    def _told(self, value: Any, at: str) -> str:
        """Write what tells for itself, and look at it again by asking again."""
        written = self._formed(value, at)
        if issubclass(class_of(value), bytearray):
            self._sightings.text(bytes, value, bytes(value), self._label)
        elif not hasattr(class_of(value), "tobytes"):
            self._sightings.text(lambda own: self._canonical(own, ""), value, self._canonical(value, ""), self._label)
        elif getattr(value, "nbytes", 0) <= _MAX_BYTES:
            self._sightings.text(_bytes_of, value, value.tobytes(), self._label)
        return written

    def _context(self, value: ContextVar[Any], at: str, above: tuple[int, ...]) -> str:
        """Write what a context variable stands for here."""
        (held,) = in_context(value)
        self._sightings.variable(value, self._label)
        return f"variable {value.name!a}" + ("" if held is value else f" of {self._write(held, at, above)}")

    def _client(self, value: object, at: str, above: tuple[int, ...]) -> str:
        told = kinds.told_by(value)
        for name in told:
            self._sightings.name(own_dict(value), name, self._label)
        if not told:
            return self._hidden(value, at)
        texts = (
            f"{name}={str(held)!a}"
            if name.endswith("base_url")
            else f"{name}={self._item(name, held, f'{at}.{name}', above)}"
            for name, held in told.items()
        )
        return f"object of {type_name(class_of(value))}({', '.join(texts)})"

    def _mapping(self, value: Any, at: str, above: tuple[int, ...]) -> str:
        pairs = cast("Iterable[tuple[object, object]]", value.items())
        if own := self._outputs.kept_out(value):
            pairs = [(key, item) for key, item in pairs if key not in own]
            self._sightings.entries(value, own, self._label)
        else:
            self._sightings.items(value, self._label)
        texts = [
            f"{self._write(key, at, above)}: {self._item(key, item, f'{at}[{_shown(key)}]', above)}"
            for key, item in pairs
        ]
        ordered = type(value).__name__ == "OrderedDict"
        return self._named(value, texts if ordered else sorted(texts), at, above)

    def _items(self, value: Any, at: str, above: tuple[int, ...]) -> str:
        if class_of(value) not in (tuple, frozenset):
            self._sightings.items(value, self._label)
        in_order, items = not issubclass(class_of(value), (set, frozenset)), cast("list[object]", value)
        texts = [self._write(item, f"{at}[{place if in_order else ''}]", above) for place, item in enumerate(items)]
        return self._named(value, texts if in_order else sorted(texts), at, above)

    def _named(self, value: Any, texts: list[str], at: str, above: tuple[int, ...]) -> str:
        """Name a container by its type; a subclass may hold more than its items."""
        kind = class_of(value)
        if kind in _PLAIN_KINDS:
            return f"{kind.__name__}({', '.join(texts)})"
        self.code.append((f"{at} of", kind))
        return f"{type_name(kind)}({', '.join([*texts, *self._attributes(value, at, above)])})"

    def _item(self, key: object, item: object, at: str, above: tuple[int, ...]) -> str:
        if type(key) is not str:
            return self._write(item, at, above)
        if is_secret_name(key) and (item is None or isinstance(item, (str, bytes))):
            return SECRET
        before, self._name = self._name, key
        try:
            return self._write(item, at, above)
        finally:
            self._name = before

    def _instance(self, value: Any, at: str, above: tuple[int, ...]) -> str:
        kind = class_of(value)
        if kinds.attributes_of(value) is None or hasattr(kind, "__members__"):
            return self._leaf(value, at)
        self._met[id(value)] = at
        self.code.append((f"{at} of", kind))
        attributes = ", ".join(self._attributes(value, at, above))
        hidden = f"{self._leaf(value, at)} with " if kinds.hides(value) else ""
        return f"{hidden}{type_name(kind)}({attributes})"

    def _attributes(self, value: Any, at: str, above: tuple[int, ...]) -> list[str]:
        own, slots = kinds.attributes_of(value) or ({}, {})
        held = own_dict(value)
        every = {**own, **slots}
        counted = [name for name in every if not self._is_output(value, held, name, every[name])]
        if len(counted) < len(own) + len(slots):
            for name in counted:
                if name in held:
                    self._sightings.name(held, name, self._label)
        elif class_of(held) is dict and (self._outputs.touches(held) or not self._sightings.content(held, self._label)):
            self._sightings.items(held, self._label)
        for name in slots:
            if name in counted:
                self._sightings.attribute(value, name, self._label)
        return [
            f"{name}={self._item(self._meant(name, every), every[name], f'{at}.{name}', above)}"
            for name in sorted(counted)
        ]

    def _meant(self, name: str, every: Mapping[str, object]) -> str:
        """Return under which name a secret would stand: the default of a field has the field's."""
        own = every.get("name", self._name) if name in _DEFAULTS else name
        return own if type(own) is str else name

    def _is_output(self, value: object, held: object, name: str, what: object) -> bool:
        """Tell whether the code that reads an attribute changes it itself."""
        outputs = self._outputs
        if (id(held), name) in outputs.attributes or (id(value), name) in outputs.attributes:
            return True
        if not (outputs.members or outputs.fillings):
            return False
        bases = [class_name(base) for base in type(value).__mro__]
        return any((base, name) in outputs.members or outputs.is_filled(base, name, what) for base in bases)

    def _leaf(self, value: object, at: str) -> str:
        """Write what holds nothing visible: by its canonical form, if it has one."""
        try:
            return self._formed(value, at)
        except Exception:  # noqa: BLE001 - it has none.
            return self._hidden(value, at)

    def _hidden(self, value: object, at: str) -> str:
        self.unseen.append((at, type_name(class_of(value))))
        return f"object of {type_name(class_of(value))}"


def _bytes_of(value: Any) -> object:
    return value.tobytes()


def _is(value: object, *kinds_of: type) -> bool:
    """Tell the type of a value, which type checkers are not to narrow by it."""
    return issubclass(class_of(value), kinds_of)


def _shown(key: object) -> str:
    return repr(key) if type(key) in PLAIN else ""


def hint_text(hint: object, canonical: Canonical) -> str:
    """Write an annotation as it is now."""
    if isinstance(hint, str):
        return hint
    try:
        return canonical(hint, "")
    except Exception:  # noqa: BLE001 - anything may be an annotation.
        return str(hint)


def type_name(kind: type) -> str:
    """Name a type by its top-level package: the module inside it moves between releases."""
    return f"{kind.__module__.partition('.')[0]}:{kind.__qualname__}"
