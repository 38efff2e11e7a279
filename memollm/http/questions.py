"""From a request to what it asks: whether it is memoized, and the parts of it that are its key."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.secret import is_secret_name
from memollm._types.warn import warn
from memollm.errors import MemollmWarning
from memollm.http.endpoints import STATE, Endpoint, endpoint_of
from memollm.http.events import dict_of

if TYPE_CHECKING:
    from memollm.http.options import Rules

_SECRET: Final = re.compile(
    r"(?:^|[_-])(?:key|token|secret|password|signature|sig|auth|credential|code)s?$", re.IGNORECASE
)
ON: Final = frozenset({"true", "1", "on", "yes"})
REPEATS: Final = b"x-openrouter-cache"
REPEATED: Final = (
    "X-OpenRouter-Cache is on: OpenRouter gives equal requests the same answer, so the samples that are drawn here "
    "will not be distinct. Leave the header out; memollm keeps every answer."
)


class Question(NamedTuple):
    """What a request asks of a model."""

    endpoint: Endpoint
    material: dict[str, Any]
    """What it is keyed by."""
    body: dict[str, Any]
    """Its body, whole."""
    n: int | None
    """How many samples it asks for, where that is more than one."""
    streams: bool
    wants_usage: bool

    @property
    def is_apart(self) -> bool:
        """Whether its stream serves no one who asks for a whole answer, nor the other way round."""
        tells_less = self.endpoint.with_usage and not self.wants_usage
        return self.streams and (tells_less or not self.endpoint.converts or "n" in self.material["body"])


def endpoint_for(request: Any, rules: Rules) -> Endpoint | None:
    """Return the API that a request belongs to, if it may be one that is memoized; its body is not looked at."""
    return endpoint_of(request.url.path, rules.more) if request.method == "POST" else None


def question_of(request: Any, endpoint: Endpoint, rules: Rules) -> Question | None:
    """Return what a request asks, or None where it is to pass unstored."""
    # As a dictionary: httpx looks through all of them for each.
    headers = {name.lower(): value for name, value in request.headers.raw}
    whole = _body_of(request, headers)
    if not whole or any(whole.get(name) for name in STATE):
        return None
    streams = whole.get("stream") is True
    keyed = {name: value for name, value in whole.items() if name not in rules.unkeyed}
    n = _number(keyed, endpoint, streams=streams)
    url = request.url
    material = {
        "url": _place(url, rules) + url.path,
        "query": _query_of(url) if url.query else {},
        "headers": {name: headers[raw].decode("latin-1") for name, raw in rules.headers if raw in headers},
        "body": keyed,
    }
    wants_usage = bool(dict_of(whole.get("stream_options")).get("include_usage"))
    if headers.get(REPEATS, b"").decode("latin-1").lower() in ON and rules.drawing.get("pool", endpoint.pool) != 1:
        warn(REPEATED, MemollmWarning)
    return Question(endpoint, material, whole, n, streams, wants_usage)


def _number(keyed: dict[str, Any], endpoint: Endpoint, *, streams: bool) -> int | None:
    """Take `n` out of what is keyed, where it only says how many samples to draw."""
    n = keyed.get("n")
    if not endpoint.counts or not (n is None or type(n) is int) or (streams and n not in {None, 1}):
        return None
    keyed.pop("n", None)
    return n if n is not None and n > 1 else None


def _place(url: Any, rules: Rules) -> str:
    if not rules.host:
        return ""
    port = "" if url.port is None else f":{url.port}"
    return f"{url.scheme}://{url.host}{port}"


def _body_of(request: Any, headers: dict[bytes, bytes]) -> dict[str, Any]:
    """Return the object that is sent, or an empty one for anything else."""
    if b"json" not in headers.get(b"content-type", b""):
        return {}
    try:
        return dict_of(json.loads(request.content))
    except (ValueError, RecursionError):
        return {}


def _query_of(url: Any) -> dict[str, list[str]]:
    """Return what the query says, but for names of secrets; a value that looks like one is a digest in keys."""
    query: dict[str, list[str]] = {}
    for name, value in url.params.multi_items():
        if not (_SECRET.search(name) or is_secret_name(name)):
            query.setdefault(name, []).append(value)
    return query
