"""The URL of a Redis or Valkey store: how its connections are made, and what may be shown of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from redis import connection as client

from memollm.stores.addresses import said_by_url

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SCHEMES: Final[Mapping[str, str]] = {
    "redis": "redis",
    "rediss": "rediss",
    "valkey": "redis",
    "valkeys": "rediss",
}
OURS: Final = ("prefix", "lease", "durability", "pool", "patience")
"""What the URL says to us, and not to the client."""
PREFIX: Final = re.compile(r"[A-Za-z0-9_.-]{1,40}")
PORT: Final = 6379
LEASE: Final = 15.0
"""Seconds after which a process that has said nothing is taken for dead."""
LEAST_LEASE: Final = 0.5
LONGEST_LEASE: Final = 3600.0
SECOND: Final = "second"
KEPT: Final[Mapping[str, Any]] = {
    "socket_connect_timeout": 10.0,
    "socket_timeout": 20.0,
    "socket_keepalive": True,
    "client_name": "memollm",
    # What is told on a subscription is read as any answer.
    "protocol": 2,
}


class Node(NamedTuple):
    """A server, alone or of a cluster."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisAddress(NamedTuple):
    """Where a store is."""

    url: str
    """As it was given."""
    nodes: Sequence[Node]
    """Those that the URL names: more than one only of a cluster, which is asked for the others."""
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

    @property
    def is_encrypted(self) -> bool:
        """Whether it is reached by TLS."""
        return self.shown.startswith(("rediss://", "valkeys://"))

    @property
    def other_scheme(self) -> str:
        """How a URL begins that differs in this alone."""
        scheme = self.shown.partition("://")[0]
        return scheme[:-1] if self.is_encrypted else f"{scheme}s"

    def at(self, node: Node, *, within: float | None = None) -> RedisAddress:
        """Return how a node is reached; it may be that it is to answer within some seconds."""
        options: dict[str, Any] = {**self.options, "host": node.host, "port": node.port}
        if within is not None:
            for name in ("socket_timeout", "socket_connect_timeout"):
                set_to: float | None = options.get(name)
                options[name] = within if set_to is None else min(within, set_to)
        return self._replace(options=options)


def address_of(url: str) -> RedisAddress:
    """Read a URL."""
    said = said_by_url(url, OURS)
    prefix, durability = said.ours.get("prefix", "memollm"), said.ours.get("durability")
    nodes, plain = _nodes(said.url, said.refuse)
    options = _options(plain, said.refuse)
    if not PREFIX.fullmatch(prefix):
        raise said.refuse("a prefix has up to 40 letters, digits, points, dashes and underscores; choose another.")
    if durability not in {None, SECOND}:
        raise said.refuse("durability= may be 'second', which takes a server that writes to its disk every second.")
    return RedisAddress(
        url,
        nodes,
        {**KEPT, **options},
        # What is told is told in all databases of a server.
        f"{prefix}@{options['db']}" if options.get("db") else prefix,
        said.number("lease", LEASE, least=LEAST_LEASE, most=LONGEST_LEASE),
        durability == SECOND,
        said.pool,
        said.patience,
        said.shown,
    )


def _nodes(url: str, refuse: Any) -> tuple[list[Node], str]:
    """Read the servers that a URL names; return it with the first alone, too."""
    parts = urlsplit(url)
    user, at, hosts = parts.netloc.rpartition("@")
    try:
        named = [urlsplit(f"//{each}") for each in hosts.split(",")]
        nodes = [Node(each.hostname or "", each.port or PORT) for each in named]
    except ValueError as error:
        raise refuse(f"{error}.") from None
    if not all(node.host for node in nodes):
        raise refuse("it names no server. Write it as redis://host:6379/0.")
    return nodes, urlunsplit(parts._replace(netloc=user + at + hosts.partition(",")[0]))


def _options(url: str, refuse: Any) -> dict[str, Any]:
    scheme, _, rest = url.partition("://")
    database = urlsplit(url).path.strip("/")
    if database and not database.isdecimal():
        raise refuse(f"/{database} is no database: Redis numbers them, 0, 1, 2, …")
    try:
        parse: Any = client.parse_url  # type: ignore[no-untyped-call, unused-ignore]
        read: Any = parse(f"{SCHEMES[scheme]}://{rest}")
    except ValueError as error:
        raise refuse(f"{error}.") from None
    return dict(read)
