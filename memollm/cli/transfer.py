"""The commands that move what a cache holds: into a file, out of one, into another cache, and through a bucket."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from memollm._types.tables import counted
from memollm._values.signing import VARIABLE
from memollm.cli._completing import namespace_names
from memollm.cli._opening import existing_at, existing_cache, opened_at
from memollm.cli._options import command, function_option, json_option
from memollm.cli._output import note, progress, say, show_json
from memollm.cli._place import chosen, was_said
from memollm.errors import OptionError

_DAMAGED: Final = "{} left out; memollm verify says which."
_UNTRUSTED: Final = (
    "{} signed by a key that is not trusted here, so not read. To share the "
    f"key, set {VARIABLE}, or Cache(...).trust(it)."
)


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
        note(_DAMAGED.format(counted(done.damaged, "damaged sample")))


@command("load")
@click.argument("file", type=click.Path(path_type=Path))
@json_option
def load(file: Path, *, as_json: bool) -> None:
    """Bring in what an exported file holds.

    What is here already is neither doubled nor reordered; loading again after Ctrl-C completes it. The cache is made
    if there is none.
    """
    with opened_at(*chosen()) as cache, progress(f"Loading {file.name}") as told:
        done = cache.load(file, progress=told)
    if as_json:
        show_json(done._asdict())
    else:
        here = done.samples - done.added
        say(f"{counted(done.added, 'sample')} added, {here:,} here already, of {counted(done.calls, 'call')}.")
    if done.untrusted:
        note(_UNTRUSTED.format(counted(done.untrusted, "sample")))


@command("copy")
@click.argument("source", metavar="FROM", type=click.Path(readable=False))
@click.argument("target", metavar="TO", type=click.Path(readable=False))
@json_option
def copy(source: str, target: str, *, as_json: bool) -> None:
    """Bring everything that one cache holds into another.

    FROM and TO are paths or URLs. Samples come with all that namespaces and runs have drawn of them. What is in TO
    already is neither doubled nor reordered. Whatever ended a copy, running it again completes it. Others may draw from
    both meanwhile. TO is made if there is none.
    """
    if was_said():
        raise OptionError("copy is told both caches: memollm copy FROM TO, without --cache.")
    with existing_at(source, "FROM") as here, opened_at(target, "TO") as there, progress("Copying") as told:
        done = here.copy(there, progress=told)
    if as_json:
        show_json(done._asdict())
    else:
        kept = done.samples - done.added
        say(f"{counted(done.added, 'sample')} added, {kept:,} there already, of {counted(done.calls, 'call')}.")
    if done.damaged:
        note(_DAMAGED.format(counted(done.damaged, "damaged sample")))
    if done.untrusted:
        note(_UNTRUSTED.format(counted(done.untrusted, "sample")))


@command("sync")
@click.option("--up", is_flag=True, help="Only send what the bucket lacks.")
@click.option("--down", is_flag=True, help="Only receive what this machine lacks.")
@json_option
def sync(*, up: bool, down: bool, as_json: bool) -> None:
    """Exchange samples with the bucket of a cache.

    The cache is one in a bucket (--cache s3://bucket/prefix). Programs that draw from it do so by themselves when they
    first draw, now and then, and at their end. Running it again after Ctrl-C completes it.
    """
    both = up == down
    with opened_at(*chosen()) as cache, progress("Exchanging") as told:
        done = cache.sync(up=up or both, down=down or both, progress=told)
    if as_json:
        show_json(done._asdict())
    else:
        say(f"{counted(done.sent, 'sample')} sent, {done.received:,} received in {counted(done.files, 'file')}.")
    if done.untrusted:
        note(_UNTRUSTED.format(counted(done.untrusted, "sample")))
