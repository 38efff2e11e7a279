"""The connections of a process to a server: made on need, lent to one thread at a time, kept for the next.

A thread may be interrupted at any moment, also while it is lent a connection or brings it back. So who has one holds a
permit, and one that nobody has any more is missed and replaced. No code is run as it goes: an exception that a signal
handler raises there would be lost, and with it what that code is for.
"""

from __future__ import annotations

import gc
import time
import weakref
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

C = TypeVar("C")
LOOKS_EVERY: Final = 0.2
"""Seconds after which whoever waits for a permit looks for those that were lost."""
COLLECTS_AFTER: Final = 5
"""After how many looks in vain an error that was raised may be what keeps one, in a circle that nobody refers to."""
COLLECTS_EVERY: Final = 5.0
"""Seconds between such collections, since all of the process waits for them."""


class LentPlace(Generic[C]):
    """Where a connection is noted that is lent. It outlives its permit."""

    __slots__ = ("connection", "permit")

    def __init__(self) -> None:
        self.connection: C | None = None
        self.permit: weakref.ref[Permit[C]] | None = None


class Permit(Generic[C]):
    """The right to have a connection."""

    __slots__ = ("__weakref__", "place")

    def __init__(self) -> None:
        self.place: LentPlace[C] = LentPlace()
        self.place.permit = weakref.ref(self)


class Lending(Generic[C]):
    """Connections that are lent; how they are made, ended and left to a parent is for those who know them."""

    def __init__(self, most: int) -> None:
        self._idle: list[C] = []
        self._places: list[LentPlace[C]] = []
        self._collects_at = 0.0
        self.permits: SimpleQueue[Permit[C]] = SimpleQueue()
        """One for each that may be lent at a time. A semaphore would take ten times as long."""
        for _ in range(most):
            permit: Permit[C] = Permit()
            self._places.append(permit.place)
            self.permits.put(permit)

    def lent(self) -> Loan[C]:
        """Lend one for a block; after a failure it is not used again."""
        return Loan(self)

    def lend(self, place: LentPlace[C]) -> C:
        """Give one to who has a permit."""
        try:
            place.connection = connection = self._idle.pop()
        except IndexError:
            connection = None
        if connection is None:
            self.replace_lost()
            place.connection = connection = self.connect()
        return connection

    def take_back(self, place: LentPlace[C], *, is_good: bool) -> None:
        """Let the next one have it, or another one in its place."""
        connection, place.connection = place.connection, None
        if connection is None:
            return
        if is_good:
            self._idle.append(connection)
        else:
            self.end(connection)

    def permit(self) -> Permit[C]:
        """Wait for a permit; after a while have those collected that were lost in a circle of references."""
        looks = 0
        while True:
            self.replace_lost()
            with suppress(Empty):
                return self.permits.get(timeout=LOOKS_EVERY)
            looks += 1
            if looks > COLLECTS_AFTER and time.monotonic() >= self._collects_at:
                self._collects_at = time.monotonic() + COLLECTS_EVERY
                gc.collect()

    def replace_lost(self) -> None:
        """Put a permit in the place of each that nobody has any more, and end what was lent by it.

        Whoever is interrupted meanwhile leaves one too many at worst.
        """
        for place in [*self._places]:
            if place.permit is None or place.permit() is not None:
                continue
            permit: Permit[C] = Permit()
            self._places.append(permit.place)
            try:
                self._places.remove(place)
            except ValueError:
                # Another thread has replaced it.
                self._places.remove(permit.place)
                continue
            self.permits.put(permit)
            self.take_back(place, is_good=False)

    def close(self) -> None:
        """Close those that nobody uses."""
        self.replace_lost()
        while self._idle:
            with suppress(IndexError):
                self.end(self._idle.pop())

    def leave_to_parent(self) -> None:
        """Let go of them in a forked child, telling the server nothing."""
        lent = [place.connection for place in self._places]
        for connection in [*self._idle, *lent]:
            if connection is not None:
                self.leave(connection)

    def connect(self) -> C:
        """Make one."""
        raise NotImplementedError

    def end(self, connection: C) -> None:
        """End one."""
        raise NotImplementedError

    def leave(self, connection: C) -> None:
        """Let go of one in a forked child: it is the parent's."""
        raise NotImplementedError


class Loan(Generic[C]):
    """One connection for a block. A generator would take as long as all else that is done to lend it."""

    __slots__ = ("_lending", "_permit")

    def __init__(self, lending: Lending[C]) -> None:
        self._permit: Permit[C] | None = None
        self._lending = lending

    def __enter__(self) -> C:
        lending = self._lending
        try:
            self._permit = lending.permits.get_nowait()
        except Empty:
            self._permit = None
        if self._permit is None:
            self._permit = lending.permit()
        try:
            return lending.lend(self._permit.place)
        except BaseException:
            # Whoever keeps the error keeps this loan.
            self.__exit__(BaseException, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        permit, self._permit = self._permit, None
        if permit is None:
            return
        try:
            self._lending.take_back(permit.place, is_good=kind is None)
        finally:
            self._lending.permits.put(permit)
