"""The commands that make space: in a cache, and in the bucket of its tier."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from memollm._types.tables import counted
from memollm.cli._asking import agreed
from memollm.cli._opening import existing_at, existing_cache
from memollm.cli._options import command, json_option, yes_option
from memollm.cli._output import progress, say, show_json

if TYPE_CHECKING:
    from memollm._upkeep.prune import Policy, Pruned
    from memollm._upkeep.sweep import Swept


@command("prune")
@click.option(
    "--max-bytes", metavar="SIZE", help="What samples and arguments may take: bytes, or such as 500MB or 2GiB."
)
@click.option("--max-samples", metavar="N", type=int, help="How many samples may stay.")
@click.option("--older-than", metavar="AGE", help="Calls not used for so long go: such as 90s, 12h, 30d or 8w.")
@click.option(
    "--policy",
    metavar="WHICH",
    type=click.Choice(("lru", "fifo")),
    default="lru",
    help="lru: what was used least recently goes first; fifo: what was made first.",
)
@click.option("--dry-run", is_flag=True, help="Tell what would go, and change nothing.")
@yes_option
@json_option
def prune(
    *,
    max_bytes: str | None,
    max_samples: int | None,
    older_than: str | None,
    policy: Policy,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Remove whole calls until every limit holds.

    Their space goes back to the disk. A call that somebody is drawing stays; one that goes is forgotten with the
    cursors of all namespaces in it. At least one limit is to be given. Asks first.
    """
    with existing_cache() as cache:
        size = int(max_bytes) if max_bytes is not None and max_bytes.isdecimal() else max_bytes

        def pruned(*, dry: bool) -> Pruned:
            return cache.prune(
                max_bytes=size, max_samples=max_samples, older_than=older_than, policy=policy, dry_run=dry
            )

        foreseen = pruned(dry=True)
        if dry_run or not foreseen.calls:
            done, told = foreseen, f"{foreseen}." if foreseen.calls else "Every limit holds already; nothing is to go."
        elif not agreed(f"{foreseen}. Remove them?", yes=yes):
            return
        else:
            done = pruned(dry=False)
            told = (
                f"{counted(done.calls, 'call')} with {counted(done.samples, 'sample')} removed; "
                f"{counted(done.kept_samples, 'sample')} kept."
            )
    if as_json:
        show_json({"removed": not dry_run, **asdict(done)})
    else:
        say(told)


@command("sweep")
@click.option(
    "--older-than", metavar="AGE", default="7d", help="Only what is that old: such as 12h, 30d or 8w; 7d if not said."
)
@click.option("--other", metavar="URL", multiple=True, help="A further cache with the same bucket; once for each.")
@click.option("--dry-run", is_flag=True, help="Tell what would be done, and change nothing.")
@yes_option
@json_option
def sweep(*, older_than: str, other: tuple[str, ...], dry_run: bool, yes: bool, as_json: bool) -> None:
    """Clear a tier's bucket of what nothing refers to.

    That is what forgotten, pruned and replaced samples and killed programs have left there. It is set aside, where
    whoever needs it still finds it, and is gone for good with the first sweep that comes AGE later. Others may draw
    meanwhile. Asks first; running it again after Ctrl-C completes it.
    """
    with existing_cache() as cache, ExitStack() as opened, progress("Sweeping") as told:
        others = [opened.enter_context(existing_at(each, "--other")) for each in other]

        def swept(*, dry: bool) -> Swept:
            return cache.sweep(older_than=older_than, others=others, dry_run=dry, progress=told)

        done = swept(dry=True)
        is_clear = not (done.set_aside or done.removed or done.put_back)
        if not (dry_run or is_clear):
            if not agreed(f"To do: {done}. Go ahead?", yes=yes):
                return
            done = swept(dry=False)
    if as_json:
        show_json({"changed": not dry_run, **asdict(done)})
    else:
        say(f"{done}; nothing to do." if is_clear else f"To do: {done}." if dry_run else f"{done}.")
