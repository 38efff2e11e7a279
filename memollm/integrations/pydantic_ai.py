"""pydantic-ai: a model of the same kind whose responses are samples, streamed or not.

When a message was made, and in which run, does not count; neither does what an application notes for itself.
"""

# pyright: basic
# What comes from pydantic-ai is of no type that is known where this is checked.

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final, Unpack, cast

from memollm import Cache, DoorOptions, Usage, door

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]
    WrapperModel = Any
    CompletedStreamedResponse = ModelMessagesTypeAdapter = ModelRequestParameters = TypeAdapter = cast("Any", None)
else:
    try:
        from pydantic import TypeAdapter
        from pydantic_ai.messages import ModelMessagesTypeAdapter
        from pydantic_ai.models import CompletedStreamedResponse, ModelRequestParameters
        from pydantic_ai.models.wrapper import WrapperModel
    except ImportError as error:
        raise ImportError(
            "memollm.integrations.pydantic_ai needs pydantic-ai 2. Install it with: pip install 'memollm[pydantic-ai]'"
        ) from error

OF_A_RUN: Final = frozenset(
    {"timestamp", "run_id", "conversation_id", "metadata", "workspace_ref", "history_digest", "usage"}
    | {"failed_attempts", "cost", "model_id"}
)
"""What a message tells of its run, and no model is sent."""
UNSENT: Final = frozenset({"timeout", "extra_headers", "user", "openai_user", "openai_safety_identifier"})
"""Settings that change no answer."""
HEADERS: Final = frozenset({"anthropic-version", "anthropic-beta", "openai-beta"})
_parameters: Final = TypeAdapter(ModelRequestParameters)


class MemoizedModel(WrapperModel):  # type: ignore[misc]
    """A model whose responses are samples: `Agent(MemoizedModel("openai:gpt-5-mini", namespace="exp-1"))`.

    Without options each run of the program reads from the start, and its draws are distinct. `pool=1` is an ordinary
    cache; with a `namespace` no response is given twice. Other options are those of `Cache.door`. A stream is passed on
    as it comes and kept at its end; one response serves both ways of asking.
    """

    def __init__(
        self,
        wrapped: Any,
        *,
        cache: Place | None = None,
        name: str = "pydantic-ai",
        version: str | int = "1",
        **options: Unpack[DoorOptions],
    ) -> None:
        super().__init__(wrapped)
        options = cast("DoorOptions", {"accept": is_complete, "usage": usage_of, **options})
        self.door: Door = door(name, version=version, cache=cache, **options)

    async def request(self, messages: Any, model_settings: Any, model_request_parameters: Any) -> Any:
        """Draw a response."""

        async def make() -> Any:
            return plain(await self.wrapped.request(messages, model_settings, model_request_parameters))

        material = self._asked(messages, model_settings, model_request_parameters)
        return response_of(await self.door.adraw(material, make))

    @asynccontextmanager
    async def request_stream(
        self, messages: Any, model_settings: Any, model_request_parameters: Any, run_context: Any = None
    ) -> AsyncGenerator[Any]:
        """Draw a response as a stream."""
        material, caller = self._asked(messages, model_settings, model_request_parameters), object()
        found = await self.door.alookup(material, caller=caller)
        if found is not None:
            yield CompletedStreamedResponse(
                response_of(found), model_request_parameters=model_request_parameters, replay_events=True
            )
            return
        try:
            async with self.wrapped.request_stream(
                messages, model_settings, model_request_parameters, run_context
            ) as stream:
                yield stream
                sample = plain(stream.get())
            if is_complete(sample):
                await self.door.aupdate(material, sample, caller=caller)
        finally:
            self.door.abandon(caller=caller)

    def _asked(self, messages: Any, settings: Any, parameters: Any) -> dict[str, Any]:
        """Return what a response depends on."""
        model = {"name": self.model_name, "system": self.system, "url": self.base_url}
        given = {**(self.settings or {}), **(settings or {})}
        headers = {name: value for name, value in (given.get("extra_headers") or {}).items() if name.lower() in HEADERS}
        return {
            "model": model,
            "messages": [_sent(each) for each in ModelMessagesTypeAdapter.dump_python(messages, mode="json")],
            "settings": {name: value for name, value in given.items() if name not in UNSENT},
            "headers": headers,
            "parameters": _parameters.dump_python(parameters, exclude_defaults=True),
        }


def _sent(message: dict[str, Any]) -> dict[str, Any]:
    """Return of a message what a model may be sent."""
    sent = {name: value for name, value in message.items() if name not in OF_A_RUN and value is not None}
    sent["parts"] = [
        {name: value for name, value in part.items() if name not in {"timestamp", "metadata"} and value is not None}
        for part in message["parts"]
    ]
    if "provider_details" in sent:
        sent["provider_details"] = {
            name: each for name, each in sent["provider_details"].items() if name != "timestamp"
        }
    return sent


def plain(response: Any) -> dict[str, Any]:
    """Return a response as plain JSON, without whose run it was."""
    (message,) = ModelMessagesTypeAdapter.dump_python([response], mode="json")
    return {name: value for name, value in message.items() if name not in {"run_id", "conversation_id"}}


def response_of(sample: dict[str, Any]) -> Any:
    """Return the response that a sample is."""
    return ModelMessagesTypeAdapter.validate_python([sample])[0]


def is_complete(sample: dict[str, Any]) -> bool:
    """Tell whether a response will stay what it is."""
    return bool(sample.get("state", "complete") == "complete")


def usage_of(sample: dict[str, Any]) -> Usage:
    """Return what a response took, as pydantic-ai tells it."""
    used = sample["usage"]
    return Usage(
        input_tokens=used.get("input_tokens", 0),
        output_tokens=used.get("output_tokens", 0),
        model=sample.get("model_name"),
        cached_tokens=used.get("cache_read_tokens", 0),
        cache_write_tokens=used.get("cache_write_tokens", 0),
    )
