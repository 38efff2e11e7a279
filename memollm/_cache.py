"""Cache: a store with its codec, and what a user does with it besides drawing."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, TypeVar, cast

from memollm._configuration import configuration, default_place, require_name
from memollm._context import reader_name
from memollm._engine import Engine
from memollm._locks import ForkedLock
from memollm.errors import OptionError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta

    from memollm._import import Imported
    from memollm._model import Item
    from memollm._progress import Told
    from memollm._prune import Policy, Pruned
    from memollm._stats import Stats
    from memollm._transfer import Exported, Loaded
    from memollm._typing import Decorate
    from memollm._verify import Verified
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
        self._reading: Engine | None = None
        codec = Codec(pickle=_may_pickle)
        tidy = partial(_keep_within_limits, store, clock)
        self.engine = Engine(store, codec, clock, place=f"memollm.{self!r}", path=self._path(), tidy=tidy)

    def _path(self) -> str | None:
        """Return what `memollm --cache` takes for this cache: nothing reaches the memory of a process."""
        if not isinstance(self._place, str | None) or self._place == "memory:":
            return None
        place = str(default_place()) if self._place is None else self._place
        return place if "://" in place else str(Path(place).expanduser().absolute())

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
    def reading(self) -> Engine:
        """The engine of draws that are to change nothing here."""
        # One for all threads: what one of them has drawn is not for the others.
        with _opening:
            engine = self.engine
            if engine.closed:
                return engine
            if self._reading is None:
                store = reading_store(self.store)
                self._reading = Engine(store, engine.codec, engine.clock, place=engine.place, path=engine.path)
            return self._reading

    @property
    def cached_llm(self) -> Decorate:
        """The decorator `cached_llm`, for functions that keep their samples here."""
        from memollm._decorator import CachedLlm

        return cast("Decorate", CachedLlm(self))

    def stats(self, by: str = "function") -> Stats:
        """Tell what was drawn, paid and saved, by "function", "namespace", "run" or "day", over all processes."""
        from memollm._stats import stats_of

        return stats_of(self.engine.counted(), by)

    def _repr_html_(self) -> str:
        from memollm._tables import html_table

        head = ("function", "calls", "samples", "bytes")
        of: dict[str, list[Item]] = {}
        for item in self.store.inventory():
            of.setdefault(item.function, []).append(item)
        rows = [
            (name, f"{len(items):,}", f"{sum(i.samples for i in items):,}", f"{sum(i.bytes for i in items):,}")
            for name, items in sorted(of.items())
        ]
        return html_table(head, rows, title=repr(self))

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

    def prune(
        self,
        *,
        max_bytes: float | str | None = None,
        max_samples: int | None = None,
        older_than: float | str | timedelta | None = None,
        policy: Policy = "lru",
        dry_run: bool = False,
        progress: Told | None = None,
    ) -> Pruned:
        """Remove whole calls until every limit holds, and give their space back to the disk; nothing else ever does.

        With the policy `"lru"` what was used least recently goes first, with `"fifo"` what was made first; the age that
        `older_than` speaks of is counted from that time. `max_bytes` is about samples and arguments as they are stored
        (the file takes somewhat more). A call that somebody is drawing stays, and with `"lru"` one that is used while
        this goes on. Of a call that goes its cursors go too, as with `.forget`: it is drawn anew. `progress` is told
        bytes done and bytes in all, first of what is removed and then of what goes back to the disk.
        """
        from memollm._progress import now_and_then
        from memollm._prune import limits_of, prune, require_policy

        limits = limits_of(max_bytes=max_bytes, max_samples=max_samples, older_than=older_than)
        require_policy(policy)
        # What this process has used counts before anything goes.
        self.engine.keeper.hand_over()
        told, now = now_and_then(progress), self.engine.clock()
        return prune(self.store, limits, policy=policy, now=now, dry_run=dry_run, told=told)

    def export(
        self,
        path: Place,
        *,
        function: str | None = None,
        namespace: str | None = None,
        run: str | None = None,
        progress: Told | None = None,
    ) -> Exported:
        """Write everything, or what is stored of a function, or what a namespace or a run has used, into a file.

        The file's name ends in .jsonl, .jsonl.gz or .jsonl.zst. `run="last"` is the run that began last. `progress` is
        told now and then how many samples of how many were looked at.
        """
        from memollm._progress import now_and_then
        from memollm._transfer import export

        self.engine.keeper.hand_over()
        told = now_and_then(progress)
        return export(self.store, path, told=told, function=function, namespace=namespace, run=run)

    def load(self, path: Place, *, progress: Told | None = None) -> Loaded:
        """Bring in what a file holds that `export` wrote; what is here already is neither doubled nor reordered.

        `progress` is told now and then how many samples of how many were brought in.
        """
        from memollm._progress import now_and_then
        from memollm._transfer import load

        return load(self.store, path, told=now_and_then(progress))

    def import_from(
        self,
        kind: str,
        path: Place,
        *,
        map: Callable[[Any, Any], Any] | None = None,  # noqa: A002 - the user's word
        function: Callable[..., Any] | None = None,
        trust: bool = False,
        progress: Told | None = None,
    ) -> Imported:
        """Take over what another cache holds: "diskcache", "langchain", "lm-eval" or "cachesaver".

        `map` is given each old key and value and returns the call, as (function, args, kwargs), or None to leave it
        out; a fourth element takes the value's place. With `function` instead, the key itself holds the arguments.
        Old pickles can run code: they are loaded only with `trust=True`. Samples that are here are not doubled.
        """
        from memollm._import import take
        from memollm._progress import now_and_then

        told = now_and_then(progress)
        return take(self, kind, path, map=map, function=function, trust=trust, told=told)

    def verify(self, *, repair: bool = False, progress: Told | None = None) -> Verified:
        """Check what is stored: structure, keys, records, signatures, and rows that belong to nothing.

        With `repair`, everything is copied first; then what can be read stays, what cannot be used is moved into a file
        beside the cache, and what belongs to nothing goes. `progress` is told how many samples of how many are checked.
        """
        from memollm._progress import now_and_then
        from memollm._verify import verify

        return verify(self.store, self.engine.codec, repair=repair, told=now_and_then(progress))

    def _require(self, namespace: str, *, done: bool) -> None:
        require_name("namespace", namespace)
        if not done:
            known = ", ".join(repr(known.name) for known in self.namespaces()) or "none"
            raise OptionError(f"{self!r} has no namespace {namespace!r} (it has: {known}).")

    def close(self) -> None:
        """Close the files; functions that use this cache cannot draw any more."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.close()
        self.engine.close()


def _may_pickle() -> bool:
    return configuration.get("pickle") is not False


def _keep_within_limits(store: Store, clock: Callable[[], float]) -> None:
    """Evict what the configuration says is too much, if it says so."""
    said = [configuration.get(option) for option in ("max_bytes", "max_samples", "max_age")]
    if any(limit is not None for limit in said):
        from memollm._prune import limits_of, prune, silent

        max_bytes, max_samples, max_age = said
        limits = limits_of(max_bytes=max_bytes, max_samples=max_samples, older_than=max_age)
        # What cannot be done now is done the next time.
        with suppress(StoreError):
            prune(store, limits, policy="lru", now=clock(), dry_run=False, told=silent)


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


def reading_store(store: Store) -> Store:
    """Make the store of draws that are to change nothing in another."""
    from memollm.stores.overlay import ReadingStore
    from memollm.stores.sqlite import SqliteStore

    return ReadingStore(store.reader() if isinstance(store, SqliteStore) else store)


def require_place(place: object) -> None:
    """Refuse what names no place, and the URL of a store that there is not."""
    text = fspath(cast("Place", place)) if isinstance(place, str | PathLike) else ""
    if "://" in text or not text.strip():
        # A URL may hold a password, which must not be in a log.
        shown = re.sub("//[^/]*@", "//…@", f"{place!r}")
        raise OptionError(
            f"cache={shown}: memollm knows paths, 'memory:' and Cache objects. Give the path of a folder or file."
        )


def _reopened(place: Place | None, allow_network: bool) -> Cache:  # noqa: FBT001 - pickle hands over positions
    """Open the cache of another process in this one."""
    return Cache(place, allow_network=True) if allow_network else open_cache(place)


_opened: dict[str, Cache] = {}
_opening = ForkedLock()


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
