"""AutoGen 0.2, and AG2: a cache for their agents, whose responses are samples."""

# pyright: basic
# What comes from AutoGen is of no type that is known where this is checked.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, Unpack

from memollm import Cache, DoorOptions, door
from memollm.integrations._turns import TakingTurns, require_client

if TYPE_CHECKING:
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]
    AbstractCache = Any
else:
    try:
        from autogen.cache.abstract_cache_base import AbstractCache
    except ImportError as error:
        raise ImportError(
            "memollm.integrations.autogen02 needs AutoGen 0.2 or AG2. Install one with: "
            "pip install 'autogen-agentchat~=0.2.0'"
        ) from error


class AutoGenCache(AbstractCache):  # type: ignore[misc]
    """What models answer AutoGen's agents, as samples: `agent.initiate_chat(other, cache=AutoGenCache(...))`.

    AutoGen's keys leave out where a model is served and the settings of the client, so `client` says them: a name for
    each whose answers are to be apart. Without options each run of the program reads from the start, and its draws are
    distinct; `pool=1` is what AutoGen's own caches do. Other options are those of `Cache.door`.
    """

    def __init__(
        self,
        *,
        client: str,
        cache: Place | None = None,
        name: str = "autogen",
        version: str | int = "1",
        **options: Unpack[DoorOptions],
    ) -> None:
        require_client(client)
        self._client = client
        self._asking = TakingTurns(door(name, version=version, cache=cache, **options))

    @property
    def door(self) -> Door:
        """What it draws through."""
        return self._asking.door

    def get(self, key: str, default: Any = None) -> Any:
        """Return a sample that is there; else hold its slot until the answer comes."""
        return self._asking.get(self._material(key), default)

    def set(self, key: str, value: Any) -> None:
        """Store an answer; one that was given by `get` is told again for its price, and is stored already."""
        material = self._material(key)
        if self._asking.waits_for(material):
            self._asking.set(material, value)

    def _material(self, key: str) -> dict[str, str]:
        return {"client": self._client, "key": key}

    def close(self) -> None:
        """Do nothing: AutoGen closes its caches after every look, and the cache belongs to the program."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __deepcopy__(self, _: object) -> Self:
        # AutoGen copies an agent's settings, and its cache with them.
        return self
