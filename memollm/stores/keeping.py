"""Keeping a store: what changes it besides drawing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from memollm.errors import StoreRefused, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._types.calls import Call
    from memollm._types.counting import Account, Counts, Use
    from memollm._types.listings import Move
    from memollm.stores.looking import Document
    from memollm.stores.transfer import Transfer


class Keeping(Protocol):
    """How a store is kept. A store that can be has it as its attribute `keeping`."""

    def forget(self, call: Call) -> int:
        """Remove a call with its samples and cursors; return how many samples there were."""
        ...

    def rewind(self, reader: str) -> bool:
        """Set every cursor of a reader to its start; tell whether there was such a reader.

        What it had in flight is no longer its own. A reader is there as long as it has a cursor in some call.
        """
        ...

    def drop(self, reader: str) -> bool:
        """Remove a reader with its cursors; tell whether there was such a reader."""
        ...

    def adopt(self, moves: Sequence[Move], rewrite: Callable[[Move, bytes], bytes]) -> int:
        """Give the samples of calls to other calls, all or nothing; return how many samples moved.

        `rewrite` makes of each record what it is under its new call; if it raises, nothing has changed.

        Where both have samples, the moved ones come after: what readers have drawn of either stays drawn, and what they
        have not stays to be drawn. While somebody alive is drawing one of the calls it is `StoreUnavailable`.
        """
        ...

    def evict(self, handles: Sequence[object], *, used_by: float) -> list[object]:
        """Forget whole calls, in one transaction; return the handles of those that are gone.

        One that was used later than `used_by`, or that somebody alive is filling or has positions of in flight, stays.
        """
        ...

    def shrink(self, told: Callable[[int, int], object]) -> None:
        """Give the space of what was removed back, telling now and then how many bytes of how many were given."""
        ...

    def count(self, id: int, counts: Mapping[Account, Counts], uses: Sequence[Use]) -> None:  # noqa: A002 - as in `Write`
        """Add to what was counted, and note what was used; not synced, and a call that is gone is passed over.

        Asked again with the same id, which is unique in this process, it counts nothing.
        """
        ...

    def note(self, kind: str, name: str, document: Document, *, instead_of: Document | None) -> bool:
        """Keep a document of the catalog if `instead_of` is what is there (None: there is none); tell whether it was.

        Kinds are function, namespace, run and tier. Who is told no reads again, and decides anew.
        """
        ...

    def transfer(self) -> Transfer:
        """Give access to the content, to be taken out and put in."""
        ...


def keeping(store: object) -> Keeping:
    """Return what keeps a store, or refuse where it has none; a store may say why in `without_keeping`."""
    found: Keeping | None = getattr(store, "keeping", None)
    if found is None:
        raise StoreRefused(
            getattr(store, "without_keeping", None)
            or f"{type(store).__name__} draws, and what it holds cannot be changed otherwise; use a store that has "
            "`keeping`, such as a path (SQLite) or 'memory:'."
        )
    return found


def in_use(call: Call) -> StoreUnavailable:
    """Say that a call cannot be moved while somebody is filling it."""
    return StoreUnavailable(
        f"Samples of {call.function} are being made at this moment, so they cannot be moved. Nothing was changed; "
        "try again when the programs that draw them have ended."
    )
