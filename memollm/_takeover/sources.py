"""The caches that are known, and how each is read: old keys, the answers of each in their order, and their age."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeGuard

from memollm._takeover.foreign import Pickles, opened
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

RAW, BINARY, TEXT, PICKLED = 1, 2, 3, 4
"""How diskcache says that it keeps a value."""


class Old(NamedTuple):
    """An entry of another cache."""

    key: Any
    value: Any
    """What the user's function is given: the answer, or the list of answers where a cache keeps several."""
    answers: list[Any]
    stored: float


class Source(NamedTuple):
    """A kind of cache."""

    read: Callable[[Path, Pickles], Iterator[Old]]
    has_hashes: bool
    """Whether its keys are hashes, from which no arguments can be told."""


def read_diskcache(folder: Path, pickles: Pickles) -> Iterator[Old]:
    """Read a folder of diskcache, or of its FanoutCache."""
    for database in _databases(folder):
        with opened(database, "diskcache", "Cache") as connection:
            rows = connection.execute(
                "SELECT key, raw, store_time, mode, filename, value FROM Cache "
                "WHERE expire_time IS NULL OR expire_time > ? ORDER BY rowid",
                (time.time(),),
            )
            for key, raw, stored, mode, filename, value in rows:
                old_key = key if raw else pickles.load(bytes(key))
                found = _value_of(mode, value, filename and _beside(database, filename), pickles)
                yield Old(old_key, found, [found], float(stored))


def _databases(folder: Path) -> list[Path]:
    shards = sorted(folder.glob("[0-9][0-9][0-9]/cache.db"))
    return shards if shards and not (folder / "cache.db").exists() else [folder / "cache.db"]


def _beside(database: Path, filename: str) -> Path:
    """Find the file of a long value; a name that leads out of the folder would bring in somebody else's."""
    file, folder = database.parent / filename, database.parent.resolve()
    if not file.resolve().is_relative_to(folder):
        raise OptionError(f"{database} names a file outside of its folder ({filename!r}). Nothing of it was read.")
    if not file.is_file():
        raise OptionError(f"{file}, where {database} keeps a value, is not there. Restore it, or delete the entry.")
    return file


def _value_of(mode: int, value: Any, file: Path | None, pickles: Pickles) -> Any:
    if mode == PICKLED:
        return pickles.load(file.read_bytes() if file else bytes(value))
    if mode == TEXT and file:
        return file.read_text(encoding="utf-8")
    if mode == BINARY and file:
        return file.read_bytes()
    return value


def is_list(value: object) -> TypeGuard[list[Any]]:
    """Tell whether a value is a list, of whatever."""
    return isinstance(value, list)


def read_cachesaver(folder: Path, pickles: Pickles) -> Iterator[Old]:
    """Read a folder of CacheSaver, where each value is the list of samples of a request."""
    for old in read_diskcache(folder, pickles):
        if not is_list(old.value):
            raise OptionError(
                f"{folder} is no CacheSaver folder: a value is no list of samples. Try the kind diskcache."
            )
        yield old._replace(answers=old.value)


def read_langchain(file: Path, _pickles: Pickles) -> Iterator[Old]:
    """Read the file of LangChain's SQLiteCache; several generations of one prompt are its samples."""
    with opened(file, "LangChain", "full_llm_cache") as connection:
        rows = connection.execute("SELECT prompt, llm, response FROM full_llm_cache ORDER BY prompt, llm, idx")
        stored = file.stat().st_mtime
        key, answers = None, list[Any]()
        for prompt, llm, response in rows:
            if key != (prompt, llm):
                if key is not None:
                    yield Old(key, answers, answers, stored)
                key, answers = (prompt, llm), []
            answers.append(_generated(response))
        if key is not None:
            yield Old(key, answers, answers, stored)


def _generated(response: str) -> Any:
    """Return the text of a generation, or whatever else stands there as it is."""
    document: Any = None
    with contextlib.suppress(ValueError):
        document = json.loads(response)
    with contextlib.suppress(KeyError, TypeError):
        kept = document["kwargs"]
        return kept["text"] if kept.get("text") else kept["message"]["kwargs"]["content"]
    return response


def read_sqlitedict(file: Path, pickles: Pickles) -> Iterator[Old]:
    """Read a file of sqlitedict, as lm-evaluation-harness keeps one."""
    with opened(file, "sqlitedict") as connection:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        tables = [name for name in names if _columns(connection, name) == ["key", "value"]]
        if not tables:
            raise OptionError(f"{file} is no sqlitedict cache: no table has a key and a value. Look at the path.")
        for table in tables:
            quoted = table.replace('"', '""')
            for key, value in connection.execute(f'SELECT key, value FROM "{quoted}" ORDER BY rowid'):  # noqa: S608 - quoted
                found = pickles.load(value) if isinstance(value, bytes) else value
                yield Old(key, found, [found], file.stat().st_mtime)


def _columns(connection: Any, table: str) -> list[str]:
    return [row[1] for row in connection.execute("SELECT * FROM pragma_table_info(?)", (table,))]


SOURCES: Final = {
    "diskcache": Source(read_diskcache, has_hashes=False),
    "langchain": Source(read_langchain, has_hashes=False),
    "lm-eval": Source(read_sqlitedict, has_hashes=True),
    "cachesaver": Source(read_cachesaver, has_hashes=True),
}
