"""Who a function is: its name, and the user's version of it or a fingerprint of its code."""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING, Any

from memollm._keys.code.changes import changes
from memollm._keys.code.findings import Findings
from memollm._keys.code.fingerprint import findings
from memollm._keys.code.layers import Layers, peeled
from memollm._keys.code.lookup import underlying
from memollm._keys.code.modules import folder_of, module_name, space_of
from memollm._keys.code.veil import veiled_text
from memollm._keys.code.watch import Watch
from memollm._keys.sayings import say

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

__all__ = ["NAME_ONLY", "Identity", "changes", "fingerprint", "identify"]

NAME_ONLY = "name-only"
_FORMAT = 1
# A canonical form may ask for the identity of a function that a value holds: of one that is being identified already.
_active: ContextVar[frozenset[int]] = ContextVar("_active", default=frozenset())


@dataclass(frozen=True, slots=True)
class Identity:
    """A function as keys know it.

    `version` is "version:<the user's>", "code:<fingerprint>" or "name-only". `parts` is what the fingerprint is made
    of, each a readable text. `lineage` names what a change of code is a change *of*: two closures of one factory, two
    partials of one function and two lambdas of one module have one name and are no edits of each other.
    """

    name: str
    version: str
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    lineage: str = ""
    watch: Watch = field(default_factory=Watch, compare=False, repr=False)
    """What is to be looked at again: as long as it holds, this is who the function is."""
    unseen: tuple[tuple[str, str], ...] = field(default=(), compare=False, repr=False)
    """What is read and cannot be seen into: where, and its type."""


def identify(
    function: object,
    *,
    canonical: Callable[[object, str], str],
    name: str | None = None,
    version: str | None = None,
    owner: type | None = None,
    ignored: Collection[str] = (),
    also: Collection[object] = (),
    documented: bool = False,
) -> Identity:
    """Say who a function is; `owner` is the class through which a method is called, where it is known.

    `ignored` names what of it does not count, and `also` holds functions that decide with it. Of one that is
    `documented` counts what it says of itself, as a tool does to a model.
    To be asked when the function is first called and not when it is defined: what it reads may be defined later.
    """
    layers = _peeled(function)
    known_as = name or _name(layers, owner)
    if version is not None:
        return Identity(known_as, f"version:{version}", {}, known_as)
    if id(layers.core) in _active.get():
        return Identity(known_as, NAME_ONLY, {}, known_as)
    found = _findings(layers, owner, canonical, ignored=ignored, also=also, documented=documented)
    if not documented:
        say(known_as, found)
    # Each kind of part is written without secrets; this holds for what else may come to stand there.
    parts = {veiled_text(label): veiled_text(found.parts[label]) for label in sorted(found.parts)}
    shown = f"code:{fingerprint(parts)}" if "body" in parts else NAME_ONLY
    folder = "" if name is not None else _folder(layers)
    lineage = _lineage(known_as, parts, folder)
    return Identity(known_as, shown, parts, lineage, found.watch, tuple(found.unseen))


def describe(owner: type, *, canonical: Callable[[object, str], str]) -> tuple[Watch, str]:
    """Say what a class does and holds, and what is to be looked at again."""
    found = findings(Layers(owner), None, canonical)
    if found.unseen:
        raise ValueError(f"its class holds what has no stable identity ({found.unseen[0][0]})")
    return found.watch, f"code:{fingerprint(found.parts)}"


def fingerprint(parts: Mapping[str, str]) -> str:
    """Hash the parts; the format's number is hashed along, so that no two formats agree by accident."""
    return _digest([_FORMAT, dict(parts)], 16)


def _digest(value: object, size: int) -> str:
    whole = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(whole.encode(), digest_size=size).hexdigest()


def _peeled(function: object) -> Layers:
    try:
        return peeled(function)
    except Exception:  # noqa: BLE001 - a hostile callable is one without source.
        return Layers(function)


def _findings(layers: Layers, owner: type | None, canonical: Callable[[object, str], str], **options: Any) -> Findings:
    token = _active.set(_active.get() | {id(layers.core)})
    try:
        return findings(layers, owner, canonical, **options)
    except Exception as error:  # noqa: BLE001 - a hostile function is one without source.
        return Findings(blind=f"reading it failed ({type(error).__name__})")
    finally:
        _active.reset(token)


def _name(layers: Layers, owner: type | None) -> str:
    core = layers.core
    if layers.caller is not None:
        return f"{_module(layers.caller)}.{layers.caller.__qualname__}"
    qualname = _text_of(core, "__qualname__") or type(core).__qualname__
    if owner is None or type(core) is not FunctionType:
        return f"{_module(core)}.{qualname}"
    known_as = f"{_module(owner)}.{owner.__qualname__}"
    if _is_overridden(core, owner):
        # The override has the name of a method of this class, and is another function.
        return f"{_module(core)}.{qualname}@{known_as}"
    return f"{known_as}.{core.__name__}"


def _is_overridden(core: FunctionType, owner: type) -> bool:
    """Tell whether a method is one of a base's, reached by `super()`: the class has another of its name."""
    namesakes = [vars(base)[core.__name__] for base in owner.__mro__ if core.__name__ in vars(base)]
    standing = [_peeled(underlying(each)).core is core for each in namesakes]
    return any(standing) and not standing[0]


def _module(subject: object) -> str:
    """Name the module of a function or class, whatever it was called when it ran."""
    if type(subject) is FunctionType:
        return module_name(subject.__globals__)
    module = _text_of(subject, "__module__") or type(subject).__module__
    return module_name(space_of(module) or {"__name__": module})


def _text_of(subject: object, attribute: str) -> str | None:
    try:
        value = getattr(subject, attribute, None)
    except Exception:  # noqa: BLE001 - hostile attributes have no text.
        return None
    return value if isinstance(value, str) else None


def _folder(layers: Layers) -> str:
    return folder_of(layers.core.__globals__) if type(layers.core) is FunctionType else ""


def _lineage(name: str, parts: Mapping[str, str], folder: str) -> str:
    """Tell apart what shares a name: by its folder, the values that it was made with, and lambdas by their text."""
    made_with = {label: value for label, value in parts.items() if label.startswith(("closure ", "bound "))}
    if name.endswith("<lambda>"):
        made_with["body"] = parts.get("body", "")
    made = f"#{_digest(made_with, 4)}" if made_with else ""
    return f"{name}{made} in {folder}" if folder else name + made
