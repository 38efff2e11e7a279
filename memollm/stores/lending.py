"""The connections of a process to a server: made on need, lent to one thread at a time, kept for the next."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from types import TracebackType

C = TypeVar("C")


class Lending(Generic[C]):
    """Connections that are lent; how they are made, ended and left to a parent is for those who know them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._idle: list[C] = []
        self._lent: set[C] = set()
        self._made = 0
        """How many there are, idle or lent."""
        self._waiting = 0
        self._changed = threading.Condition()

    def lent(self) -> Loan[C]:
        """Lend one for a block; after a failure it is not used again."""
        return Loan(self)

    def take(self) -> C:
        """Take one, for a loan."""
        connection = self._connection()
        self._lent.add(connection)
        return connection

    def take_back(self, connection: C, *, is_good: bool) -> None:
        """Let the next one have it, or another one in its place."""
        self._lent.discard(connection)
        if not is_good:
            self._end(connection)
            return
        self._idle.append(connection)
        # Whoever begins to wait after this sees that it is idle.
        if self._waiting:
            with self._changed:
                self._changed.notify()

    def _connection(self) -> C:
        try:
            return self._idle.pop()
        except IndexError:
            return self._waited_for()

    def _waited_for(self) -> C:
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    with suppress(IndexError):
                        return self._idle.pop()
                    if self._made < self._most:
                        self._made += 1
                        break
                    self._changed.wait()
            finally:
                self._waiting -= 1
        try:
            return self.connect()
        except BaseException:
            self._leave_place()
            raise

    def _end(self, connection: C) -> None:
        try:
            self.end(connection)
        finally:
            self._leave_place()

    def _leave_place(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify()

    def close(self) -> None:
        """Close those that nobody uses."""
        while self._idle:
            with suppress(IndexError):
                self._end(self._idle.pop())

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
