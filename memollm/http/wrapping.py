"""`wrap`: a client of the same type, whose calls of models are memoized."""

from __future__ import annotations

import copy
import inspect
import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from memollm._types.secret import veiled
from memollm.errors import OptionError
from memollm.http.options import OF_ASYNC
from memollm.http.responses import LIBRARIES
from memollm.http.transports import AsyncTransport, Transport

if TYPE_CHECKING:
    from typing import Unpack

    from memollm.http.options import HttpOptions

Client = TypeVar("Client")
DEPTH: Final = 5
"""How deep in an SDK's client its HTTP client is looked for."""


def wrap(client: Client, **options: Unpack[HttpOptions]) -> Client:
    """Return a client of the same type that memoizes what models answer; the given one stays as it is.

    ::

        client = memollm.wrap(openai.OpenAI(), namespace="exp-1")

    Of OpenAI, Anthropic, and every SDK on httpx or httpx2, sync or async, or a `Client` of httpx itself.

    namespace, pool, accept, ttl, mode, on_store_error, cache, keep_arguments, on_cancel, grace: as for `cached_llm`;
             `accept` is given the body of an answer
    paths    more ends of paths that are memoized, as "/rerank"
    headers  more headers that count
    ignore   more parts of the body that do not count
    keyed    parts of the body that count though they usually do not, as "user"
    on_leave  "finish": a stream that its reader leaves is read to its end and kept (async clients)
    host     False: requests count the same at whatever host they are sent to
    """
    found = Wrapping({**options})
    wrapped = found.of(client)
    if wrapped is client:
        raise OptionError(
            f"wrap: no client of httpx or httpx2 was found in {veiled(repr(client))}. If its SDK takes one, give it "
            "httpx.Client(transport=memollm.http.Transport())."
        )
    return cast("Client", wrapped)


class Wrapping:
    """Makes clients anew around transports that memoize; what has nothing to do with HTTP is shared."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._made: dict[int, Any] = {}
        # Its options are checked before anything is looked for.
        Transport(**{name: value for name, value in options.items() if name not in OF_ASYNC})

    def of(self, thing: Any, depth: int = DEPTH) -> Any:
        """Return a thing with memoizing clients in it, or itself where there are none."""
        if id(thing) in self._made:
            return self._made[id(thing)]
        kind = http_kind(thing)
        if kind is not None:
            made = self._client(thing, is_async=kind == "AsyncClient")
        elif not hasattr(thing, "__dict__") or isinstance(thing, type) or inspect.isroutine(thing) or depth == 0:
            return thing
        else:
            made = self._holder(thing, depth)
        self._made[id(thing)] = made
        return made

    def _client(self, client: Any, *, is_async: bool) -> Any:
        """Return an HTTP client like another, which keeps that alive and closes it when it is closed."""
        memoizing = AsyncTransport if is_async else Transport
        options = self._options if is_async else _sync(self._options)
        wrapped: Any = copy.copy(client)
        cls: type = wrapped.__class__
        if hasattr(cls, "__del__"):
            # It would close what is still used by the other.
            wrapped.__class__ = type(cls.__name__, (cls,), {"__del__": _nothing})
        state = _members(wrapped)
        state["_transport"] = memoizing(state["_transport"], **options)
        mounts = state["_mounts"].items()
        state["_mounts"] = {
            pattern: None if transport is None else memoizing(transport, **options) for pattern, transport in mounts
        }
        state["_memollm_client"] = client
        return wrapped

    def _holder(self, thing: Any, depth: int) -> Any:
        """Return an object that holds such a client: by its own way of copying, or with what holds it copied."""
        held = _members(thing)
        own = held.get("_client")
        copies: Any = getattr(thing, "copy", None)
        if http_kind(own) is not None and callable(copies) and "http_client" in inspect.signature(copies).parameters:
            return copies(http_client=self.of(own))
        self._made[id(thing)] = thing
        state = {name: self.of(value, depth - 1) for name, value in held.items() if _may_hold(value, thing)}
        changed = {name: value for name, value in state.items() if value is not held[name]}
        if not changed:
            return thing
        made = copy.copy(thing)
        for name, value in changed.items():
            object.__setattr__(made, name, value)
        return made


def http_kind(thing: object) -> str | None:
    """Return "Client" or "AsyncClient" for one of httpx or httpx2."""
    for name in LIBRARIES:
        library = sys.modules.get(name)
        for kind in ("Client", "AsyncClient"):
            # Another thread may just be importing it.
            of_library = getattr(library, kind, None)
            if of_library is not None and isinstance(thing, of_library):
                return kind
    return None


def _members(thing: object) -> dict[str, Any]:
    return vars(thing)


def _may_hold(value: object, holder: object) -> bool:
    """Tell whether an attribute may lead to an HTTP client: it is one, or of the SDK's own kind."""
    package = type(holder).__module__.partition(".")[0]
    return http_kind(value) is not None or type(value).__module__.partition(".")[0] == package


def _sync(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in OF_ASYNC}


def _nothing(_: object) -> None:
    """Leave what is shared alone."""
