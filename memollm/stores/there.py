"""Whether anybody has made a cache yet where a store is: looking and removing make none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from memollm.stores.reading import HasReader
from memollm.stores.serving import ServedSession

if TYPE_CHECKING:
    from memollm.stores.drawing import Drawing


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


@runtime_checkable
class TellsMade(Protocol):
    """A store whose file need not be there."""

    def is_made(self) -> bool:
        """Tell whether it is."""
        ...


def existing(store: Drawing) -> Drawing:
    """Return a store, or where no cache is yet an empty one: whoever looks and removes finds nothing and makes none."""
    if store.is_made() if isinstance(store, TellsMade) else not missing_part(store):
        return store
    # Imported on first need, as every other store than the one in use is.
    from memollm.stores.memory.store import MemoryStore

    return MemoryStore()


def missing_part(store: object) -> str:
    """Name the part of a server where a store has no cache yet, and make none; nothing, where one is."""
    # A tier stands before its server.
    server = getattr(store, "server", store)
    if not (isinstance(server, ServedSession) and isinstance(server, HasReader)) or server.has_begun():
        return ""
    reader = server.reader()
    if not isinstance(reader, TellsMissing):
        return ""
    reader.opening_patience = server.opening_patience
    try:
        return reader.missing()
    finally:
        reader.close()
