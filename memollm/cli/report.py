"""`memollm report`: a page about the cache, written whole, for its user only, and over nothing but another report."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from memollm._types.tables import size_text
from memollm._views.report import MARK, Bounds, collect, page
from memollm.cli._opening import existing_cache
from memollm.cli._options import Function, command
from memollm.cli._output import say
from memollm.cli._showing import show_command, shown_place
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from memollm._views.report import Report

HEAD: Final = 4096
"""Within so many bytes a report says that it is one."""
MEGA: Final = 1_000_000
USUAL: Final = Bounds()


def _bound(option: str, usual: int, text: str) -> Callable[[Function], Function]:
    return click.option(option, type=click.IntRange(min=0), default=usual, show_default=True, metavar="N", help=text)


@command("report")
@click.argument("file", type=click.Path(path_type=Path))
@_bound("--calls", USUAL.calls, "How many calls are in the page: those that cost most.")
@_bound("--samples", USUAL.samples, "How many samples of each call.")
@_bound("--draws", USUAL.draws, "How many draws of runs and namespaces, in their order: the latest.")
@_bound("--characters", USUAL.characters, "How many characters of each text.")
@_bound("--text", USUAL.text // MEGA, "How many megabytes of text in all.")
@click.option("--force", is_flag=True, help="Write over FILE even if it is something else than a report.")
def report(file: Path, *, calls: int, samples: int, draws: int, characters: int, text: int, force: bool) -> None:
    """Write a page about the cache to FILE.

    It shows the money and time saved over days, hit rates by function, the calls that cost most, their samples beside
    each other, and what runs and namespaces drew last, in its order. It is one HTML file that opens in any browser and
    never touches the network. It holds prompts and answers, so only you can read it; --calls 0 leaves them all out.
    """
    require_replaceable(file, force=force)
    bounds = Bounds(calls=calls, samples=samples, draws=draws, characters=characters, text=text * MEGA)
    with existing_cache() as cache:
        collected = collect(cache, place=shown_place(), made=time.time(), show=show_command(), bounds=bounds)
    content = page(collected).encode()
    write_private(file, content)
    say(_told(file, collected, len(content)))


def require_replaceable(file: Path, *, force: bool) -> None:
    """Refuse to write over what is no report, or with `force`, over what is no file."""
    try:
        if file.exists() and not file.is_file():
            raise OptionError(f"{file} is there and is no file. Name a file.")
        is_other = file.exists() and not force and MARK.encode() not in _head(file)
    except OSError as error:
        raise _cannot_write(file, error) from error
    if is_other:
        raise OptionError(f"{file} is there and is no report of memollm. Name another, or write over it with --force.")


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(HEAD)


def write_private(file: Path, content: bytes) -> None:
    """Write a file that only the user can read, whole or not at all."""
    target = file.resolve()
    draft = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise _cannot_write(file, error) from error


def _cannot_write(file: Path, error: OSError) -> OptionError:
    return OptionError(f"{file} cannot be written: {error.strerror}. Name a file in a folder that is there and yours.")


def _told(file: Path, collected: Report, size: int) -> str:
    calls, shown = collected.calls, len(collected.asked)
    of = "" if shown == calls else f" of {calls:,}"
    left_out = " What is not in it stands at its end." if collected.left_out else ""
    return f"Wrote {file}: {shown:,}{of} {'call' if calls == 1 else 'calls'}, {size_text(size)}.{left_out}"
