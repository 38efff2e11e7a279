"""How a memory store limits what a program spends: in this process alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.allowance import Charged
from memollm.stores.limiting import Limiting

if TYPE_CHECKING:
    from memollm._types.allowance import Allowance
    from memollm.stores.memory.content import MemoryContent


class MemoryLimiting(Limiting):
    """Counts under the store's lock."""

    def __init__(self, content: MemoryContent) -> None:
        self._content = content

    def charge(self, program: str, more: Charged, allowed: Allowance | None = None) -> tuple[Charged, bool]:
        """Add up, if there is room."""
        with self._content.lock:
            spent = self._content.charged.get(program, Charged())
            if allowed is not None and not spent.leaves_room(more, allowed):
                return spent, False
            spent = self._content.charged[program] = spent.plus(more)
            return spent, True
