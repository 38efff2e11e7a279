"""Who asks: under which name, and from which page."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREIGN: Final = frozenset({b"cross-site", b"same-site"})
"""What a browser says of requests that a page of another origin has made."""


def is_loopback(host: str) -> bool:
    """Tell whether a name or an address is this machine's own."""
    bare = host.strip("[]").lower()
    try:
        return ipaddress.ip_address(bare).is_loopback
    except ValueError:
        return bare == "localhost" or bare.endswith(".localhost")


def name_of(host: str) -> str:
    """Return a host without its port."""
    if host.startswith("["):
        return host.partition("]")[0].lower() + "]"
    return host.rpartition(":")[0].lower() if ":" in host else host.lower()


def is_foreign(said: Mapping[bytes, bytes], host: str) -> bool:
    """Tell whether a page of another origin has made a request, which the user's browser makes in the user's name."""
    origin = said.get(b"origin")
    is_other = origin is not None and _host_of(origin.decode("latin-1")) != host.lower()
    return is_other or said.get(b"sec-fetch-site") in FOREIGN


def _host_of(origin: str) -> str | None:
    """Return the host of an origin, with its port; None where it is none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None
