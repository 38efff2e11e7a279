"""Cache: a store with its codec, and what a user does with it besides drawing."""

from __future__ import annotations

import threading
import time
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast

from memollm._context import configuration, default_place, reader_name, require_name
from memollm._engine import Engine
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._typing import Decorate
    from memollm.stores.base import Store

Place = str | PathLike[str]
T = TypeVar("T")


class Namespace(NamedTuple):
    """A namespace and how much it has drawn."""

    name: str
    calls: int
    draws: int


class Cache:
    """Samples and cursors in one place: a path (SQLite), `"memory:"`, or a store of your own.

    Nothing is opened or made before the first use.
    """

    def __init__(
        self,
        place: Place | Store | None = None,
        *,
        allow_network: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # What no import of the package needs is imported with the first cache.
        from memollm._codec import Codec

        self._place = place if place is None or isinstance(place, str) else _text(place)
        self._allow_network = allow_network
        store = store_at(place, allow_network=allow_network) if isinstance(place, str | PathLike | None) else place
        self.engine = Engine(store, Codec(pickle=_may_pickle), clock, place=f"memollm.{self!r}")

    def __repr__(self) -> str:
        return f"Cache({self._place!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        if self._place == "memory:" or not isinstance(self._place, str | None):
            raise TypeError(f"{self!r} lives in this process alone and cannot be pickled; use a cache on disk.")
        return (_reopened, (self._place, self._allow_network))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def store(self) -> Store:
        """The store underneath."""
        return self.engine.store

    @property
    def cached_llm(self) -> Decorate:
        """The decorator `cached_llm`, for functions that keep their samples here."""
        from memollm._decorator import CachedLlm

        return cast("Decorate", CachedLlm(self))

    def namespaces(self) -> list[Namespace]:
        """List the namespaces that have drawn, by name."""
        prefix = reader_name(namespace="", run=None)
        return [
            Namespace(reader.name.removeprefix(prefix), reader.calls, reader.draws)
            for reader in self.store.readers()
            if reader.name.startswith(prefix)
        ]

    def rewind(self, namespace: str) -> None:
        """Set a namespace back to its start: it draws the same samples again."""
        self._require(namespace, done=self.store.rewind(reader_name(namespace=namespace, run=None)))

    def drop(self, namespace: str) -> None:
        """Remove a namespace; the samples that it drew stay."""
        self._require(namespace, done=self.store.drop(reader_name(namespace=namespace, run=None)))

    def trust(self, key: str) -> None:
        """Read what the owner of another signing key signed: the content of their key file, or their shared secret."""
        self.engine.codec.trust(key)

    def register(self, type_: type[T], *, name: str, encode: Callable[[T], object], decode: Callable[[Any], T]) -> None:
        """Store objects of exactly this type as what `encode` makes of them, under a name that stays when it moves."""
        self.engine.codec.register(type_, name=name, encode=encode, decode=decode)

    def adopt(self, name: str, *, to: str | None = None, version: str | None = None) -> int:
        """Give samples of an older version of a function to its latest, all or nothing; return how many.

        `version` says which older one, if not the one before; `to` gives them to a function of another name, after a
        rename. Where both have samples the adopted ones come after, and what a namespace has drawn stays drawn.
        """
        from memollm._adopt import adopt

        return adopt(self.store, self.engine.codec, name, to=to, version=version)

    def _require(self, namespace: str, *, done: bool) -> None:
        require_name("namespace", namespace)
        if not done:
            known = ", ".join(repr(known.name) for known in self.namespaces()) or "none"
            raise OptionError(f"{self!r} has no namespace {namespace!r} (it has: {known}).")

    def close(self) -> None:
        """Close the files; functions that use this cache cannot draw any more."""
        self.engine.close()


def _may_pickle() -> bool:
    return configuration.get("pickle") is not False


def _text(place: Place | Store) -> str | Store:
    return fspath(place) if isinstance(place, PathLike) else place


def store_at(place: Place | None, *, allow_network: bool = False) -> Store:
    """Make the store for a path or a URL."""
    if place == "memory:":
        from memollm.stores.memory import MemoryStore

        return MemoryStore()
    # Imported on first need, as every other store than the one in use is.
    from memollm.stores.sqlite import SqliteStore

    text = str(default_place() if place is None else fspath(place))
    require_place(text)
    return SqliteStore(Path(text), allow_network=allow_network)


def require_place(place: object) -> None:
    """Refuse what names no place, and the URL of a store that there is not."""
    text = fspath(cast("Place", place)) if isinstance(place, str | PathLike) else ""
    if "://" in text or not text.strip():
        raise OptionError(f"cache={place!r}: memollm knows paths, 'memory:' and Cache objects.")


def _reopened(place: Place | None, allow_network: bool) -> Cache:  # noqa: FBT001 - pickle hands over positions
    """Open the cache of another process in this one."""
    return Cache(place, allow_network=True) if allow_network else open_cache(place)


_opened: dict[str, Cache] = {}
_opening = threading.Lock()


def open_cache(place: Place | None = None) -> Cache:
    """Return the one cache of this process at a place; without one, the configured or the project's."""
    if place is None:
        place = configuration.get("cache")
        if isinstance(place, Cache):
            return place
    if place is not None:
        require_place(place)
    key = "memory:" if place == "memory:" else str(Path(fspath(place or default_place())).expanduser().absolute())
    with _opening:
        if key not in _opened or _opened[key].engine.closed:
            _opened[key] = Cache("memory:" if place == "memory:" else key)
        return _opened[key]
