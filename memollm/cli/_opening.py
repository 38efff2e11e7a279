"""Opening the cache that a command is about: it must be there, and nothing is made where there is none."""

from __future__ import annotations

import stat
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memollm._cache import Cache
from memollm._calls.engines import require_place
from memollm._values.signing import VARIABLE
from memollm.cli._place import chosen
from memollm.errors import MemollmWarning, OptionError, StoreReadOnly
from memollm.stores.looking import looking
from memollm.stores.reading import reading_store
from memollm.stores.serving import ServedSession
from memollm.stores.shown import shown_store
from memollm.stores.there import missing_part

if TYPE_CHECKING:
    from collections.abc import Generator

    from memollm.stores.sqlite.files import Files

PROMPT: Final = 3.0
"""Seconds that a command waits for a server that is away."""
ARGUMENTS: Final = ("FROM", "TO", "--other")
"""By which copy and sweep are told of further caches."""


@contextmanager
def existing_cache() -> Generator[Cache]:
    """Open the cache of the command, and close it after the block; where it cannot be written, for reading only."""
    with existing_at(*chosen()) as cache:
        yield cache


@contextmanager
def existing_at(place: str, by: str) -> Generator[Cache]:
    """Do so with one that is there at a place, which somebody named."""
    require_existing(place, by)
    cache = looked_at(place)
    _require_made(cache, by)
    if not _may_be_written(place, cache):
        cache = Cache(reading_store(cache.store))
    with cache:
        yield cache


@contextmanager
def opened_at(place: str, by: str) -> Generator[Cache]:
    """Open the cache at a place, or make it."""
    require_place(place)
    _require_lasting(place, by)
    with promptly(Cache(place)) as cache:
        yield cache


def looked_at(place: str) -> Cache:
    """Make one that nothing is signed for, so that a key of a team is not asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".* is shared, and {VARIABLE} is not set", MemollmWarning)
        return promptly(Cache(place))


def nothing_stored() -> str:
    """Say that the cache of the command is empty, and how it may be filled."""
    place, _ = chosen()
    if place.startswith("s3://"):
        return "Nothing is stored on this machine yet, and nothing was received from the bucket: `memollm sync --down`."
    return "Nothing is stored here yet."


def promptly(cache: Cache) -> Cache:
    """Let whoever sits before a command wait for a server that is away as long as one does, and not as a program."""
    # A tier stands before its server.
    store: object = getattr(cache.store, "server", cache.store)
    if isinstance(store, ServedSession):
        store.opening_patience = min(store.opening_patience, PROMPT)
    return cache


def _require_lasting(place: str, by: str) -> None:
    if place == "memory:":
        raise OptionError(f"'memory:' (by {by}) lives inside one program; name a cache on disk{_option(by)}.")


def _require_made(cache: Cache, by: str) -> None:
    """Refuse a place at a server where nobody has made a cache yet."""
    if part := missing_part(cache.store):
        raise OptionError(
            f"there is no cache at {shown_store(cache.store)}, in {part} ({by}). Name one{_option(by)}, or draw once "
            "to have it made."
        )


def _may_be_written(place: str, cache: Cache) -> bool:
    if "://" not in place:
        return files_of(place).may_be_written()
    try:
        # A server says so when it is asked anything.
        looking(cache.store).notes("run", "")
    except StoreReadOnly:
        return False
    return True


def _option(by: str) -> str:
    """Say how a cache is named, where that is not by the argument that was wrong."""
    return "" if by in ARGUMENTS else " with --cache PATH"


def require_existing(place: str, by: str) -> None:
    """Refuse a place where no cache is or could be looked at."""
    require_place(place)
    _require_lasting(place, by)
    if "://" not in place:
        require_file(files_of(place).database, by)


def files_of(place: str) -> Files:
    """Return the files of a cache that is a path."""
    # Imported on first need: a store elsewhere has no file.
    from memollm.stores.sqlite.files import Files

    return Files(Path(place))


def require_file(database: Path, by: str) -> None:
    """Refuse a file that is not there or must not be looked at."""
    try:
        status = database.stat()
        if stat.S_ISDIR(status.st_mode):
            raise OptionError(f"{database} ({by}) is a folder with a database's name. Name the file in it.")
        # A cache whose first program was killed may be all in its log.
        if not status.st_size and not database.with_name(database.name + "-wal").exists():
            raise OptionError(f"{database} ({by}) is empty: nothing is stored there. Name another{_option(by)}.")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OptionError(
            f"there is no cache at {database} ({by}). Name one{_option(by)}, or draw once to have it made."
        ) from error
    except OSError as error:
        raise OptionError(
            f"{database} ({by}) cannot be looked at: {error.strerror}. Make its folder readable for this user, or name "
            f"another cache{_option(by)}."
        ) from error
