"""The connections of a process to a server: made on need, lent to one thread at a time, kept for the next."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator

C = TypeVar("C")


class Lending(Generic[C]):
    """Connections that are lent; how they are made, ended and left to a parent is for those who know them."""

    def __init__(self, most: int) -> None:
        self._idle: list[C] = []
        self._lent: set[C] = set()
        self._places = threading.BoundedSemaphore(most)

    @contextmanager
    def lent(self) -> Generator[C]:
        """Lend one for a block; after a failure it is not used again."""
        with self._places:
            connection = self._connection()
            self._lent.add(connection)
            try:
                yield connection
            except BaseException:
                self.end(connection)
                raise
            else:
                self._idle.append(connection)
            finally:
                self._lent.discard(connection)

    def _connection(self) -> C:
        with suppress(IndexError):
            return self._idle.pop()
        return self.connect()

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
