"""The one engine that a process shares for a path or URL, and which store that names."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast

from memollm._calls.configuration import configuration, default_place, holds_for
from memollm._calls.tiers import require_server_before, require_tier, tiered
from memollm._draws.engine import Engine
from memollm._types.children import is_child
from memollm._types.locks import ForkedLock
from memollm._types.paths import absolute
from memollm._types.secret import masked_url, veiled
from memollm._types.warn import warn
from memollm._values.signing import VARIABLE
from memollm.errors import MemollmWarning, OptionError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._values.codec import Codec
    from memollm.stores.drawing import Drawing as Store
    from memollm.stores.s3.store import BucketStore

Place = str | PathLike[str]
MEMORY = "memory:"
POSTGRES: Final = frozenset({"postgresql", "postgres"})
REDIS: Final = frozenset({"redis", "rediss", "valkey", "valkeys"})
BUCKETS: Final = frozenset({"s3"})
"""The schemes of URLs that name a store; with a bucket, a store of this machine exchanges samples."""


class Holder(Protocol):
    """Whoever has an engine, such as a `Cache`: what a function can be told to keep its samples in."""

    def __memollm_engine__(self) -> Engine:
        """Return it."""
        ...


def require_place(place: object) -> None:
    """Refuse what names no place, and the URL of a store that there is not."""
    text = fspath(cast("Place", place)) if isinstance(place, str | PathLike) else ""
    if ("://" in text and not is_server(text)) or text.strip() in {"", ":memory:"}:
        # A URL may hold a password, which must not be in a log.
        raise OptionError(
            f"cache={masked_url(f'{place!r}')}: memollm knows paths, 'memory:', postgresql://, redis:// and s3:// "
            "URLs and Cache objects. "
            "Give the path of a folder or file, or the URL of a server or a bucket."
        )


def is_server(place: str) -> bool:
    """Tell whether a place is the URL of a server that can be a store, or of a bucket."""
    return place.partition("://")[0] in POSTGRES | REDIS | BUCKETS and "://" in place


def _is_bucket(place: str) -> bool:
    return place.partition("://")[0] in BUCKETS and "://" in place


def require_cache(given: object) -> None:
    """Refuse what is neither a cache nor a place for one."""
    if not _holds(given):
        require_place(given)


def engine_of(given: Holder | Place | None, *, tier: str | None = None) -> Engine:
    """Return the engine of a cache, or the one of this process at a place; without one, the configured or project's."""
    if given is None:
        given = configuration.get("cache")
    if _holds(given):
        return cast("Holder", given).__memollm_engine__()
    return _shared(cast("Place | None", given), tier)


def limits_of_program() -> Engine:
    """Return the engine in which it is counted what the whole program spends: that of the configured cache."""
    engine = engine_of(None)
    if engine.path is None and is_child():
        raise OptionError(
            f"The budget of the program is counted in {engine.place}, which no other process reaches, so it cannot "
            "hold for this child of multiprocessing. Let a path be the cache: MEMOLLM_CACHE, or configure(cache=...)."
        )
    return engine


def _holds(given: object) -> bool:
    return hasattr(type(given), "__memollm_engine__")


_opened: dict[str, Engine] = {}
_opening = ForkedLock()


def _shared(place: Place | None, tier: str | None) -> Engine:
    if place is not None:
        require_place(place)
    where = _where(default_place() if place is None else place)
    tier = tier_before(where, tier)
    known_as = where if tier is None else f"{where}\n{tier}"
    with _opening:
        while (found := _opened.get(known_as)) is None or found.closed:
            made = make_engine(where, tier=tier)
            # Whoever has interrupted this thread may have made one, too.
            if _opened.get(known_as) is found:
                _opened[known_as] = made
        return found


def tier_before(place: object, given: object = None) -> str | None:
    """Return the tier before a cache: the one that was given, or before a server the configured one."""
    may_have = isinstance(place, str) and is_server(place) and not _is_bucket(place)
    if given is None:
        return cast("str | None", configuration.get("tier")) if may_have else None
    tier = require_tier("tier", given)
    if not may_have:
        require_server_before(tier, place)
    return tier


def _where(place: Place) -> str:
    """Return how this process knows a place: relative paths of one folder are not those of another."""
    named = fspath(place)
    return named if named == MEMORY or is_server(named) else str(absolute(named))


def make_engine(
    place: Place | Store | None,
    *,
    tier: object = None,
    allow_network: bool = False,
    clock: Callable[[], float] = time.time,
) -> Engine:
    """Make an engine of one's own for a place or a store; nothing is opened or made before its first use."""
    # What no import of the package needs is imported with the first cache.
    from memollm._values.codec import Codec

    named = fspath(place) if isinstance(place, PathLike) else place
    before = tier_before(str(default_place()) if named is None else named, tier)
    store = _store_at(named, allow_network=allow_network) if isinstance(named, str | None) else named
    if before is not None:
        store = tiered(store, cast("str", named), before)
    tidy = partial(_keep_within_limits, store, _path(named), clock)
    codec = Codec(pickle=_may_pickle)
    if isinstance(named, str) and _is_bucket(named):
        _exchange(cast("BucketStore", store), codec)
    shown = veiled(f"memollm.Cache({shown_place(named)!r}{shown_tier(before)})")
    return Engine(store, codec, clock, place=shown, path=_path(named), tidy=tidy)


def shown_place(place: str | Store | None) -> str | Store | None:
    """Return what may be shown of a place."""
    return masked_url(place) if isinstance(place, str) and "://" in place else place


def shown_tier(tier: str | None) -> str:
    """Return what may be shown of a tier, as the user would write it."""
    return "" if tier is None else f", tier={masked_url(tier)!r}"


def _path(place: str | Store | None) -> str | None:
    """Return what `memollm --cache` takes for a cache: nothing reaches the memory of a process."""
    if not isinstance(place, str | None) or place == MEMORY:
        return None
    place = str(default_place()) if place is None else place
    return place if "://" in place else str(absolute(place))


def _store_at(place: str | None, *, allow_network: bool) -> Store:
    if place == MEMORY:
        from memollm.stores.memory.store import MemoryStore

        return MemoryStore()
    # Imported on first need, as every other store than the one in use is.
    if place is not None and _is_bucket(place):
        return _bucket_store(place)
    if place is not None and is_server(place):
        return _server_store(place)
    from memollm.stores.sqlite.store import SqliteStore

    place = str(default_place()) if place is None else place
    require_place(place)
    return SqliteStore(Path(place), allow_network=allow_network)


def _bucket_store(url: str) -> Store:
    from memollm.stores.s3.address import bucket_address
    from memollm.stores.s3.store import BucketStore

    store = BucketStore(bucket_address(url))
    _tell_of_sharing(store.address.shown)
    return store


def _exchange(store: BucketStore, codec: Codec) -> None:
    """Let a store exchange samples with its bucket."""
    try:
        from memollm.stores.s3.bucket import Bucket
    except ImportError as error:
        raise _needs(store.address.shown, "obstore", "s3", error) from error
    from memollm._upkeep.exchange import BucketExchange

    store.exchange = BucketExchange(store, codec, Bucket(store.address), every=store.address.every)


def _server_store(url: str) -> Store:
    kind = _redis_at if url.partition("://")[0] in REDIS else _postgres_at
    store = kind(url)
    _tell_of_sharing(masked_url(url))
    return store


def _tell_of_sharing(shown: str) -> None:
    """Say once that a cache of several users needs a key that all of them have."""
    if not os.environ.get(VARIABLE):
        warn(
            f"The cache {shown} is shared, and {VARIABLE} is not set: objects of classes are signed by this "
            "user's own key, and others of the team cannot read them. Make one secret and give it to all of them: "
            "python -c 'import secrets; print(secrets.token_hex(32))'.",
            MemollmWarning,
        )


def _postgres_at(url: str) -> Store:
    try:
        from memollm.stores.postgres.store import PostgresStore
    except ImportError as error:
        raise _needs(url, "psycopg", "postgres", error) from error
    return PostgresStore(url)


def _redis_at(url: str) -> Store:
    try:
        from memollm.stores.redis.store import RedisStore
    except ImportError as error:
        raise _needs(url, "redis", "redis", error) from error
    return RedisStore(url)


def _needs(url: str, client: str, extra: str, error: ImportError) -> OptionError:
    return OptionError(f"cache={masked_url(url)!r} needs {client} ({error}): pip install 'memollm[{extra}]'.")


def _may_pickle() -> bool:
    return configuration.get("pickle") is not False


def _keep_within_limits(store: Store, place: str | None, clock: Callable[[], float]) -> None:
    """Evict what the configuration says is too much, if it says so."""
    options = [configuration.said(option) for option in ("max_bytes", "max_samples", "max_age")]
    said = [option.value if holds_for(option, place) else None for option in options]
    if any(limit is not None for limit in said):
        from memollm._upkeep.prune import limits_of, prune, silent

        max_bytes, max_samples, max_age = said
        limits = limits_of(max_bytes=max_bytes, max_samples=max_samples, older_than=max_age)
        # What cannot be done now is done the next time.
        with suppress(StoreError):
            prune(store, limits, policy="lru", now=clock(), dry_run=False, told=silent)
