"""Opening the cache that a command is about: it must be there, and nothing is made where there is none."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from memollm._cache import Cache, open_cache, require_place
from memollm._configuration import configuration, default_place, project_root
from memollm.cli._options import PLACE
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator

    from memollm.stores._sqlite_files import Files


class Chosen(NamedTuple):
    """A cache by its place, and who said so."""

    place: str
    by: str


def chosen() -> Chosen:
    """Find out which cache the command is about."""
    said = click.get_current_context().meta.get(PLACE)
    if said is not None:
        return Chosen(said, "--cache")
    if os.environ.get("MEMOLLM_CACHE"):
        return Chosen(os.environ["MEMOLLM_CACHE"], "MEMOLLM_CACHE")
    configured = configuration.get("cache")
    if configured is not None:
        return Chosen(str(configured), "pyproject.toml")
    return Chosen(str(default_place()), "the user's default" if project_root() is None else "the project's default")


@contextmanager
def existing_cache() -> Generator[Cache]:
    """Open the cache of the command, and close it after the block; where it cannot be written, for reading only."""
    place, by = chosen()
    require_existing(place, by)
    cache = open_cache(place)
    if "://" not in place and not files_of(place).may_be_written():
        cache = Cache(cache.reading.store)
    with cache:
        yield cache


def require_existing(place: str, by: str) -> None:
    """Refuse a place where no cache is or could be looked at."""
    require_place(place)
    if place == "memory:":
        raise OptionError(f"'memory:' (by {by}) lives inside one program; name a cache on disk with --cache.")
    if "://" not in place:
        require_file(files_of(place).database, by)


def files_of(place: str) -> Files:
    """Return the files of a cache that is a path."""
    # Imported on first need: a store elsewhere has no file.
    from memollm.stores._sqlite_files import Files

    return Files(Path(place))


def require_file(database: Path, by: str) -> None:
    """Refuse a file that is not there or must not be looked at."""
    try:
        status = database.stat()
        if stat.S_ISDIR(status.st_mode):
            raise OptionError(f"{database} ({by}) is a folder with a database's name. Name the file in it.")
        # A cache whose first program was killed may be all in its log.
        if not status.st_size and not database.with_name(database.name + "-wal").exists():
            raise OptionError(f"{database} ({by}) is empty: nothing is stored there. Name another with --cache PATH.")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise OptionError(
            f"there is no cache at {database} ({by}). Name one with --cache PATH, or draw once to have it made."
        ) from error
    except OSError as error:
        raise OptionError(
            f"{database} ({by}) cannot be looked at: {error.strerror}. Make its folder readable for this user, or name "
            "another cache with --cache PATH."
        ) from error
