"""What a Redis server must be to keep samples, and what is said of one that is not."""

from __future__ import annotations

import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import BusyLoadingError, ReadOnlyError, ResponseError

from memollm.errors import StoreRefused
from memollm.stores.redis.scripts import SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memollm.stores.redis.address import RedisAddress
    from memollm.stores.redis.connections import Channel, ServerWay

OLDEST: Final = (6, 2)
OLDEST_THAT_WAITS: Final = (7, 2)
"""From which version on a client can wait until what it wrote is on the disk."""
VALKEY_BEGAN_AS: Final = (7, 2)


def is_of_cluster(wire: Channel) -> bool:
    """Tell whether a server is a node of a cluster."""
    try:
        return _info(wire, "cluster").get("cluster_enabled") == "1"
    except ResponseError:
        # Who may not ask finds out by the first key that is elsewhere.
        return False


def require_known_server(wire: Channel, address: RedisAddress) -> bool:
    """Refuse what cannot be used; tell whether each write is to be waited for until it is on the disk."""
    info, shown = _info(wire), address.shown
    if info.get("cluster_enabled") == "1":
        shown = f"{shown} (its node {address.options['host']}:{address.options['port']})"
    version = _version(info)
    if version < OLDEST:
        raise StoreRefused(
            f"The server of the cache {shown} is Redis {info.get('redis_version')}; memollm needs 6.2 or"
            " newer, or Valkey."
        )
    if info.get("redis_mode") == "sentinel":
        raise StoreRefused(f"What answers at {shown} is a sentinel, which keeps no data. Name the server in the URL.")
    if info.get("role") == "slave":
        if info.get("cluster_enabled") == "1":
            raise ReadOnlyError("it is a replica by now")
        raise StoreRefused(f"The server of the cache {shown} is a replica and takes no writes. Name the primary.")
    _require_keeping(info, shown)
    return _requires_waiting(wire, version, shown, may_lose_a_second=address.may_lose_a_second)


def _require_keeping(info: Mapping[str, str], shown: str) -> None:
    """Refuse a server that forgets: when its memory is full, or when it ends."""
    policy = info.get("maxmemory_policy", "noeviction")
    if policy.startswith("allkeys"):
        raise StoreRefused(
            f"The server of the cache {shown} evicts whatever it likes when its memory is full (maxmemory-policy "
            f"{policy}), so positions that were given would come again. Set: CONFIG SET maxmemory-policy noeviction, "
            "and the same in its redis.conf."
        )
    if info.get("loading") == "1":
        raise BusyLoadingError("it still reads its files")
    if info.get("aof_enabled") != "1":
        raise StoreRefused(
            f"The server of the cache {shown} keeps no append-only file (appendonly no), so a crash would lose samples "
            "that were paid for. Set: CONFIG SET appendonly yes and CONFIG SET appendfsync always, and the same in its "
            "redis.conf."
        )


def _requires_waiting(wire: Channel, version: tuple[int, ...], shown: str, *, may_lose_a_second: bool) -> bool:
    """Tell whether each write is to be waited for; refuse where none is sure to reach the disk."""
    syncs = _setting(wire, "appendfsync")
    if _setting(wire, "no-appendfsync-on-rewrite") == "yes":
        syncs = "no"
    if syncs == "always" or (may_lose_a_second and syncs != "no"):
        return False
    if version >= OLDEST_THAT_WAITS and syncs != "no":
        return True
    raise StoreRefused(
        f"The server of the cache {shown} writes to its disk only now and then (appendfsync "
        f"{syncs or 'unknown'}), so a power cut could lose samples that were paid for and give positions again. Set: "
        "CONFIG SET appendfsync always, and the same in its redis.conf, with no-appendfsync-on-rewrite no; or, with "
        "appendfsync everysec, accept the loss of a second by adding ?durability=second to the URL."
    )


def require_known_schema(way: ServerWay | Channel, books: str, shown: str, *, writes: bool) -> str:
    """Refuse what a newer version has written; return by what a cache is known again, which is begun if it may be."""
    if writes:
        way.value("HSETNX", f"{books}:about", "version", SCHEMA_VERSION)
        way.value("HSETNX", f"{books}:about", "id", secrets.token_hex(8))
    found: Any = way.value("HGET", f"{books}:about", "version")
    if found is not None and int(found) > SCHEMA_VERSION:
        raise StoreRefused(
            f"The cache {shown} was made by a newer memollm (schema {int(found)}, this one knows {SCHEMA_VERSION}). "
            "Update memollm: pip install --upgrade memollm."
        )
    known_as: bytes | None = way.value("HGET", f"{books}:about", "id")
    return (known_as or b"").decode()


def _info(wire: Channel, *sections: str) -> dict[str, str]:
    text: Any = wire.value("INFO", *sections)
    lines = text.decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line and not line.startswith("#"))


def _version(info: Mapping[str, str]) -> tuple[int, ...]:
    """Return the version of Redis that a server is as good as."""
    with suppress(ValueError):
        if "valkey_version" in info:
            return VALKEY_BEGAN_AS
        return tuple(map(int, info.get("redis_version", "0").split(".")[:2]))
    return (0,)


def _setting(wire: Channel, name: str) -> str | None:
    """Read a setting; None where the server does not tell, as some that are rented do not."""
    with suppress(ResponseError):
        answer: Any = wire.value("CONFIG", "GET", name)
        return answer[1].decode() if answer else None
    return None
