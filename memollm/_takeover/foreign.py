"""Files of other caches: opened for reading only, and nothing of them run that the user does not trust."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


class Pickles:
    """Loads old pickles, if they are trusted."""

    def __init__(self, place: Path, *, trusted: bool) -> None:
        self._place = place
        self._trusted = trusted

    def load(self, data: bytes) -> Any:
        """Load one; it may run code."""
        if not self._trusted:
            raise OptionError(
                f"{self._place} holds pickles, which can run code when they are read. If you trust whoever wrote it, "
                "say so with --trust (trust=True)."
            )
        try:
            return pickle.loads(data)  # noqa: S301 - the user has said so
        except Exception as error:
            raise OptionError(
                f"{self._place} holds a pickle that cannot be loaded: {type(error).__name__}: {error}. "
                "Make the modules importable that its classes come from."
            ) from error


@contextmanager
def opened(database: Path, kind: str, *tables: str) -> Generator[sqlite3.Connection]:
    """Open a SQLite file of another program, which must have certain tables."""
    wrong = f"{database} is no {kind} cache"
    try:
        database.stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OptionError(f"There is no {kind} cache at {database}. Look at the path.") from error
    except OSError as error:
        raise OptionError(f"{database} cannot be read: {error.strerror}. Make it readable for you.") from error
    log = database.with_name(database.name + "-wal")
    # Where there is no log, nobody is writing, and SQLite need not make files beside it.
    mode = "ro" if log.exists() else "ro&immutable=1"
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode={mode}", uri=True)) as connection:
            there = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
            if not there.issuperset(tables):
                raise OptionError(f"{wrong}: it has no table {tables[0]!r}. Look at the path and at the kind of cache.")
            yield connection
    except sqlite3.Error as error:
        raise OptionError(f"{wrong} that can be read: {error}. Look at the path and at the kind of cache.") from error
