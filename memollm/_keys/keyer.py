"""From a call's arguments to its key: binding, what is left out, the hash, and the shortcut for arguments seen."""

from __future__ import annotations

import copy
import dataclasses
import dis
import functools
import hashlib
import inspect
import marshal
import os
import re
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, cast

import xxhash

from memollm._keys.canonical import call_head, canonical, canonical_with, hooks
from memollm._types.calls import Call
from memollm._types.secret import is_secret_name, veiled
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import FunctionType

    from memollm._keys.identity import Identity

MARSHAL_FORMAT: Final = 2
"""The last format without references, so that equal plain values of one history have equal bytes."""
KEY_BYTES: Final = 16
SHORTCUTS: Final = 10_000
SHORTCUT_BYTES: Final = 32 << 20
PLAIN: Final = frozenset({str, int, float, bool, type(None)})


def hash_of(form: str) -> bytes:
    """Hash a canonical form."""
    return xxhash.xxh3_128_digest(form.encode("utf-8", "surrogatepass"))


def digest_of(form: str) -> str:
    """Return what stands for a form that must not be stored."""
    return "blake2b:" + hashlib.blake2b(form.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def owner_of(instance: object) -> type | None:
    """Return the class that a method is called on."""
    return None if instance is None else instance if isinstance(instance, type) else type(instance)


UNSEEN: Final = re.compile(r"(object of |(dict|list|tuple|set|frozenset)\(.*object of )", re.DOTALL)
"""The text of a value that counts by its type alone."""


def _function_text(function: FunctionType) -> str:
    """Say what a function does that is an argument; one of a library is told by its name."""
    from memollm._keys.identity import NAME_ONLY, identify

    if is_of_library(function):
        return "library"
    identity = identify(function, canonical=canonical)
    if identity.version == NAME_ONLY:
        raise ValueError("its code cannot be read")
    unseen = [label for label, text in identity.parts.items() if label != "body" and UNSEEN.match(text)]
    unseen += [name for name in function.__code__.co_freevars if f"closure {name}" not in identity.parts]
    if unseen:
        raise ValueError(f"it reads what has no stable identity ({unseen[0]})")
    return identity.version


def is_of_library(function: FunctionType) -> bool:
    """Tell whether a function's file belongs to Python or to an installed package, whose code differs by version."""
    import sysconfig

    paths = [sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")]
    return any(function.__code__.co_filename.startswith(path + os.sep) for path in paths)


def reads_of(function: Callable[..., Any]) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """Return a function's globals, and those of them that its code reads and does not assign, as they are now."""
    while isinstance(function, functools.partial):
        function = function.func
    core = inspect.unwrap(getattr(function, "__func__", function))
    code = getattr(core, "__code__", None)
    if code is None:
        return {}, []
    space: dict[str, Any] = core.__globals__
    names, assigned = names_in(code)
    return space, [(n, space[n]) for n in sorted(names - assigned) if n in space and not inspect.ismodule(space[n])]


def names_in(code: CodeType) -> tuple[set[str], set[str]]:
    """Return the global names and attributes that code, and code inside it, reads, and the globals that it assigns."""
    names = set(code.co_names)
    assigned = {step.argval for step in dis.get_instructions(code) if step.opname in {"STORE_GLOBAL", "DELETE_GLOBAL"}}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner, inner_assigned = names_in(constant)
            names |= inner
            assigned |= inner_assigned
    return names, assigned


def _module_name(module: str) -> str:
    from memollm._keys.code.modules import module_name, space_of

    return module_name(space_of(module) or {"__name__": module})


hooks.functions = _function_text
hooks.module_name = _module_name


class Keyer:
    """Makes the keys of one function's calls."""

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        name: str | None = None,
        version: str | None = None,
        ignore: Sequence[str] = (),
        key: Callable[..., Any] | None = None,
        count: str | None = None,
        batch: str | None = None,
    ) -> None:
        self._function = function
        self._name, self._version = name, version
        self.signature = signature_of(function)
        self._require_parameters("ignore", ignore)
        self._require_parameters("count", () if count is None else (count,))
        self._require_parameters("batch", () if batch is None else (batch,))
        self._batch = batch
        self._unkeyed = frozenset([*ignore, count] if count else ignore)
        self._key = key
        self._unkeyed_places = self._places()
        self._parameters = parameters = self.signature.parameters
        kinds = [parameter.kind for parameter in parameters.values()]
        self._is_simple = {*kinds} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        """Whether arguments can be bound without looking at each parameter's kind."""
        self._positional = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        self._keyed = tuple(name for name in parameters if self._is_keyed(name))
        self.keeps_arguments = True
        self._pinned: Identity | None = None
        self._begin()

    def _begin(self) -> None:
        self._identities: dict[type | None, tuple[Identity, str]] = {}
        """Who the function is, as a method of which class, and what all forms of its calls begin with."""
        self._versions: dict[type | None, str] = {}
        is_known = self._version is not None or self._pinned is not None
        self._globals, self._watched = ({}, []) if is_known else reads_of(self._function)
        self._forget_shortcuts()

    def pin(self, identity: Identity) -> None:
        """Let the function be who it was in another process, which could read its code."""
        self._pinned = identity
        self._begin()

    def apart(self) -> Keyer:
        """Return a keyer of the same function for another cache, which may have other versions of it."""
        other = copy.copy(self)
        other._begin()  # noqa: SLF001 - it is one of us
        return other

    def _notice_changes(self) -> None:
        """Forget what was found out about the code if a global that it reads was assigned anew."""
        for name, value in self._watched:
            if self._globals.get(name) is not value:
                self._identities = {}
                self._globals, self._watched = reads_of(self._function)
                self._forget_shortcuts()
                return

    def _require_parameters(self, option: str, names: Sequence[str]) -> None:
        for name in names:
            if type(cast("object", name)) is not str:
                raise OptionError(f"{option}={name!r}: it must be the name of a parameter, as text.")
            parameter = self.signature.parameters.get(name)
            if parameter is None and not self._takes_any_keyword():
                raise OptionError(
                    f"{option}={name!r}: {self._function_name()} has no parameter of that name"
                    f"{did_you_mean(name, self.signature.parameters)}"
                )

    def _takes_any_keyword(self) -> bool:
        return any(p.kind is p.VAR_KEYWORD for p in self.signature.parameters.values())

    def _function_name(self) -> str:
        return getattr(self._function, "__qualname__", None) or veiled(repr(self._function))

    def _places(self) -> frozenset[int]:
        """Positions of the parameters that are no part of the key; what `*args` takes comes after them."""
        by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        placed = [name for name, p in self.signature.parameters.items() if p.kind in by_place]
        return frozenset(i for i, name in enumerate(placed) if not self._is_keyed(name))

    def _is_keyed_keyword(self, name: str) -> bool:
        """Tell whether a keyword counts; one may bear the name of a parameter that takes no keyword."""
        parameter = self.signature.parameters.get(name)
        by_place = parameter is not None and parameter.kind is parameter.POSITIONAL_ONLY
        return self._is_keyed(name) or (by_place and not is_secret_name(name))

    def _is_keyed(self, name: str) -> bool:
        return name not in self._unkeyed and not is_secret_name(name)

    # The function.

    def identity(self, instance: object) -> Identity:
        """Return who the function is, as a method of the instance's class; found out at the first call.

        Not earlier, because what the function reads may be defined after it.
        """
        return self._identified(instance)[0]

    def _identified(self, instance: object) -> tuple[Identity, str]:
        owner = owner_of(instance)
        if self._watched:
            self._notice_changes()
        found = self._identities.get(owner)
        if found is None:
            who = self._identify(owner, self._version)
            who = dataclasses.replace(who, version=self._versions.get(owner, who.version))
            found = self._identities[owner] = who, call_head(self._parts(who))
        return found

    def _identify(self, owner: type | None, version: str | None) -> Identity:
        if self._pinned is not None and owner is None:
            return self._pinned
        # Reading code is for the first call, not for the import.
        from memollm._keys.identity import identify

        return identify(self._function, name=self._name, version=version, canonical=canonical, owner=owner)

    def _parts(self, identity: Identity) -> dict[str, str]:
        """Return what of an identity stands in the form of a call."""
        parts = {"name": identity.name, "version": identity.version}
        if self._batch is not None:
            # An item that is a list itself must not look like the list of a function without `batch`.
            parts["item"] = self._batch
        if self._key is not None:
            parts["keyed"] = "by key="
        return parts

    def name(self, instance: object) -> str:
        """Return the function's name without reading its code."""
        return self._identify(owner_of(instance), "any").name

    def keep_arguments(self, kept: bool) -> None:  # noqa: FBT001 - the one thing that it is about
        """Say whether calls carry their arguments in readable form, or a digest of it."""
        if kept is not self.keeps_arguments:
            self.keeps_arguments = kept
            self._forget_shortcuts()

    def of_version(self, instance: object, version: str) -> Keyer:
        """Return a keyer of the same function with another version than its code's, whose samples are wanted, too."""
        other = self.apart()
        other._versions[owner_of(instance)] = version  # noqa: SLF001 - it is one of us
        return other

    # One call.

    def call(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Return the call with its key, remembered if all its arguments are plain builtins seen before."""
        if self._key is not None or instance is not None:
            return self._make(instance, args, kwargs)
        if self._watched:
            self._notice_changes()
        try:
            seen = (args, kwargs) if not self._unkeyed else self._seen(args, kwargs)
            token = marshal.dumps(seen, MARSHAL_FORMAT)
        except ValueError:
            return self._make(instance, args, kwargs)
        return self._shortcuts.get(token) or self._remember(token, seen, args, kwargs)

    def _seen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the arguments with `None` in place of those that are no part of the key."""
        return (
            tuple(None if i in self._unkeyed_places else value for i, value in enumerate(args)),
            {name: value for name, value in kwargs.items() if self._is_keyed_keyword(name)},
        )

    def _remember(self, token: bytes, seen: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        call = self._make(None, args, kwargs)
        # marshal writes any bytes-like object as bytes; equal bytes mean equal values only among plain builtins.
        if _is_flat(seen) or is_plain(seen):
            if len(self._shortcuts) >= SHORTCUTS or self._shortcut_bytes > SHORTCUT_BYTES:
                self._forget_shortcuts()
            self._shortcuts[token] = call
            self._shortcut_bytes += len(token) + len(call.form)
        return call

    def _forget_shortcuts(self) -> None:
        self._shortcuts: dict[bytes, Call] = {}
        self._shortcut_bytes = 0

    def _make(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        identity, head = self._identified(instance)
        form = self._form(head, instance, args, kwargs)
        return Call(hash_of(form), form if self.keeps_arguments else digest_of(form), identity.name)

    def form(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the canonical form of a call."""
        return self._form(self._identified(instance)[1], instance, args, kwargs)

    def _form(self, head: str, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        full = args if instance is None else (instance, *args)
        arguments = self.arguments(full, kwargs) if self._key is None else {"key": self._key(*full, **kwargs)}
        return canonical_with(head, arguments)

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, object]:
        """Bind arguments, apply the defaults, and leave out what is no part of the key."""
        if self._is_simple and len(args) <= self._positional:
            given = dict(zip(self._parameters, args, strict=False))
            if given.keys().isdisjoint(kwargs):
                given = {**self._defaults, **given, **kwargs}
                if given.keys() == self._parameters.keys():
                    return {name: given[name] for name in self._keyed}
        bound = self.bind(args, kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in bound.arguments.items() if self._is_keyed(name)}
        for name, parameter in self.signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD and name in arguments:
                arguments[name] = {k: v for k, v in arguments[name].items() if self._is_keyed_keyword(k)}
        return arguments

    def bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        """Bind arguments as calling the function would."""
        try:
            return self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self._function_name()}() {error}") from None


def _is_flat(seen: tuple[tuple[Any, ...], dict[str, Any]]) -> bool:
    """Tell whether arguments are plain builtins themselves, as most are; without a call for each."""
    args, kwargs = seen
    return PLAIN.issuperset(map(type, args)) and PLAIN.issuperset(map(type, kwargs.values()))


def is_plain(value: object) -> bool:
    """Tell whether a value consists of plain builtins all the way down; marshal has bounded its depth."""
    kind = type(value)
    if kind in PLAIN:
        return True
    if kind is list or kind is tuple:
        return all(map(is_plain, value))  # type: ignore[call-overload]
    if kind is dict:
        return all(map(is_plain, value)) and all(map(is_plain, value.values()))  # type: ignore[call-overload,attr-defined]
    return False


def signature_of(function: Callable[..., Any]) -> inspect.Signature:
    """Return the signature of what is decorated, looking through class and static methods."""
    try:
        return inspect.signature(getattr(function, "__func__", function))
    except (TypeError, ValueError) as error:
        raise OptionError(
            f"{veiled(repr(function))} has no signature that could be read; wrap it in a function of yours."
        ) from error
