"""Which cache a command is about: what was said, and by whom."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

import click

from memollm._calls.configuration import configuration, default_place, project_root

PLACE: Final = "memollm.place"
"""Under which a context knows what `--cache` said."""


class Chosen(NamedTuple):
    """A cache by its place, and who said so."""

    place: str
    by: str


def remember(context: click.Context, _parameter: click.Parameter, place: str | None) -> None:
    """Take what `--cache` says."""
    # It may stand before the command or after it; all contexts of one run share `meta`.
    if place is not None:
        context.meta[PLACE] = place


def was_said() -> bool:
    """Tell whether `--cache` was given."""
    return PLACE in click.get_current_context().meta


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
