"""The store of a cache in a bucket: draws as from SQLite, on this machine, and has samples exchanged with it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from memollm.errors import StoreError
from memollm.stores.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._types.requests import Answer, Look, Request, Take
    from memollm._types.samples import State, Taken
    from memollm.stores.s3.address import BucketAddress


class Exchanges(Protocol):
    """Who exchanges samples of a store with a place that other machines read, too."""

    def begin(self) -> None:
        """Have what others have, and exchange from now on; the first draw waits for this."""
        ...

    def end(self) -> None:
        """Let others have what is here, and exchange no more."""
        ...

    def look(self) -> str:
        """Tell in a few words how things stand, changing nothing."""
        ...


class BucketStore(SqliteStore):
    """Keeps samples in a SQLite file of this machine; slots, cursors and claims are those of this machine."""

    exchange: Exchanges | None = None
    """Exchanges samples with the bucket."""

    def __init__(self, address: BucketAddress) -> None:
        super().__init__(address.folder)
        self.address = address

    def __repr__(self) -> str:
        return f"BucketStore({self.address.shown!r})"

    def _begin_process(self) -> None:
        super()._begin_process()
        self._beginning = threading.RLock()
        self._has_begun = False

    def _begin(self) -> None:
        with self._beginning:
            if not self._has_begun:
                if self.exchange is not None:
                    self.exchange.begin()
                self._has_begun = True

    def perform(self, requests: Sequence[Request]) -> list[Answer | StoreError]:
        """Do what each asks for, once others' samples are here."""
        if not self._has_begun:
            try:
                self._begin()
            except StoreError as error:
                return [error] * len(requests)
        return super().perform(requests)

    def at_once(self, request: Take | Look) -> list[Taken] | list[State] | None:
        """Answer, unless others' samples have to come first."""
        return super().at_once(request) if self._has_begun else None

    def stamp(self) -> tuple[int, int]:
        """Return what is another one whenever a sample was stored, replaced or removed."""
        self.link()
        ((newest,),) = self.rows("newest")
        return self.epoch(), int(newest)

    def age(self) -> int:
        """Return a number that never becomes less, unless another file has taken the place of this one."""
        ((calls,),) = self.rows("calls_ever")
        return int(calls)

    def close(self) -> None:
        """Let others have what is here, and close the file."""
        has_begun, self._has_begun = self._has_begun, True
        try:
            if has_begun and self.exchange is not None and not self._closed:
                self.exchange.end()
        finally:
            super().close()
