"""DSPy: a cache for `dspy.cache`; what its language models and embedders answer are samples.

A model that is awaited looks up and stores in different threads. So who asks is named by the call of the model, of
which a callback tells; what it holds is let go of when the call has failed.
"""

# pyright: basic
# What comes from DSPy is of no type that is known where this is checked.

from __future__ import annotations

import re
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Unpack, cast
from weakref import WeakSet

from memollm import Cache, DoorOptions, Usage, door
from memollm.integrations._turns import TakingTurns

if TYPE_CHECKING:
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]
    dspy = cast("Any", None)
    HostCache = BaseCallback = Any
else:
    try:
        import dspy
        from dspy.clients.cache import Cache as HostCache
        from dspy.utils.callback import BaseCallback
    except ImportError as error:
        raise ImportError(
            "memollm.integrations.dspy needs DSPy. Install it with: pip install 'memollm[dspy]'"
        ) from error

HEADERS: Final = frozenset({"anthropic-version", "anthropic-beta", "openai-beta"})
"""Headers that change answers."""
SENT: Final = frozenset({"headers", "extra_headers", "default_headers"})
UNKEYED: Final = frozenset({"api_key", "timeout", "user", "metadata", "_fn_identifier", "caching"}) | SENT
"""What of a request changes no answer, or says no more than whether it is awaited."""
_AWAITED: Final = re.compile(r"\balitellm_|\.async$")
_EMBEDS: Final = re.compile(r"embedding")


class DSPyCache(HostCache):  # type: ignore[misc, valid-type]
    """What DSPy's models answer, as samples: `dspy.cache = DSPyCache(...)`.

    Without options each run of the program reads from the start, and its draws are distinct: another answer needs no
    `rollout_id`. `pool=1` is what DSPy's own cache does; with a `namespace` no answer is given twice. Embeddings are
    `pool=1` unless you say otherwise. Other options are those of `Cache.door`.
    """

    def __init__(
        self,
        *,
        cache: Place | None = None,
        name: str = "dspy",
        version: str | int = "1",
        **options: Unpack[DoorOptions],
    ) -> None:
        super().__init__(enable_disk_cache=False, enable_memory_cache=False, disk_cache_dir=None)
        given: Any = {"usage": usage_of, **options}
        of_vectors: Any = {**options, "pool": options.get("pool") or 1}
        self.door: Door = door(name, version=version, cache=cache, **given)
        self._embeds = TakingTurns(door(f"{name} embeddings", version=version, cache=cache, **of_vectors))
        _living.add(self)
        _listen()

    def get(self, request: dict[str, Any], ignored_args_for_cache_key: list[str] | None = None) -> Any:  # noqa: ARG002
        """Return a sample that is there; else hold its slot until the answer comes, or the call fails."""
        _listen()
        material, called = material_of(request), str(request.get("_fn_identifier"))
        if _EMBEDS.search(called):
            return self._embeds.get(material, None)
        # Who waited in one of the few threads that tasks share might keep them from whoever brings the answer.
        found = self.door.lookup(material, caller=_caller(material), wait=_AWAITED.search(called) is None)
        if hasattr(found, "usage"):
            # As DSPy's own cache has it: a hit has used nothing.
            found.usage = {}
            object.__setattr__(found, "cache_hit", True)
        return found

    def put(
        self,
        request: dict[str, Any],
        value: Any,
        ignored_args_for_cache_key: list[str] | None = None,  # noqa: ARG002
        enable_memory_cache: bool = True,  # noqa: ARG002, FBT001, FBT002 - as DSPy calls it
    ) -> None:
        """Store an answer."""
        material = material_of(request)
        if _EMBEDS.search(str(request.get("_fn_identifier"))):
            self._embeds.set(material, value)
        else:
            self.door.update(material, value, caller=_caller(material))

    def __contains__(self, key: object) -> bool:
        """Tell that a digest of DSPy's is not known here: requests are."""
        return False

    def abandon(self, call: str) -> None:
        """Let go of what a call holds that has failed."""
        self.door.abandon(caller=call)


def material_of(request: dict[str, Any]) -> dict[str, Any]:
    """Return what of a request counts; the same whether it is awaited or not."""
    kept = {name: value for name, value in request.items() if name not in UNKEYED and value is not None}
    sent = [request[name] for name in SENT if isinstance(request.get(name), dict)]
    headers = {name.lower(): text for each in sent for name, text in each.items() if name.lower() in HEADERS}
    called = _AWAITED.sub(
        lambda found: "litellm_" if found[0] == "alitellm_" else "", str(request.get("_fn_identifier"))
    )
    return {**kept, "called": called.replace("_acompute", "_compute"), **({"headers": headers} if headers else {})}


def usage_of(value: Any) -> object:
    """Return what an answer took: as DSPy tells it of a result of its own, else as the provider did."""
    if not (isinstance(value, dict) and "_dspy_format" in value):
        return value
    used = value["usage"]
    details = used.get("prompt_tokens_details") or {}
    return Usage(
        input_tokens=used.get("prompt_tokens", 0),
        output_tokens=used.get("completion_tokens", 0),
        cost=value["cost"],
        model=value["response_model"],
        cached_tokens=details.get("cached_tokens", 0),
        cache_write_tokens=details.get("cache_creation_tokens", 0),
    )


# Who asks.

_living: Final[WeakSet[DSPyCache]] = WeakSet()
_call: Final[ContextVar[str | None]] = ContextVar("memollm_dspy_call", default=None)
"""The call of a model that is under way, in its task or thread and those that it has work done by."""


def _caller(material: dict[str, Any]) -> object:
    """Return who asks; where nobody told, whoever asks the same is one."""
    call = _call.get()
    return ("dspy", repr(sorted(material.items(), key=str))) if call is None else call


class Calls(BaseCallback):  # type: ignore[misc, valid-type]
    """Hears of every call of a model, in its task or thread."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:  # noqa: ARG002
        """Know whose lookup comes next."""
        _call.set(call_id)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:  # noqa: ARG002
        """Let go of what it holds, which is nothing if it has told its answer."""
        _call.set(None)
        for cache in list(_living):
            cache.abandon(call_id)


_calls: Final = Calls()


def _listen() -> None:
    """Have DSPy tell of calls, also where the program has set its list of callbacks anew."""
    # In place: DSPy lets one thread of a program set it.
    listening = dspy.settings.get("callbacks")
    if isinstance(listening, list) and _calls not in listening:
        listening.append(_calls)
