"""Which requests are calls of a model: the APIs that are known, and what is special about each."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


class Endpoint(NamedTuple):
    """One API."""

    name: str
    """The function's name in keys, listings and statistics."""
    path: str
    """What its paths end in."""
    ends: tuple[str, ...] = ()
    """The types of event after which a stream of it is whole; without any, its end is."""
    counts: bool = False
    """Whether `n` says how many samples one request makes."""
    pool: int | None = None
    converts: bool = False
    """Whether a stream can be told from an answer and the other way round,"""
    with_usage: bool = False
    """if it was asked to tell its usage, which every answer does."""


DONE: Final = "[DONE]"
KNOWN: Final = (
    Endpoint("chat.completions", "/chat/completions", (DONE,), counts=True, converts=True, with_usage=True),
    Endpoint("completions", "/completions", (DONE,), converts=True, with_usage=True),
    Endpoint("responses", "/responses", ("response.completed", "response.incomplete"), converts=True),
    Endpoint("embeddings", "/embeddings", pool=1),
    Endpoint("messages", "/messages", ("message_stop",), converts=True),
)
_STATEFUL: Final = re.compile(r"/(?:threads|conversations|assistants)/")
"""Paths below which the server keeps what is sent."""
STATE: Final = ("conversation", "background", "container")
"""Parts of a body by which a request is about the server's changing state."""


def more_endpoints(paths: Sequence[str]) -> tuple[Endpoint, ...]:
    """Return the APIs that a user adds, by the ends of their paths."""
    return tuple(Endpoint(re.sub(r"\W+", ".", path).strip("."), path) for path in paths)


def endpoint_of(path: str, more: Sequence[Endpoint]) -> Endpoint | None:
    """Return the API that a path belongs to, if it is one whose answers are kept."""
    for endpoint in more:
        if path.endswith(endpoint.path):
            return endpoint
    if _STATEFUL.search(path):
        return None
    return next((endpoint for endpoint in KNOWN if path.endswith(endpoint.path)), None)
