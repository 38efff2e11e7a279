"""The commands that move what a cache holds into a file and out of one."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from memollm._cache import Cache
from memollm._calls.engines import require_place
from memollm._types.tables import counted
from memollm._values.signing import VARIABLE
from memollm.cli._completing import namespace_names
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, function_option, json_option
from memollm.cli._output import note, progress, say, show_json
from memollm.cli._place import chosen
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Generator


@command("export")
@click.argument("file", type=click.Path(path_type=Path))
@function_option
@click.option("--namespace", metavar="NAME", shell_complete=namespace_names, help="Only what this namespace has drawn.")
@click.option("--run", metavar="ID", help="Only what this run used; 'last' is the run that began last.")
@json_option
def export(file: Path, *, function: str | None, namespace: str | None, run: str | None, as_json: bool) -> None:
    """Write a cache, or a part of it, into a file.

    FILE ends in .jsonl, .jsonl.gz or .jsonl.zst. It is sorted, so that the same content is the same bytes and changes
    read well in git. Everything, with namespaces and counts, is written where no part is named.
    """
    with existing_cache() as cache, progress(f"Exporting to {file.name}") as told:
        done = cache.export(file, function=function, namespace=namespace, run=run, progress=told)
    if as_json:
        show_json({**done._asdict(), "path": str(done.path)})
    else:
        say(f"{done.path}: {counted(done.samples, 'sample')} of {counted(done.calls, 'call')}.")
    if done.damaged:
        note(f"{counted(done.damaged, 'damaged sample')} left out; memollm verify says which.")


@command("load")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def load(file: Path, *, as_json: bool) -> None:
    """Bring in what an exported file holds.

    What is here already is neither doubled nor reordered; loading again after Ctrl-C completes it. The cache is made
    if there is none.
    """
    with opened_cache() as cache, progress(f"Loading {file.name}") as told:
        done = cache.load(file, progress=told)
    if as_json:
        show_json(done._asdict())
    else:
        here = done.samples - done.added
        say(f"{counted(done.added, 'sample')} added, {here:,} here already, of {counted(done.calls, 'call')}.")
    if done.untrusted:
        note(
            f"{counted(done.untrusted, 'sample')} signed by a key that is not trusted here, so not read. To share the "
            f"key, set {VARIABLE}, or Cache(...).trust(it)."
        )


@contextmanager
def opened_cache() -> Generator[Cache]:
    """Open the cache of the command, or make it."""
    place, by = chosen()
    require_place(place)
    if place == "memory:":
        raise OptionError(f"'memory:' (by {by}) lives inside one program; name a cache on disk with --cache.")
    with Cache(place) as cache:
        yield cache
