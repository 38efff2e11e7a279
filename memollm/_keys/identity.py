"""Who a function is: its name, and the user's version of it or a fingerprint of its code."""

from __future__ import annotations

import hashlib
import json
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import FunctionType
from typing import TYPE_CHECKING

from memollm._keys.code.changes import changes
from memollm._keys.code.fingerprint import Findings, findings
from memollm._keys.code.layers import Layers, peeled
from memollm._keys.code.lookup import underlying
from memollm._keys.code.modules import folder_of, module_name, space_of
from memollm._keys.code.veil import veiled_text
from memollm._types.warn import warn
from memollm.errors import MemollmWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["NAME_ONLY", "Identity", "changes", "fingerprint", "identify"]

NAME_ONLY = "name-only"
_FORMAT = 1
_said: set[str] = set()
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


def identify(
    function: object,
    *,
    canonical: Callable[[object, str], str],
    name: str | None = None,
    version: str | None = None,
    owner: type | None = None,
) -> Identity:
    """Say who a function is; `owner` is the class through which a method is called, where it is known.

    To be asked when the function is first called and not when it is defined: what it reads may be defined later.
    """
    layers = _peeled(function)
    known_as = name or _name(layers, owner)
    if version is not None:
        return Identity(known_as, f"version:{version}", {}, known_as)
    if id(layers.core) in _active.get():
        return Identity(known_as, NAME_ONLY, {}, known_as)
    found = _findings(layers, owner, canonical)
    if found.blind:
        _say_once(known_as, found)
    # Each kind of part is written without secrets; this holds for what else may come to stand there.
    parts = {veiled_text(label): veiled_text(found.parts[label]) for label in sorted(found.parts)}
    shown = f"code:{fingerprint(parts)}" if "body" in parts else NAME_ONLY
    folder = "" if name is not None else _folder(layers)
    return Identity(known_as, shown, parts, _lineage(known_as, parts, folder))


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


def _findings(layers: Layers, owner: type | None, canonical: Callable[[object, str], str]) -> Findings:
    token = _active.set(_active.get() | {id(layers.core)})
    try:
        return findings(layers, owner, canonical)
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


def _say_once(name: str, found: Findings) -> None:
    if name in _said:
        return
    _said.add(name)
    warn(
        f"memollm cannot read the code of {name}: {found.blind}. "
        f"{'Its compiled form counts instead' if found.parts else 'It counts by its name only'}, so an edit may go "
        f"unnoticed or make samples anew. To own this, give cached_llm a version= and change it with the code.",
        MemollmWarning,
    )
