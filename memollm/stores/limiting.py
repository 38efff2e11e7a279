"""Limiting: what a whole program spends, in all its threads and processes, counted in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from memollm._types.allowance import Allowance, Charged

KEPT: Final = 30 * 86_400.0
"""Seconds after which a program that has spent nothing more is forgotten."""


class Limiting(Protocol):
    """How a store counts against a budget. A store that can has it as its attribute `limiting`."""

    def charge(self, program: str, more: Charged, allowed: Allowance | None = None) -> tuple[Charged, bool]:
        """Add to what a program has spent, unless that is more than is allowed; return what stands, and whether it was.

        It is atomic among all who use the store, and need not outlast the machine: a program ends with it.
        """
        ...


def limiting(store: object) -> Limiting:
    """Return what limits programs in a store, or refuse where it cannot."""
    found: Limiting | None = getattr(store, "limiting", None)
    if found is None:
        raise StoreRefused(
            f"{type(store).__name__} cannot count what a whole program spends, so MEMOLLM_BUDGET cannot hold. Limit "
            "parts of the program by `with memollm.budget(...)`, or use a path (SQLite) as the cache."
        )
    return found
