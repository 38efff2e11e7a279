"""The connections of a process to a server: made on need, lent to one thread at a time, kept for the next."""

from __future__ import annotations

from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

C = TypeVar("C")


class Lending(Generic[C]):
    """Connections that are lent; how they are made, ended and left to a parent is for those who know them."""

    def __init__(self, most: int) -> None:
        self._idle: list[C] = []
        self._lent: set[C] = set()
        self._places: SimpleQueue[None] = SimpleQueue()
        """One for each that may be lent at a time. A semaphore would take ten times as long."""
        for _ in range(most):
            self._places.put(None)

    def lent(self) -> Loan[C]:
        """Lend one for a block; after a failure it is not used again."""
        return Loan(self)

    def take(self) -> C:
        """Take one, for a loan."""
        self._places.get()
        try:
            connection = self._connection()
            self._lent.add(connection)
        except BaseException:
            self._places.put(None)
            raise
        return connection

    def take_back(self, connection: C, *, is_good: bool) -> None:
        """Let the next one have it, or another one in its place."""
        try:
            if is_good:
                self._idle.append(connection)
            else:
                self.end(connection)
        finally:
            self._lent.discard(connection)
            self._places.put(None)

    def _connection(self) -> C:
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = None
        return self.connect() if connection is None else connection

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


class Loan(Generic[C]):
    """One connection for a block. A generator would take as long as all else that is done to lend it."""

    __slots__ = ("_connection", "_lending")

    def __init__(self, lending: Lending[C]) -> None:
        self._lending = lending

    def __enter__(self) -> C:
        self._connection = connection = self._lending.take()
        return connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lending.take_back(self._connection, is_good=kind is None)
