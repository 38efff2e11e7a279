"""Looking inside a SQLite store's file, as it lies there, whatever its state."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from memollm._types.calls import Call
from memollm._types.samples import Sample
from memollm.stores.checking import Fault, Kept, Unreadable
from memollm.stores.documents import document_of, has_shape
from memollm.stores.sqlite.owner_locks import is_alive
from memollm.stores.sqlite.salvage import readable
from memollm.stores.sqlite.schema import foreign_entries, listed
from memollm.stores.sqlite.sql import statements
from memollm.stores.transfer import Entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memollm.stores.sqlite.connections import Connection
    from memollm.stores.sqlite.files import Files

KINDS: Final = ("function", "namespace", "run")
"""Of documents in the catalog."""
ORPHANS: Final = {
    "sample": "samples of a call that is gone; nobody can draw them",
    "cursor": "cursors of a call or a reader that is gone",
    "loose": "positions without their cursor",
    "claim": "claims of a call or a process that is gone",
    "recorded": "records of lanes of a call or a reader that is gone",
    "used": "notes of what runs used of a call that is gone",
    "drawn": "what runs were given of a call, or as a reader, that is gone",
    "replaced": "notes of what was replaced of a call that is gone",
    "vector": "vectors of a call that is gone",
    "likeness": "matches of a call, or with one, that is gone",
}
ABSURD: Final = (
    "cursor", "loose", "claim", "recorded", "used", "drawn", "replaced", "vector", "likeness", "reader", "lane",
    "tally", "call",
)  # fmt: skip
"""Tables in which a row may hold what we never write; samples are looked at one by one."""
REPORTED: Final = 100
"""How many faults of structure are told; where there are more, the file is to be repaired as a whole anyway."""


class SqliteInside:
    """Reads as long as there is something to be read."""

    def __init__(self, connection: Connection, files: Files) -> None:
        self._connection = connection
        self._files = files
        connection.text_factory = readable
        connection.be_interruptible()

    def rows(self, statement: str, *values: object) -> Iterator[Any]:
        """Give rows as long as they can be read."""
        try:
            yield from self._connection.execute(statement, values)
        except sqlite3.DatabaseError as error:
            if self._connection.has_run_away(error):
                raise Unreadable("reading takes far longer than so large a file can need") from error
            if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_INTERRUPT:
                raise KeyboardInterrupt from error
            raise Unreadable(str(error)) from error
        except UnicodeDecodeError as error:
            # SQLite tells what is wrong with a name of the file's own, which may be no text any more.
            raise Unreadable(f"what SQLite says of it is no text ({error})") from error

    def _number(self, statement: str) -> int:
        with suppress(Unreadable):
            return int(next(self.rows(statements()[statement]))[0])
        return 0

    def size(self) -> int:
        """Count the samples."""
        with suppress(Unreadable):
            return int(next(self.rows(statements()["size"]))[0])
        return 0

    def faults(self) -> Iterator[Fault]:
        """Check pages, rows and documents."""
        yield from self.structure()
        for table, what in ORPHANS.items():
            count = self._number(f"orphan_{table}")
            if count:
                yield Fault("orphan", f"table {table}", f"{what}: {count:,}; a repair removes them")
        for table in ABSURD:
            count = self._number(f"absurd_{table}")
            if count:
                what = f"rows that hold what memollm never writes: {count:,}; a repair removes them"
                yield Fault("row", f"table {table}", what)
        for kind in KINDS:
            yield from self._documents(kind)

    def structure(self) -> Iterator[Fault]:
        """Let SQLite check its pages and indexes."""
        advice = "what can still be read is salvaged by a repair"
        try:
            foreign = foreign_entries(self._connection)
            if foreign:
                what = f"its schema holds what memollm did not make: {listed(foreign)}; a repair leaves that behind"
                yield Fault("structure", self._files.database.name, what)
        except sqlite3.DatabaseError as error:
            yield Fault("structure", self._files.database.name, f"{error}; {advice}")
        try:
            for (told,) in self.rows(f"PRAGMA integrity_check({REPORTED})"):
                if told != "ok":
                    what = ", ".join(str(told).removeprefix("*** in database main ***\n").splitlines())
                    yield Fault("structure", self._files.database.name, f"{what}; {advice}")
        except Unreadable as error:
            yield Fault("structure", self._files.database.name, f"{error}; {advice}")

    def _documents(self, kind: str) -> Iterator[Fault]:
        try:
            for name, document in self.rows(statements()[f"notes_{kind}"], None):
                if not is_whole(kind, name, document):
                    yield Fault("catalog", f"catalog_{kind} {name!r}", "the document is damaged; a repair removes it")
        except Unreadable as error:
            yield Fault(
                "structure", f"table catalog_{kind}", f"{error}; what can still be read is salvaged by a repair"
            )

    def kept(self) -> Kept:
        """Count what else there is."""
        documents = 0
        for kind in KINDS:
            with suppress(Unreadable):
                documents += sum(1 for _ in self.rows(statements()[f"notes_{kind}"], None))
        return Kept(self._number("count_cursors"), self._number("cursors_ahead"), documents, len(self.dead()))

    def dead(self) -> list[int]:
        """List the owners whose processes are gone."""
        with suppress(Unreadable):
            owners = list(self.rows(statements()["owners"]))
            return [number for number, name in owners if not is_alive(self._files.owners, name)]
        return []

    def entries(self) -> Iterator[Entry]:
        """Give the calls in the order of storing, which needs no index."""
        for number, key, form, function, made in self.rows(statements()["every_call"]):
            yield Entry(number, Call(key, form, function), made)

    def samples(self, entry: Entry) -> Iterator[tuple[int, Sample]]:
        """Give the samples of a call."""
        for slot, *sample in self.rows(statements()["samples"], entry.handle):
            yield slot, Sample._make(sample)


def is_whole(kind: str, name: object, text: object) -> bool:
    """Tell whether a row of the catalog is a document, and what is read of it is there."""
    document = document_of(text)
    return isinstance(name, str) and document is not None and has_shape(kind, document)
