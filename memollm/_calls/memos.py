"""The user's embedder and `verify`, memoized: for one text in a search, and for many where stored calls are indexed."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from memollm._calls.batch_invocation import BatchInvocation
from memollm._calls.door_call import DoorCall, functions_of
from memollm._calls.function import Function
from memollm._drive.calls import call, call_async
from memollm._drive.similarity import read_from
from memollm._similar.gates import is_async
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._calls.invocation import Invocation
    from memollm._calls.options import Options

AT_ONCE: Final = 100
"""How many texts an embedder with `batch=True` is given at once."""


def _one_of(name: str, version: str) -> str:
    """Write a name and a version in such a way that no other two are written so."""
    return json.dumps([name, version])


class OwnMemo:
    """A function of the user's that memoizes itself, by its own `cached_llm`."""

    def __init__(
        self,
        option: str,
        function: Any,
        read: Callable[[Any], Any],
        together: Callable[[Any], list[Any]] | None = None,
    ) -> None:
        """With `together`, which reads what it returns, it takes a list of texts."""
        if not isinstance(function.__memollm_key__(), tuple):
            raise OptionError(f"{option}={function!r}: it must be a function, not a method.")
        self.is_async = is_async(function)
        self.most = 1 if together is None else AT_ONCE
        """How many texts go into one request."""
        self._function, self._read, self._together = function, read, together

    @property
    def identity(self) -> str:
        """Its name and its version, as it is now."""
        name, version, *_ = self._function.__memollm_key__()
        return _one_of(str(name), str(version))

    def _given(self, arguments: Sequence[str]) -> tuple[Any, ...]:
        return tuple(arguments) if self._together is None else ([*arguments],)

    def call(self, *arguments: str) -> Any:
        """Call it."""
        return self._read(self._function(*self._given(arguments)))

    def call_async(self, *arguments: str) -> Any:
        """Call it in a task."""
        return read_from(self._function(*self._given(arguments)), self._read)

    def request(self, texts: Sequence[str]) -> Invocation:
        """Return the call for several texts, no more than `most`."""
        invocation: Invocation = self._function._self_invocation(self._given(texts), {})  # noqa: SLF001 - it is one of ours
        return invocation

    def vectors(self, returned: Any) -> list[Any]:
        """Return the results of a request, one for each text."""
        return [self._read(returned)] if self._together is None else self._together(returned)


class NewMemo:
    """A function of the user's that is memoized here, by its name and its version."""

    def __init__(
        self,
        function: Callable[..., Any],
        who: Callable[[], tuple[str, str]],
        read: Callable[[Any], Any],
        *,
        is_async: bool,
        options: Options,
    ) -> None:
        """Its name and its version are added to the options."""
        self.is_async = is_async
        self.most = 1
        """How many texts go into one request."""
        self._function, self._read, self._who, self._options = function, read, who, options
        self._made = self._make()

    @property
    def identity(self) -> str:
        """Its name and its version, as it is now: what it reads is looked at."""
        return _one_of(*self._who())

    def _make(self) -> tuple[tuple[str, str], Any]:
        name, version = who = self._who()
        return who, self._memoized(replace(self._options, name=name, version=version))

    def _memoized(self, options: Options) -> Any:
        return functions_of(options)[self.is_async]

    def _now(self) -> Any:
        """Return what memoizes it as who it is now."""
        if self._made[0] != self._who():
            self._made = self._make()
        return self._made[1]

    def request(self, texts: Sequence[str]) -> Invocation:
        """Return the call for several texts, no more than `most`."""
        arguments = tuple(texts)
        made = partial(self._awaited if self.is_async else self._called, arguments)
        return DoorCall(self._now(), made, None, (arguments,), {})

    def _called(self, arguments: tuple[str, ...]) -> Any:
        return self._read(self._function(*arguments))

    def _awaited(self, arguments: tuple[str, ...]) -> Any:
        return read_from(self._function(*arguments), self._read)

    def call(self, *arguments: str) -> Any:
        """Draw it, as a thread does."""
        return call(self.request(arguments))

    def call_async(self, *arguments: str) -> Any:
        """Draw it, as a task does."""
        return call_async(self.request(arguments))

    def vectors(self, returned: Any) -> list[Any]:
        """Return the results of a request, one for each text."""
        return [returned]


class NewBatchMemo(NewMemo):
    """One that takes a list of texts and returns a list of as many results: each is memoized by itself."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.most = AT_ONCE

    def _memoized(self, options: Options) -> Any:
        function = (_awaiting if self.is_async else _asking)(self._function, self._read)
        return Function(function, replace(options, batch="material"))

    def request(self, texts: Sequence[str]) -> Invocation:
        """Return the call for several texts."""
        memoized = self._now()
        return BatchInvocation(memoized, memoized.function, None, ([*texts],), {})

    def call(self, *arguments: str) -> Any:
        """Draw one."""
        return call(self.request(arguments))[0]

    def call_async(self, *arguments: str) -> Any:
        """Draw one in a task."""
        return read_from(call_async(self.request(arguments)), _first)

    def vectors(self, returned: Any) -> list[Any]:
        """Return them as they are."""
        return [*returned]


def _first(vectors: list[Any]) -> Any:
    return vectors[0]


def _asking(function: Callable[[list[str]], Any], read: Callable[[Any], list[Any]]) -> Callable[[list[str]], Any]:
    def several(material: list[str]) -> Any:
        return read(function(material))

    return several


def _awaiting(function: Callable[[list[str]], Any], read: Callable[[Any], list[Any]]) -> Callable[[list[str]], Any]:
    async def several(material: list[str]) -> Any:
        return await read_from(function(material), read)

    return several
