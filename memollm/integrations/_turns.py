"""Hosts that look up, call a model and tell its answer, one after the other in a task or thread."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from memollm import OptionError

if TYPE_CHECKING:
    from memollm import Door


def require_client(client: object) -> None:
    """Refuse what cannot tell a client from others, where a host's own keys do not."""
    if not isinstance(client, str) or not client:
        raise OptionError(f"client={client!r}: it must be a text that tells this client and its settings from others.")


def who() -> Any:
    """Return the running task, else this thread."""
    try:
        return asyncio.current_task() or threading.current_thread()
    except RuntimeError:
        return threading.current_thread()


class TakingTurns:
    """Lookups through a door of which each task or thread has one under way at most."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self._waits_for: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()
        """What each task or thread has looked up that is not answered yet."""

    def get(self, material: Any, default: Any) -> Any:
        """Return a sample that is there; else hold its slot until the answer comes."""
        asker = who()
        # Who asks again has failed before: of an answer it would have told.
        failed = self._waits_for.pop(asker, None)
        if failed is not None:
            self.door.abandon(failed)
        found = self.door.lookup(material)
        if found is None:
            self._waits_for[asker] = material
            return default
        return found

    def waits_for(self, material: Any) -> bool:
        """Tell whether this task or thread has looked this up, and not been given an answer."""
        return bool(self._waits_for.get(who()) == material)

    def set(self, material: Any, value: Any) -> None:
        """Store an answer."""
        self._waits_for.pop(who(), None)
        self.door.update(material, value)
