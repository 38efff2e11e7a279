"""Which bucket a cache has, noted at its server; and which caches a bucket has, noted there."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreError, StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from memollm.stores.drawing import Drawing
    from memollm.stores.tier.objects import RecordObjects

KIND: Final = "tier"
NAME: Final = "bucket"


def noted_bucket(server: object) -> str | None:
    """Return the bucket that a cache's large records stand in, as `tier=` names it."""
    return _noted(server)[0]


def _noted(server: object) -> tuple[str | None, str]:
    """Return it, and by what name the bucket knows the cache."""
    document = looking(server).notes(KIND, NAME).get(NAME, {})
    place, cache = document.get("place"), document.get("cache")
    return (place, cache) if isinstance(place, str) and isinstance(cache, str) else (None, "")


class BucketNote:
    """The bucket that a program names, beside that which the cache has."""

    def __init__(self, server: Drawing, objects: RecordObjects) -> None:
        self._server = server
        self._objects = objects
        self._place = objects.place
        self._noted: str | None = None
        self._cache = ""
        self._has_looked = self._is_told = False

    def cache(self) -> str:
        """Return by what name the bucket knows this cache; nothing, where it has no object there."""
        self.require()
        if self._noted is None:
            # Another program may have put the first one meanwhile.
            self._look()
            self.require()
        return self._cache

    def require(self) -> None:
        """Refuse to go on where the cache has another bucket."""
        if not self._has_looked:
            self._look()
            self._has_looked = True
        if self._noted not in {None, self._place}:
            raise StoreRefused(
                f"The large samples of this cache stand in the bucket {self._noted}, and this program names "
                f"{self._place}: give the cache tier={self._noted!r}. To have them in another bucket, copy the cache "
                "to another schema or prefix with that tier."
            )

    def _look(self) -> None:
        self._noted, self._cache = _noted(self._server)

    def made(self) -> bool:
        """Note the bucket, before anything is put there; tell whether both sides know of each other."""
        with suppress(StoreError):
            self._make()
        if self._noted == self._place and not self._is_told:
            self._is_told = self._objects.told_of(self._cache, self._body())
        return self._noted == self._place and self._is_told

    def require_made(self) -> None:
        """Note the bucket, or refuse where the cache has another one."""
        self.require()
        self._make()
        self.require()

    def referred(self, record: bytes) -> bytes:
        """Return what the server is to keep of a record: all of it, while the bucket does not know of the cache."""
        return self._objects.referred(record) if self._objects.is_large(record) and self.made() else record

    def _make(self) -> None:
        if self._noted is None:
            document = {"place": self._place, "cache": secrets.token_hex(8)}
            keeping(self._server).note(KIND, NAME, document, instead_of=None)
            self._look()

    def _body(self) -> bytes:
        """Write what the bucket is told: who has opened it finds out by this whose objects these are."""
        return json.dumps({"cache": self._cache, "where": getattr(self._server, "described", "")}).encode()
