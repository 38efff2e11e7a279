"""LangChain: a cache for its models, chat models that replay streams too, and embeddings.

`set_llm_cache(LangChainCache(...))`, or `cache=` of one model, keeps what models answer. LangChain asks no cache where
an answer is streamed; a model that is `memoized` does.
"""

from __future__ import annotations

import asyncio
import json
import re
from ast import literal_eval
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar, Unpack, cast
from weakref import WeakSet

try:
    from langchain_core.caches import BaseCache
    from langchain_core.callbacks import BaseCallbackHandler
    from langchain_core.embeddings import Embeddings
    from langchain_core.language_models import BaseChatModel
    from langchain_core.language_models.chat_models import generate_from_stream
    from langchain_core.load import dumps
    from langchain_core.messages import AIMessage, AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk, ChatResult, Generation
    from langchain_core.tracers.context import register_configure_hook
except ImportError as error:
    raise ImportError(
        "memollm.integrations.langchain needs langchain-core. Install it with: pip install 'memollm[langchain]'"
    ) from error

from memollm import Cache, DoorOptions, OptionError, cached_llm, door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterable, Iterator, Sequence, Sized
    from os import PathLike

    from langchain_core.messages import BaseMessage

    from memollm import Door

    Place = Cache | str | PathLike[str]

Model = TypeVar("Model", bound=BaseChatModel)
Chunks = list[ChatGenerationChunk]


class LangChainCache(BaseCache):
    """What LangChain's models answer, as samples: for `set_llm_cache(...)`, or `cache=` of one model.

    Without options each run of the program reads from the start, and its draws are distinct. `pool=1` is what other
    caches do; with a `namespace` no answer is given twice. What a model made in one call, be it `n` generations, is one
    sample. Other options are those of `Cache.door`.
    """

    def __init__(
        self,
        *,
        cache: Place | None = None,
        name: str = "langchain",
        version: str | int = "1",
        **options: Unpack[DoorOptions],
    ) -> None:
        self.door: Door = door(name, version=version, cache=cache, **options)
        _living.add(self)

    def lookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Return a sample that is there; else hold its slot until the answer comes, or an error."""
        return cast("list[Generation] | None", self.door.lookup(_material(prompt, llm_string)))

    def update(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store an answer."""
        self.door.update(_material(prompt, llm_string), list(return_val))

    def clear(self, **_: Any) -> None:
        """Remove everything that was stored under this name."""
        self.door.clear()

    async def alookup(self, prompt: str, llm_string: str) -> list[Generation] | None:
        """Look up in a task."""
        return cast("list[Generation] | None", await self.door.alookup(_material(prompt, llm_string)))

    async def aupdate(self, prompt: str, llm_string: str, return_val: Sequence[Generation]) -> None:
        """Store an answer in a task."""
        await self.door.aupdate(_material(prompt, llm_string), list(return_val))

    async def aclear(self, **_: Any) -> None:
        """Clear in a task."""
        await asyncio.to_thread(self.clear)


def _material(prompt: str, llm_string: str) -> dict[str, str]:
    return {"prompt": prompt, "llm": settings_of(llm_string)}


# What LangChain tells of a model has in it whatever headers it sends.

HEADERS: Final = frozenset({"anthropic-version", "anthropic-beta", "openai-beta"})
"""Headers that change answers."""
_SENT_ALONG: Final = re.compile(r"headers\b|_query\b", re.IGNORECASE)


@lru_cache(maxsize=1000)
def settings_of(llm_string: str) -> str:
    """Return what LangChain tells of a model and its settings, without headers and queries but those that count."""
    try:
        # The model as JSON, and the settings of this call as a list; or one list of both.
        model, end = json.JSONDecoder().raw_decode(llm_string) if llm_string.startswith("{") else (None, -3)
        return json.dumps(_told([model, literal_eval(llm_string[end + 3 :])]))
    except (ValueError, TypeError, SyntaxError, RecursionError):
        if _SENT_ALONG.search(llm_string) is None:
            return llm_string
        return "blake2b:" + blake2b(llm_string.encode(), digest_size=32).hexdigest()


def _told(settings: Any) -> Any:
    """Return settings without what is sent along."""
    if isinstance(settings, dict):
        return dict(_kept(cast("dict[Any, Any]", settings).items()))  # type: ignore[redundant-cast]  # not for pyright
    if not isinstance(settings, list | tuple):
        return settings
    parts = cast("list[Any]", settings)
    return [*_kept(parts)] if parts and all(map(_is_pair, parts)) else [_told(each) for each in parts]


def _is_pair(value: Any) -> bool:
    """Tell whether something is a name with its setting, as LangChain lists them."""
    return isinstance(value, tuple) and len(cast("Sized", value)) == len(("name", "setting"))


def _kept(settings: Iterable[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
    """Give settings by name, and of headers those that change answers, if there are any."""
    for name, value in settings:
        if not (isinstance(name, str) and _SENT_ALONG.search(name)):
            yield name, _told(value)
        elif isinstance(value, dict):
            headers = cast("dict[str, Any]", value)
            if counts := {each.lower(): text for each, text in headers.items() if each.lower() in HEADERS}:
                yield name, counts


# A model that failed answers nothing more: what its caller holds goes back at once.

_living: WeakSet[LangChainCache] = WeakSet()


class _Abandoning(BaseCallbackHandler):
    """Hears of every model that fails, in the task or thread that asked."""

    run_inline = True

    def on_llm_error(self, error: BaseException, **_: Any) -> None:  # noqa: ARG002 - as LangChain calls it
        """Let go of what was looked up."""
        for cache in list(_living):
            cache.door.abandon()


_errors: Final[ContextVar[Any]] = ContextVar("memollm_langchain_errors", default=_Abandoning())  # noqa: B039 - it has no state
register_configure_hook(_errors, inheritable=True)


# Chat models.

_inside: Final[ContextVar[bool]] = ContextVar("memollm_langchain_inside", default=False)
"""Whether a model is making a sample, and may do so by another of its own methods."""


@contextmanager
def _making() -> Generator[None]:
    token = _inside.set(True)
    try:
        yield
    finally:
        _inside.reset(token)


def memoized(
    model: Model,
    *,
    cache: Place | None = None,
    name: str = "langchain chat",
    version: str | int = "1",
    **options: Unpack[DoorOptions],
) -> Model:
    """Return a chat model of the same type and settings whose answers are samples, streamed or not.

    A stream is passed on as it comes and replayed chunk by chunk; one answer serves both ways of asking. LangChain asks
    no other cache for it.
    """
    if not isinstance(cast("object", model), BaseChatModel):
        raise OptionError(f"memoized({type(model).__qualname__}): it must be a chat model of LangChain.")
    twin = model.model_copy(update={"cache": False})
    twin.__class__ = _twin_of(type(model), door(name, version=version, cache=cache, **options))  # pyright: ignore[reportAttributeAccessIssue]
    return twin


def _twin_of(kind: Any, of: Door) -> Any:
    """Return a class that differs from a model's in nothing but that it draws; each has a door of its own."""
    parts: dict[str, Any] = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__annotations__": {"memollm_door": ClassVar[Any]},
        "memollm_door": of,
        "_generate": _generates(kind, of),
        "_agenerate": _generates_async(kind, of),
    }
    # A model that does not stream is not to look as if it did.
    plain: Any = BaseChatModel
    if kind._stream is not plain._stream:
        parts["_stream"] = _streams(kind, of)
    if kind._astream is not plain._astream:
        parts["_astream"] = _streams_async(kind, of)
    return type(kind)(kind.__name__, (kind,), parts)


def _asked(model: Any, messages: list[BaseMessage], stop: list[str] | None, kwargs: dict[str, Any]) -> Any:
    """Return what an answer depends on: as LangChain tells its caches."""
    plain = [each if each.id is None else each.model_copy(update={"id": None}) for each in messages]
    return _material(dumps(plain), model._get_llm_string(stop=stop, **kwargs))


def _generates(kind: Any, of: Door) -> Callable[..., ChatResult]:
    def _generate(
        self: Any, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        def make() -> ChatResult:
            with _making():
                return cast("ChatResult", kind._generate(self, messages, stop, run_manager, **kwargs))

        return make() if _inside.get() else _result(of.draw(_asked(self, messages, stop, kwargs), make))

    return _generate


def _generates_async(kind: Any, of: Door) -> Callable[..., Any]:
    async def _agenerate(
        self: Any, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> ChatResult:
        async def make() -> ChatResult:
            with _making():
                return cast("ChatResult", await kind._agenerate(self, messages, stop, run_manager, **kwargs))

        return await make() if _inside.get() else _result(await of.adraw(_asked(self, messages, stop, kwargs), make))

    return _agenerate


def _streams(kind: Any, of: Door) -> Callable[..., Iterator[ChatGenerationChunk]]:
    def _stream(
        self: Any, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        if _inside.get():
            yield from kind._stream(self, messages, stop, run_manager, **kwargs)
            return
        material, caller, heard = _asked(self, messages, stop, kwargs), object(), cast("Chunks", [])
        found = of.lookup(material, caller=caller)
        if found is not None:
            for chunk in _chunks(found):
                if run_manager:
                    run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            return
        try:
            source = kind._stream(self, messages, stop, run_manager, **kwargs)
            while True:
                with _making():
                    said: ChatGenerationChunk | None = next(source, None)
                if said is None:
                    break
                heard.append(said.model_copy(deep=True))
                yield said
            of.update(material, heard, caller=caller)
        finally:
            of.abandon(caller=caller)

    return _stream


def _streams_async(kind: Any, of: Door) -> Callable[..., AsyncIterator[ChatGenerationChunk]]:
    async def _astream(
        self: Any, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        if _inside.get():
            async for chunk in kind._astream(self, messages, stop, run_manager, **kwargs):
                yield chunk
            return
        material, caller, heard = _asked(self, messages, stop, kwargs), object(), cast("Chunks", [])
        found = await of.alookup(material, caller=caller)
        if found is not None:
            for chunk in _chunks(found):
                if run_manager:
                    await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
                yield chunk
            return
        try:
            source = aiter(kind._astream(self, messages, stop, run_manager, **kwargs))
            while True:
                with _making():
                    said: ChatGenerationChunk | None = await anext(source, None)
                if said is None:
                    break
                heard.append(said.model_copy(deep=True))
                yield said
            await of.aupdate(material, heard, caller=caller)
        finally:
            of.abandon(caller=caller)

    return _astream


def _result(sample: ChatResult | Chunks) -> ChatResult:
    """Read a sample as an answer in one piece."""
    return sample if isinstance(sample, ChatResult) else generate_from_stream(iter(sample))


def _chunks(sample: ChatResult | Chunks) -> Chunks:
    """Read a sample as a stream."""
    if not isinstance(sample, ChatResult):
        return sample
    said = sample.generations[0]
    fields = {name: getattr(said.message, name) for name in AIMessage.model_fields if name != "type"}
    return [ChatGenerationChunk(message=AIMessageChunk(**fields), generation_info=said.generation_info)]


# Embeddings.


class LangChainEmbeddings(Embeddings):
    """Embeddings that are made once for each text, whatever list it comes in.

    The name says whose vectors they are: that of the model, with what else decides them.
    """

    def __init__(
        self, embeddings: Embeddings, *, name: str, cache: Place | None = None, ttl: float | str | None = None
    ) -> None:
        def documents(texts: list[str]) -> list[list[float]]:
            return embeddings.embed_documents(texts)

        async def documents_async(texts: list[str]) -> list[list[float]]:
            return await embeddings.aembed_documents(texts)

        def query(text: str) -> list[float]:
            return embeddings.embed_query(text)

        async def query_async(text: str) -> list[float]:
            return await embeddings.aembed_query(text)

        decorate: Any = cached_llm
        kept: dict[str, Any] = {"version": "1", "pool": 1, "ttl": ttl, "cache": cache}
        of_documents: dict[str, Any] = {**kept, "name": f"langchain documents {name}", "batch": "texts"}
        of_queries: dict[str, Any] = {**kept, "name": f"langchain query {name}"}
        self._documents = decorate(documents, **of_documents)
        self._documents_async = decorate(documents_async, **of_documents)
        self._query = decorate(query, **of_queries)
        self._query_async = decorate(query_async, **of_queries)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts; those that are missing in one call."""
        return cast("list[list[float]]", self._documents(texts))

    def embed_query(self, text: str) -> list[float]:
        """Embed a question."""
        return cast("list[float]", self._query(text))

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed texts in a task."""
        return cast("list[list[float]]", await self._documents_async(texts))

    async def aembed_query(self, text: str) -> list[float]:
        """Embed a question in a task."""
        return cast("list[float]", await self._query_async(text))
