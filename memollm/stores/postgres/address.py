"""The URL of a PostgreSQL store: how its connections are made, and what may be shown of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from psycopg import pq

from memollm.stores.addresses import said_by_url, unknown_parameter

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("postgresql", "postgres")
OURS: Final = ("schema", "direct", "pool", "patience")
"""What the URL says to us, and not to PostgreSQL."""
NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
KEPT: Final[Mapping[str, Any]] = {
    # A machine that is gone without a word is noticed within half a minute.
    "connect_timeout": 10,
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "memollm",
}


class Address(NamedTuple):
    """Where a store is."""

    url: str
    """As it was given."""
    conninfo: str
    direct: str
    """For the one connection that holds locks and listens, which no pooler may share."""
    is_direct_given: bool
    schema: str
    pool: int
    patience: float
    shown: str
    """The URL without its password."""

    def __repr__(self) -> str:
        return f"Address({self.shown!r})"


def address_of(url: str) -> Address:
    """Read a URL."""
    said = said_by_url(url, OURS)
    schema = said.ours.get("schema", "memollm")
    if not NAME.fullmatch(schema):
        raise said.refuse("a schema's name has up to 40 letters, digits and underscores; choose another ?schema=.")
    theirs = {"ssl", *(option.keyword.decode() for option in pq.Conninfo.get_defaults())}
    for name, _ in parse_qsl(urlsplit(said.url).query, keep_blank_values=True):
        if name not in theirs:
            raise said.refuse(unknown_parameter(name, (*OURS, *sorted(theirs))))
    if urlsplit(said.url).netloc.count("@") > 1:
        raise said.refuse_unread()
    direct = said.ours.get("direct")
    return Address(
        url,
        said.url,
        _direct(direct, said.url) if direct else said.url,
        direct is not None,
        schema,
        said.pool,
        said.patience,
        said.shown,
    )


def _direct(direct: str, conninfo: str) -> str:
    """Return the URL of the direct connection: given as such, or as another host and port."""
    if "://" in direct:
        return direct
    parts = urlsplit(conninfo)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{direct}" if user else direct))
