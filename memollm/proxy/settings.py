"""What a proxy is started with, and what of it contradicts itself."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import memollm
from memollm._serving.askers import is_loopback
from memollm.errors import OptionError
from memollm.http import AsyncTransport
from memollm.proxy.upstreams import Upstream, upstream_of

if TYPE_CHECKING:
    from collections.abc import Sequence

MEGA: Final = 1_000_000
FEWEST: Final = 16
"""Characters of a token."""
PRINTED: Final = re.compile(r"[!-~]+")
LEAVING: Final = ("stop", "finish")


class ProxySettings(NamedTuple):
    """What a proxy is started with; it can be pickled, so that each worker has it."""

    upstreams: tuple[Upstream, ...]
    cache: str | None = None
    """A path; None for the project's."""
    namespace: str | None = None
    mode: str | None = None
    pool: int | None = None
    ttl: str | float | None = None
    budget: str | None = None
    """What the server and all its workers may spend together."""
    host: str = "127.0.0.1"
    token: str | None = None
    hosts: tuple[str, ...] = ()
    """More names under which it is asked."""
    per_key: bool = False
    """Whether callers with different keys share nothing."""
    on_disconnect: Literal["stop", "finish"] = "stop"
    """What becomes of a stream whose client leaves: "stop" or "finish"."""
    max_body: int = 32 * MEGA
    max_requests: int = 1000
    upstream_timeout: float = 600.0
    """Seconds for which an upstream may be silent."""
    grace: float = 60.0
    """Seconds that what is under way has at the end."""
    workers: int = 1

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach it."""
        return is_loopback(self.host)


def settings_of(upstreams: Sequence[str], **given: Any) -> ProxySettings:
    """Check options, and make settings of them."""
    if not upstreams:
        raise OptionError("A proxy needs an upstream, such as https://api.openai.com/v1.")
    settings = ProxySettings(tuple(map(upstream_of, upstreams)), **given)
    places = [(each.path, each.model) for each in settings.upstreams]
    if twice := next((place for place in places if places.count(place) > 1), None):
        raise OptionError(f"Two upstreams are for {'/'.join(filter(None, twice)) or 'everything'}: give each its own.")
    _require_reach(settings)
    _require_numbers(settings)
    if settings.on_disconnect not in LEAVING:
        raise OptionError(f"on_disconnect={settings.on_disconnect!r}: it must be 'stop' or 'finish'.")
    if settings.workers > 1 and settings.cache == "memory:":
        raise OptionError("'memory:' lives inside one process, and several workers share a cache: name one on disk.")
    return settings


def _require_reach(settings: ProxySettings) -> None:
    """Refuse to serve others without a token."""
    token = settings.token
    if token is None and not settings.is_local:
        raise OptionError(
            f"host={settings.host!r} lets other machines in, to read what is stored and spend in your name: give a "
            "token (--token, or MEMOLLM_PROXY_TOKEN), or serve on 127.0.0.1."
        )
    if token is not None and not (
        len(token) >= FEWEST and token.isascii() and token.isprintable() and " " not in token
    ):
        raise OptionError(
            f"A token has at least {FEWEST} printable characters and no blanks, so that nobody guesses it."
        )


def _require_numbers(settings: ProxySettings) -> None:
    for option in ("max_body", "max_requests", "upstream_timeout", "grace", "workers"):
        number = getattr(settings, option)
        if not 0 < number < math.inf:
            raise OptionError(f"{option}={number!r}: it must be above 0.")
    # What contradicts itself is said here, not at the first request.
    AsyncTransport(pool=settings.pool, ttl=settings.ttl)
    for block, value in ((memollm.namespace, settings.namespace), (memollm.mode, settings.mode)):
        if value is not None:
            with block(value):
                pass
