"""The command that lists runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memollm._types.tables import cost_cell
from memollm._views.runs import SHORT, known_runs
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, how_many, json_option, limit_option
from memollm.cli._output import Column, list_json, note, say, show_table
from memollm.cli._words import age_text, duration_text, moment

if TYPE_CHECKING:
    from memollm._views.runs import KnownRun

COLUMNS: Final = (
    Column("RUN"),
    Column("BEGUN", right=True),
    Column("BY", gives_way=True),
    Column("DRAWS", right=True),
    Column("HITS", right=True),
    Column("PAID", right=True),
    Column("SPENT", right=True),
    Column("TIME", right=True),
)


@command("runs")
@limit_option
@full_option
@json_option
def runs(*, limit: int | None, full: bool, as_json: bool) -> None:
    """List the runs of programs, the latest first.

    BEGUN is how long ago a run drew first, and BY the program that did. `memollm show --run last` shows what one drew.
    """
    with existing_cache() as cache:
        found = known_runs(cache)
    wanted = how_many(len(found), limit, every=as_json or full)
    if as_json:
        list_json(map(_document, found[:wanted]))
    elif found:
        show_table(COLUMNS, [_row(each, full=full) for each in found[:wanted]], full=full)
        if wanted < len(found):
            note(f"{wanted:,} of {len(found):,} runs; --limit 0 lists all.")
    else:
        say("No run has drawn from this cache.")


def _row(run: KnownRun, *, full: bool) -> tuple[str, ...]:
    counts = run.counts
    return (
        run.id if full else run.id[:SHORT],
        "" if run.first is None else age_text(run.first),
        run.program,
        f"{counts.draws:,}",
        f"{counts.hits:,}",
        f"{counts.paid:,}",
        cost_cell(counts.spent_cost, counts.unpriced),
        duration_text(counts.spent_seconds),
    )


def _document(run: KnownRun) -> dict[str, object]:
    first = None if run.first is None else moment(run.first)
    return {"run": run.id, "first": first, "program": run.program or None, **run.counts._asdict()}
