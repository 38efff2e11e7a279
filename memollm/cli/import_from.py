"""The command that takes over what another library's cache holds."""

from __future__ import annotations

import sys
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from memollm._takeover import SOURCES
from memollm._types.secret import said_by
from memollm._types.tables import counted
from memollm.cli._opening import opened_at
from memollm.cli._options import command, json_option
from memollm.cli._output import note, progress, say, show_json
from memollm.cli._place import chosen
from memollm.errors import OptionError


@command("import-from")
@click.argument("kind", metavar="KIND", type=click.Choice(list(SOURCES)))
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--map", "map_", metavar="MODULE:FUNCTION", help="Makes a call of each old key and value.")
@click.option("--function", metavar="MODULE:NAME", help="The decorated function whose arguments the old keys hold.")
@click.option("--name", metavar="NAME", help="What diskcache's memoize(name=...) was given for that function.")
@click.option("--trust", is_flag=True, help="Load old pickles, which can run code.")
@json_option
def import_from(
    kind: str, path: Path, *, map_: str | None, function: str | None, name: str | None, trust: bool, as_json: bool
) -> None:
    """Take over what another library's cache holds.

    KIND is diskcache, langchain, lm-eval or cachesaver, and PATH its folder or file. The function that --map names is
    given each old key and value and returns (function, args, kwargs) with a function that is decorated with cached_llm,
    or None to leave the entry out. Modules are found from the working folder.
    """
    mapping, target = (None if name is None else named(name) for name in (map_, function))
    with opened_at(*chosen()) as cache, progress(f"Importing {path.name}") as told:
        done = cache.import_from(kind, path, map=mapping, function=target, name=name, trust=trust, progress=told)
    if as_json:
        show_json(done._asdict())
        return
    say(
        f"{counted(done.added, 'sample')} added, {done.present:,} here already, of {done.entries:,} entries "
        f"({done.skipped:,} skipped, {done.refused:,} refused)."
    )
    for reason in done.reasons:
        note(f"refused: {reason}")


def named(name: str) -> Any:
    """Find what a text such as `package.module:function` names."""
    module, _, inside = name.partition(":")
    if not module or not inside:
        raise OptionError(f"{name!r} names no function: write it as MODULE:FUNCTION.")
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return reduce(getattr, inside.split("."), import_module(module))
    except (ImportError, AttributeError) as error:
        raise OptionError(
            f"{name!r} cannot be found: {said_by(error)}. Run the command in the folder of your project."
        ) from error
    except Exception as error:
        # Importing runs the user's module, which may fail in any way.
        raise OptionError(
            f"{name!r} cannot be imported: {type(error).__name__}: {said_by(error)}. Make "
            f"`python -c 'import {module}'` work."
        ) from error
