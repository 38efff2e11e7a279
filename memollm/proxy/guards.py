"""Who is let in: the token, the names under which the server is asked, and no page of another origin."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final

from memollm._serving.askers import is_foreign, is_loopback, name_of
from memollm.proxy.controls import TOKEN
from memollm.proxy.refusals import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm.proxy.settings import ProxySettings

MOST: Final = 65_536
"""Bytes of headers."""


def require_welcome(settings: ProxySettings, headers: Sequence[tuple[bytes, bytes]], *, is_open: bool) -> None:
    """Refuse who must not be answered; what is open needs no token."""
    if sum(len(name) + len(value) for name, value in headers) > MOST:
        raise Declined(431, "headers_too_large", f"The headers have more than {MOST:,} bytes.")
    said = dict(headers)
    host = said.get(b"host", b"").decode("latin-1")
    _require_host(settings, host)
    _require_own_origin(said, host)
    if settings.token is not None and not is_open:
        given = said.get(TOKEN, b"")
        if not hmac.compare_digest(given, settings.token.encode()):
            why = "is wrong" if given else "is missing"
            raise Declined(401, "bad_token", f"The header x-memollm-token {why}: this proxy was started with --token.")


def _require_host(settings: ProxySettings, host: str) -> None:
    """Refuse a name that is not ours: a page could have one that leads here, and reach what is not meant for it."""
    name = name_of(host)
    if settings.is_local and not is_loopback(name) and name not in {each.lower() for each in settings.hosts}:
        raise Declined(
            403,
            "bad_host",
            f"This proxy does not know itself as {name[:100]!r}. Ask {settings.host}, or start it with --allow-host.",
        )


def _require_own_origin(said: dict[bytes, bytes], host: str) -> None:
    """Refuse pages of other origins: the user's browser would ask in the user's name."""
    if is_foreign(said, host):
        raise Declined(403, "bad_origin", "A page of another origin asks, and this proxy answers programs alone.")
