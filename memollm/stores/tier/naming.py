"""Which bucket a cache has: noted at its server, so that all who open it name the same one."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreError, StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from memollm.stores.drawing import Drawing

KIND: Final = "tier"
NAME: Final = "bucket"


def noted_bucket(server: object) -> str | None:
    """Return the bucket that a cache's large records stand in, as `tier=` names it."""
    place = looking(server).notes(KIND, NAME).get(NAME, {}).get("place")
    return place if isinstance(place, str) else None


class BucketNote:
    """The bucket that a program names, beside that which the cache has."""

    def __init__(self, server: Drawing, place: str) -> None:
        self._server = server
        self._place = place
        self._noted: str | None = None
        self._has_looked = False

    def require(self) -> None:
        """Refuse to go on where the cache has another bucket."""
        if not self._has_looked:
            self._noted = noted_bucket(self._server)
            self._has_looked = True
        if self._noted not in {None, self._place}:
            raise StoreRefused(
                f"The large samples of this cache stand in the bucket {self._noted}, and this program names "
                f"{self._place}: give the cache tier={self._noted!r}. To have them in another bucket, copy the cache "
                "to another schema or prefix with that tier."
            )

    def made(self) -> bool:
        """Note the bucket, before anything is put there; tell whether it is known to be that of the cache."""
        with suppress(StoreError):
            self._make()
        return self._noted == self._place

    def require_made(self) -> None:
        """Note the bucket, or refuse where the cache has another one."""
        self.require()
        self._make()
        self.require()

    def _make(self) -> None:
        if self._noted is None:
            keeping(self._server).note(KIND, NAME, {"place": self._place}, instead_of=None)
            self._noted = noted_bucket(self._server)
