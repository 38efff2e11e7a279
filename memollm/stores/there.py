"""Whether a server has a cache yet: looking makes none."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from memollm.stores.reading import HasReader
from memollm.stores.serving import ServedSession


@runtime_checkable
class TellsMissing(Protocol):
    """A reader that can tell whether what it reads is there."""

    opening_patience: float

    def missing(self) -> str:
        """Name the part of a server where no cache is; nothing, where one is."""
        ...

    def close(self) -> None:
        """Let go of everything that is held."""
        ...


def missing_part(store: object) -> str:
    """Name the part of a server where a store has no cache yet, and make none; nothing, where one is."""
    # A tier stands before its server.
    server = getattr(store, "server", store)
    if not (isinstance(server, ServedSession) and isinstance(server, HasReader)):
        return ""
    reader = server.reader()
    if not isinstance(reader, TellsMissing):
        return ""
    reader.opening_patience = server.opening_patience
    try:
        return reader.missing()
    finally:
        reader.close()
