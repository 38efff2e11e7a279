"""The URL of a PostgreSQL store: how its connections are made, and what may be shown of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from memollm._types.secret import masked_url
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping

SCHEMES: Final = ("postgresql", "postgres")
OURS: Final = ("schema", "direct", "pool", "patience")
"""What the URL says to us, and not to PostgreSQL."""
POOL: Final = 8
"""How many connections a process has at most, besides its direct one."""
PATIENCE: Final = 20.0
"""Seconds for which a process tries to reach a server again that it has lost."""
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
    shown = masked_url(url)
    parts = urlsplit(url)
    try:
        given = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise OptionError(f"cache={shown!r}: the part after the question mark is not of the form name=value.") from None
    ours = {name: value for name, value in given if name in OURS}
    theirs = [(name, value) for name, value in given if name not in OURS]
    schema = ours.get("schema", "memollm")
    if not NAME.fullmatch(schema):
        raise OptionError(
            f"cache={shown!r}: a schema's name has up to 40 letters, digits and underscores; choose another ?schema=."
        )
    conninfo = urlunsplit(parts._replace(query=urlencode(theirs, quote_via=quote)))
    direct = ours.get("direct")
    return Address(
        url,
        conninfo,
        _direct(direct, conninfo) if direct else conninfo,
        direct is not None,
        schema,
        int(_number(ours, "pool", POOL, shown)),
        _number(ours, "patience", PATIENCE, shown),
        shown,
    )


def _direct(direct: str, conninfo: str) -> str:
    """Return the URL of the direct connection: given as such, or as another host and port."""
    if "://" in direct:
        return direct
    parts = urlsplit(conninfo)
    user = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{user}@{direct}" if user else direct))


def _number(given: Mapping[str, str], name: str, default: float, shown: str) -> float:
    value = given.get(name)
    if value is None:
        return default
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not number >= (name == "pool"):
        raise OptionError(f"cache={shown!r}: {name}={value!r} is not a number that it can be.")
    return number
