"""What messages call the cache of a store: as its user would write it, and without a password."""

from __future__ import annotations

from memollm._types.secret import masked_url
from memollm.stores.memory.store import MemoryStore
from memollm.stores.reading import ReadingStore


def shown_store(store: object) -> str:
    """Return the path or the URL of a store; of one of the user's own, its class."""
    if isinstance(store, ReadingStore):
        return shown_store(store.base)
    address = getattr(store, "address", None)
    url: str | None = getattr(address, "shown", None) or getattr(store, "shown", None)
    if url is not None:
        return masked_url(url)
    files = getattr(store, "files", None)
    if files is not None:
        database = files.database
        return str(files.folder if database.name == "memollm.db" else database)
    return "'memory:'" if isinstance(store, MemoryStore) else type(store).__name__
