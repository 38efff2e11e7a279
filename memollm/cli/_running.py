"""Running a command: what its end means to the shell, and one line for whatever a user can do something about.

Exit codes: 0 done; 1 something is wrong with the cache (a check found it, or an operation failed on it); 2 the command
was given something that it cannot use (an unknown option or name, a missing, foreign or unreadable file); 130 stopped.
"""

from __future__ import annotations

import gc
import io
import os
import sys
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from click.shell_completion import shell_complete

from memollm.cli._group import memollm
from memollm.cli._output import note
from memollm.errors import MemollmError, MemollmWarning, OptionError, StoreRefused

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

WRONG: Final = 1
UNUSABLE: Final = 2
STOPPED: Final = 130
FEW_COLLECTIONS: Final = 200_000
"""How many objects are made before those that nobody needs are looked for."""
COMPLETE: Final = "_MEMOLLM_COMPLETE"
"""The variable by which a shell asks for completions."""


def run(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    _let_every_text_pass()
    # A listing makes many objects that all live to its end, which comes soon.
    gc.set_threshold(FEW_COLLECTIONS)
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads our output has had enough. What is still buffered has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (KeyboardInterrupt, click.Abort):
        sys.stderr.write("\nstopped; nothing is lost\n")
        return STOPPED
    except (click.ClickException, MemollmError, OSError) as error:
        return _tell(error)
    return code


def _run(arguments: Sequence[str]) -> int:
    instruction = os.environ.get(COMPLETE)
    if instruction:
        return shell_complete(memollm, {}, "memollm", COMPLETE, instruction)
    try:
        with _plain_warnings(), memollm.make_context("memollm", list(arguments)) as context:
            result: Any = memollm.invoke(context)
    except click.exceptions.Exit as ended:
        return ended.exit_code
    return int(result or 0)


@contextmanager
def _plain_warnings() -> Generator[None]:
    """Tell warnings of ours on one line: the command has no line of the user's that they could point at."""
    with warnings.catch_warnings():
        before = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **where: Any) -> None:
            if issubclass(category, MemollmWarning):
                note(f"warning: {' '.join(str(message).split())}")
            else:
                before(message, category, *place, **where)

        warnings.showwarning = show
        yield


def _tell(error: Exception) -> int:
    """Tell a failure on one line, and return its exit code."""
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        error.show()
        return UNUSABLE
    text = (
        _sentence(error.format_message()) + _help_of(error) if isinstance(error, click.ClickException) else str(error)
    )
    note(f"error: {' '.join(text.split())}")
    is_of_the_cache = isinstance(error, MemollmError) and not isinstance(error, OptionError | StoreRefused)
    return WRONG if is_of_the_cache else UNUSABLE


def _sentence(text: str) -> str:
    return text if text.endswith((".", "?", ")")) else f"{text}."


def _help_of(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    return "" if context is None else f" See '{context.command_path} --help'."


def _let_every_text_pass() -> None:
    """Write what the terminal's encoding lacks as escapes instead of failing, and where there is nobody, nowhere."""
    sys.stdout = sys.stdout or _nowhere()
    sys.stderr = sys.stderr or _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _nowhere() -> io.TextIOWrapper:
    return Path(os.devnull).open("w", encoding="utf-8")
