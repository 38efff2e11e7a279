"""LiteLLM: a cache for `litellm.cache`; what its completions, embeddings and rankings answer are samples.

LiteLLM asks before a call and tells after it, often in another task; who asked is known by `litellm_call_id`. A call
that has failed tells nothing: a callback hears of it, and so does the task's or thread's next call, or its end.
"""

# pyright: basic
# What comes from LiteLLM is of no type that is known where this is checked.

from __future__ import annotations

import asyncio
import copy
import json
from typing import TYPE_CHECKING, Any, Final, Unpack, cast
from weakref import WeakKeyDictionary, WeakSet

from memollm import Cache, DoorOptions, door
from memollm.integrations._turns import who

if TYPE_CHECKING:
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]
    # LiteLLM wants an older openai than what else is checked.
    litellm = all_litellm_params = cast("Any", None)
    HostCache = CustomLogger = Any
else:
    try:
        import litellm
        from litellm.caching.caching import Cache as HostCache
        from litellm.integrations.custom_logger import CustomLogger
        from litellm.types.utils import all_litellm_params
    except ImportError as error:
        raise ImportError(
            "memollm.integrations.litellm needs LiteLLM. Install it with: pip install 'memollm[litellm]'"
        ) from error

CALLS: Final = (
    *("completion", "acompletion", "text_completion", "atext_completion", "responses", "aresponses"),
    *("embedding", "aembedding", "rerank", "arerank"),
)
"""What LiteLLM asks this cache for."""
EMBEDDINGS: Final = frozenset({"embedding", "aembedding"})
OWNED: Final[frozenset[str]] = frozenset(all_litellm_params)
"""What LiteLLM takes for itself: keys, prices, callbacks, retries."""
COUNTS: Final = frozenset(
    {"api_base", "api_version", "custom_llm_provider", "mock_response", "region_name"}
    | {"prompt_id", "prompt_label", "prompt_variables", "prompt_version"}
)
"""What of it changes answers."""
UNKEYED: Final = frozenset(
    {
        "stream",
        "stream_options",
        "user",
        "metadata",
        "safety_identifier",
        "prompt_cache_key",
        "timeout",
        "extra_headers",
    }
    | {"parent_otel_span", "organization"}
)
HEADERS: Final = frozenset({"anthropic-version", "anthropic-beta", "openai-beta"})
AGES: Final = ("s-maxage", "s-max-age", "ttl")
MOST: Final = 10_000
"""Calls that are remembered to wait for their answers."""
STREAMED: Final = 30.0
"""Seconds for which the slot of a stream is held: nobody tells that it was left."""


class LiteLLMKey(str):
    """LiteLLM's key of a call, and what it was made of."""

    __slots__ = ("material",)

    material: Any


class LiteLLMCache(HostCache):  # type: ignore[misc, valid-type]
    """What LiteLLM's calls answer, as samples: `litellm.cache = LiteLLMCache(...)`.

    Without options each run of the program reads from the start, and its draws are distinct. `pool=1` is what other
    caches do; with a `namespace` no answer is given twice. Embeddings are `pool=1` unless you say otherwise. Other
    options are those of `Cache.door`. Of one call, `cache={"s-maxage": 60, "no-cache": ..., "no-store": ...}` holds.

    What LiteLLM does not ask its cache for (`caching=False`, images, speech) calls the model in every mode. Where
    nothing may be called, take `memollm.http.Transport` as well: docs/integrations.md.
    """

    def __init__(
        self,
        *,
        cache: Place | None = None,
        name: str = "litellm",
        version: str | int = "1",
        **options: Unpack[DoorOptions],
    ) -> None:
        super().__init__(supported_call_types=[*CALLS])
        # LiteLLM's own default passes long conversations by.
        self.max_messages = None
        self._named: tuple[str, str | int, Any] = (name, version, cache)
        self._options: dict[str, Any] = {**options}
        self._doors: dict[tuple[bool, bool, float | None], Door] = {}
        self._waiting: dict[str | None, Any] = {}
        """What each call asked that was a miss and that no answer of has come yet, as it was then."""
        self._told: dict[str, None] = {}
        """The last calls that tasks have told the answers of."""
        self._asking: WeakKeyDictionary[Any, str] = WeakKeyDictionary()
        """The call that each task or thread has under way, as far as it was a miss."""
        self.door: Door = self._door(None)
        _living.add(self)

    # Asked and told by threads.

    def get_cache(self, dynamic_cache_object: object = None, **kwargs: Any) -> Any:  # noqa: ARG002
        """Return a sample that is there; else hold its slot until the answer comes, or the call fails."""
        if self.should_use_cache(**kwargs) is not True:
            return None
        self.abandon(self._asking.get(who()))
        call, material = self._begins(kwargs)
        found = self._door_for(kwargs, looks=True).lookup(material, caller=call)
        return self._misses(call, material, kwargs) if found is None else found

    def add_cache(self, result: Any, **kwargs: Any) -> None:
        """Store an answer."""
        if self.should_use_cache(**kwargs) is True:
            call, material = self._answered(kwargs)
            self._door_for(kwargs).update(material, _plain(result), caller=call)

    # Asked and told by tasks.

    async def async_get_cache(self, dynamic_cache_object: object = None, **kwargs: Any) -> Any:  # noqa: ARG002
        """Look up in a task."""
        if self.should_use_cache(**kwargs) is not True:
            return None
        before = self._asking.get(who())
        if before in self._waiting:
            # If there is an answer, the task that brings it has been waiting for its turn.
            await asyncio.sleep(0)
            self.abandon(before)
        call, material = self._begins(kwargs)
        embeds = "model" not in kwargs
        found = await self._door_for(kwargs, looks=True, embeds=embeds).alookup(material, caller=call)
        return self._misses(call, material, kwargs) if found is None else found

    async def async_add_cache(self, result: Any, dynamic_cache_object: object = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Store an answer in a task."""
        if self.should_use_cache(**kwargs) is True:
            call, material = self._answered(kwargs)
            if self._is_again(call):
                return
            await self._door_for(kwargs).aupdate(material, _plain(result), caller=call)

    async def async_add_cache_pipeline(self, result: Any, dynamic_cache_object: object = None, **kwargs: Any) -> None:  # noqa: ARG002
        """Store the vectors of a list of texts, one by one."""
        given = kwargs["input"]
        texts = given if isinstance(given, list) else [given]
        if self.should_use_cache(**kwargs) is not True or len(texts) != len(result.data):
            return
        of = self._door_for(kwargs, embeds=True)
        for index, text in enumerate(texts):
            key, kept, _ = self.add_embedding_response_to_cache(result, text, {**kwargs}, index)
            await of.aupdate(self._material({"cache_key": key}), _plain(kept["response"]))

    # What is asked.

    def get_cache_key(self, **kwargs: Any) -> str:
        """Return LiteLLM's key, with what it was made of."""
        key = LiteLLMKey(super().get_cache_key(**kwargs))
        key.material = material_of(kwargs)
        return key

    def _material(self, kwargs: dict[str, Any]) -> Any:
        """Return what an answer depends on: the request, not LiteLLM's digest of it, which leaves parts out."""
        key = kwargs.get("cache_key")
        if key is None or (isinstance(key, LiteLLMKey) and "model" in kwargs):
            return material_of(kwargs)
        return {"one": key.material} if isinstance(key, LiteLLMKey) else {"cache_key": key}

    def _door_for(self, kwargs: dict[str, Any], *, looks: bool = False, embeds: bool = False) -> Door:
        control = kwargs.get("cache")
        ages = [control[each] for each in AGES if control.get(each) is not None] if isinstance(control, dict) else []
        kind = getattr(kwargs.get("litellm_logging_obj"), "call_type", None)
        streams = looks and kwargs.get("stream") is True
        return self._door(min(ages, default=None), streams=streams, embeds=embeds or kind in EMBEDDINGS)

    def _door(self, age: float | None, *, streams: bool = False, embeds: bool = False) -> Door:
        made = self._doors.get((streams, embeds, age))
        if made is None:
            name, version, cache = self._named
            options = {**self._options}
            if streams:
                options["lease"] = STREAMED
            if embeds and options.get("pool") is None:
                options["pool"] = 1
            if age is not None:
                options["ttl"] = age
            name = f"{name} embeddings" if embeds else name
            made = self._doors[streams, embeds, age] = door(name, version=version, cache=cache, **options)
        return made

    def clear(self) -> int:
        """Remove everything that was stored under this name; return how many samples there were."""
        return self._door(None).clear() + self._door(None, embeds=True).clear()

    # Who has asked, and may never be told.

    def _begins(self, kwargs: dict[str, Any]) -> tuple[str | None, Any]:
        """Return who asks, and what; what it held before, in a try that has failed, it lets go of."""
        call = kwargs.get("litellm_call_id")
        self.abandon(call)
        return call, self._material(kwargs)

    def _misses(self, call: str | None, material: Any, kwargs: dict[str, Any]) -> None:
        if call is None:
            return
        if len(self._waiting) >= MOST:
            self.abandon(next(iter(self._waiting)))
        # The program may go on with its list of messages before LiteLLM tells of the answer.
        self._waiting[call] = copy.deepcopy(material)
        if kwargs.get("stream") is not True:
            asker = who()
            if isinstance(asker, asyncio.Task) and asker not in self._asking:
                asker.add_done_callback(lambda task: self.abandon(self._asking.pop(task, None)))
            self._asking[asker] = call
        _listen()

    def _answered(self, kwargs: dict[str, Any]) -> tuple[str | None, Any]:
        """Return who has asked for an answer, and what; by now its slot is not to be let go."""
        call = kwargs.get("litellm_call_id")
        material = self._waiting.pop(call, None)
        return call, self._material(kwargs) if material is None else material

    def _is_again(self, call: str | None) -> bool:
        """Tell whether an answer is told once more: LiteLLM does where the loop ends while it is being stored."""
        if call in self._told:
            return True
        if call is not None:
            self._told[call] = None
            if len(self._told) > MOST:
                self._told.pop(next(iter(self._told)))
        return False

    def abandon(self, call: str | None) -> None:
        """Let go of what a call holds that has failed."""
        if self._waiting.pop(call, None) is not None:
            self.door.abandon(caller=call)


def material_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Return what of a call counts: all but what LiteLLM keeps for itself, and what changes no answer."""
    material = {
        name: value
        for name, value in kwargs.items()
        if value is not None and name not in UNKEYED and (name in COUNTS or name not in OWNED)
    }
    headers = {
        name.lower(): value
        for each in ("headers", "extra_headers")
        for name, value in (kwargs.get(each) or {}).items()
        if name.lower() in HEADERS
    }
    return {**material, "headers": headers} if headers else material


def _plain(result: Any) -> Any:
    """Return an answer as plain JSON, whose usage is found and which every version of LiteLLM reads."""
    text = result.model_dump_json() if hasattr(result, "model_dump_json") else result
    return json.loads(text) if isinstance(text, str) else text


# A call that has failed is told by a callback, before whoever made it knows.

_living: Final[WeakSet[LiteLLMCache]] = WeakSet()


class FailedCalls(CustomLogger):  # type: ignore[misc, valid-type]
    """Hears of every call that fails."""

    def log_failure_event(self, kwargs: dict[str, Any], *_: object, **__: object) -> None:
        """Let go of what it held."""
        for cache in list(_living):
            cache.abandon(kwargs.get("litellm_call_id"))

    async def async_log_failure_event(self, kwargs: dict[str, Any], *_: object, **__: object) -> None:
        """Let go of it where a task has failed."""
        self.log_failure_event(kwargs)


_failed: Final = FailedCalls()


def _listen() -> None:
    """Have LiteLLM tell of failures, also where the program has set its lists of callbacks anew."""
    for listening in (litellm.failure_callback, litellm._async_failure_callback):
        if _failed not in listening:
            listening.append(_failed)
