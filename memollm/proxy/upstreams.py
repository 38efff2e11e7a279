"""Where requests go: the upstreams, which of them is asked, and at which address."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import unquote_to_bytes

import httpx

from memollm.errors import OptionError
from memollm.proxy.refusals import Declined

if TYPE_CHECKING:
    from collections.abc import Sequence

UNSAFE: Final = re.compile(rb"[\x00-\x20\\\x7f-\xff]")
MODEL: Final = re.compile(r"[^/\s=]+")


class Upstream(NamedTuple):
    """A provider, or whoever speaks like one."""

    url: str
    path: str = ""
    """How the paths begin that it is asked for; it is not sent on."""
    model: str = ""
    """How the models' names begin that it is asked for."""


def upstream_of(text: str) -> Upstream:
    """Read "URL", "/path=URL" or "model=URL"."""
    before, equals, after = text.partition("=")
    prefix, url = (before, after) if equals and "://" not in before else ("", text)
    require_upstream(url)
    is_path = prefix.startswith("/")
    if prefix and not (_is_path(prefix) if is_path else MODEL.fullmatch(prefix)):
        raise OptionError(
            f"upstream={text!r}: before = stands how paths begin, as in /anthropic=URL, or models, as in claude-=URL."
        )
    return Upstream(url.rstrip("/"), prefix.rstrip("/"), "") if is_path else Upstream(url.rstrip("/"), "", prefix)


def require_upstream(url: str) -> None:
    """Refuse what cannot be asked."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.query or parsed.fragment or parsed.userinfo:
        # What it says of a user may be a password.
        shown = re.sub("//[^/]*@", "//…@", url)
        raise OptionError(
            f"upstream={shown!r}: it must be an address such as https://api.openai.com/v1, without user, query or #."
        )


def _is_path(prefix: str) -> bool:
    return len(prefix) > 1 and not UNSAFE.search(prefix.encode()) and "//" not in prefix


def chosen(upstreams: Sequence[Upstream], path: bytes, model: str) -> Upstream:
    """Return the upstream of a request: by its path, else by its model, longer beginnings first, else that for all."""
    for upstream in sorted(upstreams, key=lambda each: (-len(each.path), -len(each.model))):
        begins = upstream.path.encode()
        if begins and (path == begins or path.startswith(begins + b"/")):
            return upstream
        if not begins and model.startswith(upstream.model):
            return upstream
    of = f"model {model!r}" if model else "this path"
    raise Declined(404, "no_upstream", f"No upstream of this proxy is for {of}. Start it with one: --upstream URL.")


def address(upstream: Upstream, path: bytes, query: bytes) -> httpx.URL:
    """Return the address of a request at its upstream; what both paths say, "/v1", is said once."""
    base = httpx.URL(upstream.url)
    rest, own = path[len(upstream.path) :], base.raw_path.rstrip(b"/")
    whole = own + rest[_overlap(own, rest) :]
    return base.copy_with(raw_path=whole + b"?" + query if query else whole)


def _overlap(own: bytes, rest: bytes) -> int:
    """Return how much of a path's beginning the upstream's own path ends in, in whole parts of it."""
    for start in [found.start() for found in re.finditer(b"/", own)]:
        ending = own[start:]
        if rest == ending or rest.startswith(ending + b"/"):
            return len(ending)
    return 0


def require_method(method: str) -> None:
    """Refuse to be a tunnel."""
    if method == "CONNECT":
        raise Declined(405, "no_tunnel", "This is no tunnel. Ask it as you would ask the provider.")


def require_path(path: bytes) -> None:
    """Refuse paths that may lead elsewhere than they say."""
    said = unquote_to_bytes(path)
    if not path.startswith(b"/") or b".." in said.split(b"/") or b"." in said.split(b"/") or UNSAFE.search(path):
        raise Declined(400, "bad_path", "The path leads elsewhere: it must begin with / and have no .. in it.")
    if b"\\" in said or b"\x00" in said or b"\r" in said or b"\n" in said:
        raise Declined(400, "bad_path", "The path has characters in it that no path has.")
