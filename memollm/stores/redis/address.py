"""The URL of a Redis or Valkey store: how its connections are made, and what may be shown of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from redis import connection as client

from memollm.stores.addresses import said_by_url

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final[Mapping[str, str]] = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
}
OURS: Final = ("prefix", "lease", "durability", "pool", "patience")
"""What the URL says to us, and not to the client."""
PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
LEASE: Final = 15.0
"""Seconds after which a process that has said nothing is taken for dead."""
LEAST_LEASE: Final = 0.5
LONGEST_LEASE: Final = 3600.0
POOL: Final = 8
"""How many connections a process has at most, besides the one that listens."""
PATIENCE: Final = 20.0
"""Seconds for which a process tries to reach a server again that it has lost."""
SECOND: Final = "second"
KEPT: Final[Mapping[str, Any]] = {
    "socket_connect_timeout": 10.0,
    "socket_timeout": 20.0,
    "socket_keepalive": True,
    "client_name": "memollm",
    # What is told on a subscription is read as any answer.
    "protocol": 2,
}


class RedisAddress(NamedTuple):
    """Where a store is."""

    url: str
    """As it was given."""
    options: Mapping[str, Any]
    """For connections of the client."""
    prefix: str
    lease: float
    may_lose_a_second: bool
    pool: int
    patience: float
    shown: str
    """The URL without its password."""

    def __repr__(self) -> str:
        return f"RedisAddress({self.shown!r})"


def address_of(url: str) -> RedisAddress:
    """Read a URL."""
    said = said_by_url(url, OURS)
    prefix, durability = said.ours.get("prefix", "memollm"), said.ours.get("durability")
    options = _options(said.url, said.refuse)
    if not PREFIX.fullmatch(prefix):
        raise said.refuse("a prefix has up to 40 letters, digits, points, dashes and underscores; choose another.")
    if durability not in {None, SECOND}:
        raise said.refuse("durability= may be 'second', which takes a server that writes to its disk every second.")
    return RedisAddress(
        url,
        {**KEPT, **options},
        # What is told is told in all databases of a server.
        f"{prefix}@{options['db']}" if options.get("db") else prefix,
        said.number("lease", LEASE, least=LEAST_LEASE, most=LONGEST_LEASE),
        durability == SECOND,
        int(said.number("pool", POOL, least=1)),
        said.number("patience", PATIENCE),
        said.shown,
    )


def _options(url: str, refuse: Any) -> dict[str, Any]:
    scheme, _, rest = url.partition("://")
    if not urlsplit(url).hostname:
        raise refuse("it names no server. Write it as redis://host:6379/0.")
    database = urlsplit(url).path.strip("/")
    if database and not database.isdecimal():
        raise refuse(f"/{database} is no database: Redis numbers them, 0, 1, 2, …")
    try:
        parse: Any = client.parse_url  # type: ignore[no-untyped-call, unused-ignore]
        read: Any = parse(f"{SCHEMES[scheme]}://{rest}")
    except ValueError as error:
        raise refuse(f"{error}.") from None
    return dict(read)
