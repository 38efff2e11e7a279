"""The connections of a process to a server: made on need, lent to one thread at a time, kept for the next.

A thread may be interrupted at any moment, also while it is lent a connection or brings it back. So who has one holds a
permit, and a permit that is lost comes back by itself.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

C = TypeVar("C")


class Lending(Generic[C]):
    """Connections that are lent; how they are made, ended and left to a parent is for those who know them."""

    def __init__(self, most: int) -> None:
        self._idle: list[C] = []
        self._lent: set[C] = set()
        self.permits: SimpleQueue[Permit] = SimpleQueue()
        """One for each that may be lent at a time. A semaphore would take ten times as long."""
        for _ in range(most):
            self.permits.put(Permit(weakref.ref(self)))

    def lent(self) -> Loan[C]:
        """Lend one for a block; after a failure it is not used again."""
        return Loan(self)

    def lend(self, loan: Loan[C]) -> C:
        """Give one to a loan that has a permit."""
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = None
        loan.connection = connection = self.connect() if connection is None else connection
        self._lent.add(connection)
        return connection

    def take_back(self, loan: Loan[C], connection: C, *, is_good: bool) -> None:
        """Let the next one have it, or another one in its place."""
        self._lent.discard(connection)
        loan.connection = None
        if is_good:
            self._idle.append(connection)
        else:
            self.end(connection)

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            with suppress(IndexError):
                self.end(self._idle.pop())

    def leave_to_parent(self) -> None:
        """Let go of them in a forked child, telling the server nothing."""
        for connection in [*self._idle, *self._lent]:
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


class Permit:
    """The right to have a connection. Where nobody has it any more, it is there for the next."""

    __slots__ = ("_of",)

    def __init__(self, of: weakref.ref[Lending[Any]]) -> None:
        self._of = of

    def __del__(self) -> None:
        lending = self._of()
        if lending is not None:
            lending.permits.put(Permit(self._of))


class Loan(Generic[C]):
    """One connection for a block. A generator would take as long as all else that is done to lend it."""

    __slots__ = ("_lending", "_permit", "connection")

    connection: C | None

    def __init__(self, lending: Lending[C]) -> None:
        self._permit: Permit | None = None
        self.connection = None
        self._lending = lending

    def __enter__(self) -> C:
        self._permit = self._lending.permits.get()
        try:
            return self._lending.lend(self)
        except BaseException:
            # Whoever keeps the error keeps this loan.
            self._end(is_good=False)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._end(is_good=kind is None)

    def __del__(self) -> None:
        # Unless it was ended, or interrupted as it began.
        if hasattr(self, "_lending") and (self.connection is not None or self._permit is not None):
            self._end(is_good=False)

    def _end(self, *, is_good: bool) -> None:
        try:
            if self.connection is not None:
                self._lending.take_back(self, self.connection, is_good=is_good)
        finally:
            permit, self._permit = self._permit, None
            if permit is not None:
                self._lending.permits.put(permit)
