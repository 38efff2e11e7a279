"""The command that sets up completion in a shell."""

from __future__ import annotations

import sys

import click
from click.shell_completion import get_completion_class

from memollm.cli._options import command
from memollm.errors import OptionError

SHELLS = ("bash", "zsh", "fish")


@command("completion")
@click.argument("shell", metavar="SHELL", type=click.Choice(SHELLS))
def completion(*, shell: str) -> None:
    """Write what makes a shell complete commands.

    SHELL is bash, zsh or fish. Names of functions and namespaces, and keys, are completed out of the cache. In
    ~/.bashrc (and likewise for zsh): eval "$(memollm completion bash)". For fish: memollm completion fish >
    ~/.config/fish/completions/memollm.fish
    """
    root = click.get_current_context().find_root()
    kind = get_completion_class(shell)
    if kind is None:
        raise OptionError(f"click knows no completion for {shell}; choose one of {', '.join(SHELLS)}.")
    sys.stdout.write(kind(root.command, {}, "memollm", "_MEMOLLM_COMPLETE").source())
