"""Who is let in: whoever has the token, under a name of this machine, and no page of another origin."""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING, Final

from memollm._serving.askers import is_foreign, is_loopback, name_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

TOKEN: Final = b"x-memollm-token"
WITHOUT: Final = "This page needs the token of its address: open the address that `memollm ui` has written."


class NotLetIn(Exception):
    """A request is not answered; the message says why."""

    def __init__(self, message: str, status: int = 403) -> None:
        super().__init__(message)
        self.status = status


class Gate:
    """The token of the address, and the cookie that a browser has for it."""

    def __init__(self, token: str | None = None) -> None:
        self.token = token or secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)

    def require(self, headers: Sequence[tuple[bytes, bytes]], *, opens: bool) -> str:
        """Refuse who must not be answered; return the name under which the server is asked.

        `opens` is for the page itself: links to it may stand on other pages, and what it shows is asked for by itself.
        """
        said = dict(headers)
        host = said.get(b"host", b"").decode("latin-1")
        if not is_loopback(name_of(host)):
            raise NotLetIn(
                f"This server is asked as {name_of(host)[:100]!r}, and answers as 127.0.0.1 or localhost alone."
            )
        if is_foreign(said, host) and not (opens and _is_followed(said)):
            raise NotLetIn("A page of another origin asks, and this server answers its own page alone.")
        return host

    def require_known(self, headers: Sequence[tuple[bytes, bytes]], host: str) -> None:
        """Refuse who has neither the token nor its cookie."""
        said = dict(headers)
        given = said.get(TOKEN)
        if given is not None and self.is_token(given):
            return
        cookie = b"; ".join(value for name, value in headers if name == b"cookie").decode("latin-1")
        if not hmac.compare_digest(_cookie(cookie, name_of_cookie(host)).encode(), self._session.encode()):
            raise NotLetIn(WITHOUT)

    def is_token(self, given: bytes) -> bool:
        """Tell whether a token is the right one."""
        return hmac.compare_digest(given, self.token.encode())

    def cookie(self, host: str) -> str:
        """Return the header by which a browser has its cookie; no script reads it, no other site's request bears it."""
        return f"{name_of_cookie(host)}={self._session}; Path=/; HttpOnly; SameSite=Lax"


def _is_followed(said: Mapping[bytes, bytes]) -> bool:
    """Tell whether somebody followed a link in a tab of theirs."""
    return (
        said.get(b"sec-fetch-mode") == b"navigate"
        and said.get(b"sec-fetch-dest") == b"document"
        and b"origin" not in said
    )


def name_of_cookie(host: str) -> str:
    """Return the cookie's name, which tells servers on other ports of this machine apart: browsers do not."""
    port = host.rpartition(":")[2]
    return f"memollm-ui-{port if port.isdecimal() else 80}"


def _cookie(header: str, name: str) -> str:
    """Find a cookie beside those of other programs of this machine, which may be written in any way."""
    given = (each.strip().partition("=") for each in header.split(";"))
    return next((value for known, _, value in given if known == name), "")
