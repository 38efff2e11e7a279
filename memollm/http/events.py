"""Server-sent events: taking a stream apart into them, and telling when it is whole."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, cast

from memollm.http.endpoints import DONE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memollm.http.endpoints import Endpoint

_BLANK: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_DATA: Final = re.compile(r"^data:[ ]?(.*?)\r?$", re.MULTILINE)
_NAME: Final = re.compile(r"^event:[ ]?(.*?)\r?$", re.MULTILINE)
FAILED: Final = frozenset({"error", "response.failed"})


class Splitter:
    """Takes bytes apart into events, each with the blank line that ends it."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> Iterator[str]:
        """Take some bytes, and give the events that they complete."""
        self._rest += piece
        while found := _BLANK.search(self._rest):
            event, self._rest = self._rest[: found.end()], self._rest[found.end() :]
            yield event.decode("utf-8", "replace")


def is_object(value: object) -> bool:
    """Tell whether something is an object of JSON."""
    return isinstance(value, dict)


def is_array(value: object) -> bool:
    """Tell whether something is an array of JSON."""
    return isinstance(value, list)


def dict_of(value: object) -> dict[str, Any]:
    """Return an object of JSON as it is, or an empty one for anything else."""
    return cast("dict[str, Any]", value) if is_object(value) else {}


def list_of(value: object) -> list[Any]:
    """Return an array of JSON as it is, or an empty one for anything else."""
    return cast("list[Any]", value) if is_array(value) else []


def data_of(event: str) -> Any:
    """Return what an event carries: its JSON, or its text where it is none."""
    text = "\n".join(_DATA.findall(event))
    try:
        return json.loads(text)
    except ValueError:
        return text


def name_of(event: str, data: Any) -> str:
    """Return the type of an event: by its name, or by what its data says."""
    if data == DONE:
        return DONE
    named = _NAME.search(event)
    if named is not None:
        return named[1]
    return str(dict_of(data).get("type") or "")


class Listener:
    """Hears the events of a stream of one API, and tells what has become of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._ends = endpoint.ends
        self.is_whole = False
        """Whether its end mark has come."""
        self.has_failed = False
        """Whether it has told of an error."""

    def hear(self, event: str) -> dict[str, Any]:
        """Hear an event, and return its data."""
        data = data_of(event)
        name = name_of(event, data)
        self.is_whole |= name in self._ends
        known = dict_of(data)
        self.has_failed |= name in FAILED or bool(known.get("error"))
        return known


def is_end(event: str, ends: Sequence[str]) -> bool:
    """Tell whether a client may stop reading at an event."""
    return any(end in event for end in ends) and name_of(event, data_of(event)) in ends
