"""From a call's arguments to its key: binding, what is left out, the hash, and the shortcut for arguments seen."""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
import inspect
import marshal
from types import CodeType
from typing import TYPE_CHECKING, Any, Final, cast

import xxhash

from memollm._keys.canonical import call_head, canonical, canonical_with
from memollm._keys.functions import asked_by
from memollm._keys.spellings import EXACT_FLOATS, is_float, is_like, means_nothing
from memollm._types.calls import Call
from memollm._types.secret import is_secret_name, veiled
from memollm._types.suggest import did_you_mean
from memollm.errors import OptionError, UnkeyableArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from memollm._keys.identity import Identity
    from memollm._keys.states import State, States

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
        self._package = str(getattr(_core_of(function), "__module__", "")).partition(".")[0]
        self.signature = signature_of(function)
        self._require_parameters("ignore", ignore)
        self._require_parameters("count", () if count is None else (count,))
        self._require_parameters("batch", () if batch is None else (batch,))
        self._batch = batch
        self._unkeyed = frozenset([*ignore, count] if count else ignore)
        self._key = key
        self._unkeyed_places = self._places()
        self._bind_by_signature()
        self.keeps_arguments = True
        self._pinned: Identity | None = None
        self._of_version: str | None = None
        """The version that it answers, whatever the code is."""
        self._begin()

    def _bind_by_signature(self) -> None:
        """Learn how calls are bound, and the defaults as they are now."""
        self._parameters = parameters = self.signature.parameters
        kinds = [parameter.kind for parameter in parameters.values()]
        self._is_simple = {*kinds} <= {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
        """Whether arguments can be bound without looking at each parameter's kind."""
        self._positional = kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self._defaults = {name: p.default for name, p in parameters.items() if p.default is not p.empty}
        self._keyed = tuple(name for name in parameters if self._is_keyed(name))
        by_place = inspect.Parameter.POSITIONAL_ONLY
        self._keyed_keywords = frozenset(name for name in self._keyed if parameters[name].kind is not by_place)
        """Keywords that count, as is known before any is given."""
        self._floats = tuple(name for name, p in parameters.items() if is_float(p.annotation))
        """Parameters for which a whole number is the same as a float."""
        self._absent = {name: value for name, value in self._defaults.items() if means_nothing(value)}
        """Parameters whose default only says that they were not given."""

    def _begin(self) -> None:
        self._states: dict[type | None, States] = {}
        """Who the function is, as a method of which class, and was before."""
        self._now: State | None = None
        """Who it is as no method, as far as is known."""
        self._shortcut_bytes = self._shortcuts = 0

    def pin(self, identity: Identity) -> None:
        """Let the function be who it was in another process, which could read its code."""
        self._pinned = identity
        self._begin()

    def apart(self) -> Keyer:
        """Return a keyer of the same function for another cache, which may have other versions of it."""
        other = copy.copy(self)
        other._begin()  # noqa: SLF001 - it is one of us
        return other

    def _require_parameters(self, option: str, names: Sequence[str]) -> None:
        for name in names:
            if type(cast("object", name)) is not str:
                raise OptionError(f"{option}={name!r}: it must be the name of a parameter, as text.")
            parameter = self.signature.parameters.get(name)
            if option == "ignore" and parameter is None and self._may_read(name):
                continue
            if parameter is None and not self._takes_any_keyword():
                raise OptionError(
                    f"{option}={name!r}: {self._function_name()} has no parameter of that name"
                    f"{did_you_mean(name, self.signature.parameters)}"
                )

    def _may_read(self, name: str) -> bool:
        """Tell whether a name may be one that the function reads: its own, or with a module one of its helpers'."""
        code = getattr(_core_of(self._function), "__code__", None)
        return code is not None and ("." in name or name in {*names_in(code), *code.co_freevars})

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
        return self._state(owner_of(instance)).identity

    def _state(self, owner: type | None) -> State:
        """Return who the function is now; what it reads is looked at."""
        states = self._states.get(owner)
        if states is None:
            # Reading code is for the first call, not for the import.
            from memollm._keys.states import States

            states = self._states[owner] = States(functools.partial(self._identify, owner))
        state = states.now()
        if owner is None:
            self._now = state
        return state

    def _identify(self, owner: type | None) -> tuple[Identity, str]:
        if self._of_version is not None:
            who = dataclasses.replace(self._who(owner, "any"), version=self._of_version)
        else:
            who = self._who(owner, self._version)
            if self._version is None:
                self.signature = signature_of(self._function)
                self._bind_by_signature()
        return who, call_head(self._parts(who))

    def _who(self, owner: type | None, version: str | None) -> Identity:
        if self._pinned is not None and owner is None:
            return self._pinned
        # Reading code is for the first call, not for the import.
        from memollm._keys.identity import identify

        return identify(
            self._function,
            name=self._name,
            version=version,
            canonical=canonical,
            owner=owner,
            ignored=self._ignored(),
            also=() if self._key is None else (self._key,),
        )

    def _ignored(self) -> list[str]:
        """Return what of the code does not count: defaults of parameters that are ignored, and names of globals."""
        known = self.signature.parameters
        return [f"default {name}" if name in known else name for name in self._unkeyed]

    def differs(self, instance: object) -> str:
        """Say how the function differs from what it was when this process called it first; nothing if it does not."""
        identity = self.identity(instance)
        first = self._states[owner_of(instance)].first
        if first is None or first.version == identity.version:
            return ""
        from memollm._keys.identity import changes

        return changes(first.parts, identity.parts)

    def still_makes(self, instance: object, calls: Sequence[Call]) -> bool | None:
        """Tell whether what the function reads is as it was when calls were keyed; None if their forms do not say."""
        head = self._state(owner_of(instance)).head
        return all(call.form.startswith(head) for call in calls) if self.keeps_arguments else None

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
        return self._who(owner_of(instance), "any").name

    def keep_arguments(self, kept: bool) -> None:  # noqa: FBT001 - the one thing that it is about
        """Say whether calls carry their arguments in readable form, or a digest of it."""
        if kept is not self.keeps_arguments:
            self.keeps_arguments = kept
            self._forget_shortcuts()

    @property
    def answers(self) -> str | None:
        """The version that it answers, whatever the code is; None: that of the code."""
        return self._of_version

    def of_version(self, version: str) -> Keyer:
        """Return a keyer of the same function with another version than its code's, whose samples are wanted, too."""
        other = self.apart()
        other._of_version = version  # noqa: SLF001 - it is one of us
        return other

    # One call.

    def call(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        """Return the call with its key, remembered if all its arguments are plain builtins seen before."""
        if self._key is not None or instance is not None:
            return self._make(self._state(owner_of(instance)), instance, args, kwargs)
        state = self._now
        if state is None or (state.holds is not None and not state.holds()):
            state = self._state(None)
        try:
            seen = (args, kwargs) if not self._unkeyed else self._seen(args, kwargs)
            token = marshal.dumps(seen, MARSHAL_FORMAT)
        except ValueError:
            return self._make(state, None, args, kwargs)
        return state.shortcuts.get(token) or self._remember(state, token, seen, args, kwargs)

    def _seen(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the arguments with `None` in place of those that are no part of the key."""
        known = self._keyed_keywords
        return (
            tuple(None if i in self._unkeyed_places else value for i, value in enumerate(args)),
            {name: value for name, value in kwargs.items() if name in known or self._is_keyed_keyword(name)},
        )

    def _remember(self, state: State, token: bytes, seen: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        call = self._make(state, None, args, kwargs)
        # marshal writes any bytes-like object as bytes; equal bytes mean equal values only among plain builtins.
        if _is_flat(seen) or is_plain(seen):
            if self._shortcuts >= SHORTCUTS or self._shortcut_bytes > SHORTCUT_BYTES:
                self._forget_shortcuts()
            state.shortcuts[token] = call
            self._shortcuts += 1
            self._shortcut_bytes += len(token) + len(call.form)
        return call

    def _forget_shortcuts(self) -> None:
        for states in list(self._states.values()):
            states.clear()
        self._shortcut_bytes = self._shortcuts = 0

    def _make(self, state: State, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Call:
        form = self._form(state.head, instance, args, kwargs)
        return Call(hash_of(form), form if self.keeps_arguments else digest_of(form), state.identity.name)

    def form(self, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        """Return the canonical form of a call."""
        return self._form(self._state(owner_of(instance)).head, instance, args, kwargs)

    def _form(self, head: str, instance: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        full = args if instance is None else (instance, *args)
        arguments = self.arguments(full, kwargs) if self._key is None else {"key": self._key(*full, **kwargs)}
        with asked_by(self._package):
            try:
                return canonical_with(head, arguments)
            except UnkeyableArgument as error:
                if self._key is None:
                    raise
                where = f"What key= returned for {self._function_name()}{error.path.removeprefix('key')}"
                reason = str(error).partition(". ")[0].removeprefix(error.path).strip()
                raise UnkeyableArgument(
                    f"{where} {reason}. Return texts, numbers, or lists and dicts of such from key=.", error.path
                ) from error

    def arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, object]:
        """Bind arguments, apply the defaults, and leave out what is no part of the key."""
        arguments = self._arguments(args, kwargs)
        for name in self._floats:
            given = arguments.get(name)
            if type(given) is int and abs(given) <= EXACT_FLOATS:
                arguments[name] = float(given)
        for name, nothing in self._absent.items():
            if name in arguments and (arguments[name] is nothing or is_like(arguments[name], nothing)):
                del arguments[name]
        return arguments

    def _arguments(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, object]:
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


def _core_of(function: Callable[..., Any]) -> Any:
    """Return the plain function under partials, class methods and wrappers."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.unwrap(getattr(function, "__func__", function))


def names_in(code: CodeType) -> Iterator[str]:
    """List the names in compiled code, inner functions included."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from names_in(constant)


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
