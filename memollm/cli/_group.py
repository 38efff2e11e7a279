"""The command `memollm` itself: it finds its commands in the table and loads the one that is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

import click

from memollm._types.suggest import did_you_mean
from memollm.cli._commands import COMMANDS
from memollm.cli._options import SETTINGS, cache_option

if TYPE_CHECKING:
    from collections.abc import Callable


class LazyGroup(click.Group):
    """A group whose commands are loaded one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """Load a command."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        return cast("click.Command", getattr(import_module(entry.module), entry.function))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for, or say what there is."""
        if args[0] not in COMMANDS and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {args[0]!r}{did_you_mean(args[0], COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """Write the commands' lines of the help without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _version(context: click.Context, _parameter: click.Parameter, asked: bool) -> None:  # noqa: FBT001 - click hands over positions
    if asked:
        from memollm import __version__

        click.echo(f"memollm {__version__}")
        context.exit()


def _with_version(function: Callable[..., None]) -> Callable[..., None]:
    return click.option(
        "--version",
        is_flag=True,
        expose_value=False,
        is_eager=True,
        callback=_version,
        help="Show the version and exit.",
    )(function)


@click.group(cls=LazyGroup, context_settings=SETTINGS)
@cache_option
@_with_version
def memollm() -> None:
    """Look into a cache of samples and look after it.

    Without --cache it is the cache that a program started in this folder would use: MEMOLLM_CACHE, else `cache` in
    [tool.memollm] of pyproject.toml, else .memollm at the project's root, else the user's data folder.

    Exit codes: 0 done; 1 something is wrong with the cache; 2 the command was given something that it cannot use;
    130 stopped by Ctrl-C.
    """
