"""Claims: which slots are being filled at this moment. A store may tell or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from memollm.stores.looking import looking

if TYPE_CHECKING:
    from memollm._types.calls import Place


class TellsClaims(Protocol):
    """What `looking` of a store can besides, where the store tells what is being made."""

    def claims(self) -> list[Place]:
        """List the slots that somebody alive is filling."""
        ...


def telling_claims(store: object) -> TellsClaims | None:
    """Return what tells of claims in a store, if it does."""
    found = looking(store)
    return cast("TellsClaims", found) if hasattr(found, "claims") else None
