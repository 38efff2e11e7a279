"""AutoGen (0.4 and later): a store for its `ChatCompletionCache`, whose results are samples."""

# pyright: basic
# What comes from AutoGen is of no type that is known where this is checked.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Unpack

from memollm import Cache, DoorOptions, OptionError, door
from memollm.integrations._turns import TakingTurns, require_client

if TYPE_CHECKING:
    from os import PathLike

    from memollm import Door

    Place = Cache | str | PathLike[str]
    CacheStore = Any
    BaseModel = Any
    Described = Any
else:
    try:
        from autogen_core import CacheStore, Component
        from pydantic import BaseModel
    except ImportError as error:
        raise ImportError(
            "memollm.integrations.autogen needs AutoGen 0.4 or later. Install it with: pip install 'memollm[autogen]'"
        ) from error


class AutoGenStoreConfig(BaseModel):  # type: ignore[misc]
    """What `dump_component` writes of a store, and `load_component` makes one of."""

    client: str
    name: str = "autogen"
    version: str | int = "1"
    cache: str | None = None
    options: dict[str, Any] = {}


if not TYPE_CHECKING:
    Described = Component[AutoGenStoreConfig]


class AutoGenStore(CacheStore, Described):  # type: ignore[misc]
    """What a client of AutoGen answers, as samples: `ChatCompletionCache(client, AutoGenStore(client="gpt-5-mini"))`.

    AutoGen's keys leave out the model and its settings, so `client` says them: a name for each client whose answers are
    to be apart. Without options each run of the program reads from the start, and its draws are distinct; `pool=1` is
    what other stores do. Other options are those of `Cache.door`.
    """

    component_provider_override = "memollm.integrations.autogen.AutoGenStore"
    component_config_schema = AutoGenStoreConfig

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
        self._made_of = (client, cache, name, version, options)
        self._asking = TakingTurns(door(name, version=version, cache=cache, **options))

    @property
    def door(self) -> Door:
        """What it draws through."""
        return self._asking.door

    def get(self, key: str, default: Any = None) -> Any:
        """Return a sample that is there; else hold its slot until the answer comes."""
        return self._asking.get(self._material(key), default)

    def set(self, key: str, value: Any) -> None:
        """Store an answer, as plain JSON, which AutoGen reads back."""
        self._asking.set(self._material(key), _plain(value))

    def _material(self, key: str) -> dict[str, str]:
        return {"client": self._made_of[0], "key": key}

    def _to_config(self) -> Any:
        client, cache, name, version, options = self._made_of
        if isinstance(cache, Cache):
            raise OptionError("A store with a Cache of its own cannot be described: give it the path, cache='answers'.")
        place = None if cache is None else str(cache)
        return AutoGenStoreConfig(client=client, name=name, version=version, cache=place, options={**options})

    @classmethod
    def _from_config(cls, config: Any) -> Any:
        return cls(client=config.client, cache=config.cache, name=config.name, version=config.version, **config.options)


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value
