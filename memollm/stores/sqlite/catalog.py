"""The catalog: documents about functions, namespaces and runs, written rarely and readable by anyone.

Their tables belong to the schema, so that opening one writes nothing.
"""

from __future__ import annotations

import json
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

# Not on first need, as a note is written under a lock: a forked child may wait for ever for what is being imported.
from sqlitedict import SqliteDict

from memollm.stores.documents import damaged, document_of

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from pathlib import Path

    from memollm.stores.looking import Document
    from memollm.stores.sqlite.link import Link


# What fails here is raised, and told in our own words.
logging.getLogger("sqlitedict").addHandler(logging.NullHandler())


def put(link: Link, kind: str, name: str, document: Mapping[str, Any]) -> None:
    """Keep a document; under the write lock."""
    # Where a program that does not know our lock is writing, this fails at once; sqlitedict would wait, under the lock.
    link.execute("BEGIN IMMEDIATE")
    link.rollback()
    with _opened(link.files.database, kind) as documents:
        documents[name] = document
        # Its own commit waits for ever if it fails; this one's failure is raised by the statement after it.
        documents.conn.execute("COMMIT")
        documents.conn.select_one("SELECT 1")


def documents_of(rows: Iterable[tuple[object, object]]) -> dict[str, Document]:
    """Make documents of their rows."""
    documents: dict[str, Document] = {}
    for name, text in rows:
        document = document_of(text)
        if document is None or not isinstance(name, str):
            raise damaged(name)
        documents[name] = document
    return documents


@contextmanager
def _opened(database: Path, kind: str) -> Generator[Any]:
    documents: Any = SqliteDict(
        str(database),
        tablename=f"catalog_{kind}",
        journal_mode="WAL",
        encode=json.dumps,
        decode=json.loads,
        outer_stack=False,
    )
    thread = documents.conn
    try:
        # Its connection follows the store's rules: no checkpoint of its own, nothing left unsynced by one.
        documents.conn.execute("PRAGMA wal_autocheckpoint = 0")
        documents.conn.execute("PRAGMA synchronous = NORMAL")
        documents.conn.execute("PRAGMA busy_timeout = 0")
        yield documents
    finally:
        # Its connection must be closed before the write lock is let go, and closing without force can wait for ever.
        documents.close(force=True)
        thread.join()
