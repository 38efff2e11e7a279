"""How one process leaves a SQLite file: what it still has in flight is void, and the connections are closed."""

from __future__ import annotations

import sqlite3
from _thread import start_new_thread
from contextlib import suppress
from typing import TYPE_CHECKING

from memollm.errors import StoreError
from memollm.stores.sqlite.connections import Closed
from memollm.stores.sqlite.link import FileVanished

if TYPE_CHECKING:
    from memollm.stores.sqlite.ledger import Ledger
    from memollm.stores.sqlite.link import Link


def leave(link: Link, ledger: Ledger) -> None:
    """Void what this process has in flight and close the file."""

    def bury() -> None:
        link.require_unmoved()
        link.execute("BEGIN IMMEDIATE")
        try:
            ledger.ownership.leave_all()
            link.commit()
        except BaseException:
            link.rollback()
            raise

    try:
        with suppress(FileVanished):
            link.close(bury)
    finally:
        ledger.ownership.leave()


def leave_soon(link: Link, ledger: Ledger) -> None:
    """Leave for a store that was dropped, maybe by a garbage collection in the middle of anything: wait for nothing."""
    # At the end of the interpreter no thread begins any more, and the kernel does what is left.
    with suppress(RuntimeError):
        start_new_thread(_leave_quietly, (link, ledger))


def _leave_quietly(link: Link, ledger: Ledger) -> None:
    # Whoever finds what this process had in flight will see that nobody holds its lock.
    with suppress(StoreError, sqlite3.Error, OSError, Closed):
        leave(link, ledger)
