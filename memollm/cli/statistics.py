"""The command that sums up what is stored and what was counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import click

from memollm._spending.stats import BY, grouped, summed
from memollm._spending.track import SIMILAR_TOO, saved_of, spent_of
from memollm._types.tables import cost_cell, cost_text, counted, size_text
from memollm._views.runs import SHORT, known_runs
from memollm.cli._opening import existing_cache, nothing_stored
from memollm.cli._options import command, full_option, json_option
from memollm.cli._output import Column, note, say, show_json, show_table
from memollm.cli._words import age_text, duration_text, moment, tokens_text
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._spending.track import Spending
    from memollm._types.counting import Counts
    from memollm._types.listings import Item
    from memollm._views.runs import KnownRun

HUNDRED: Final = 100
MICROSECONDS: Final = 1e6
ALWAYS: Final = ("draws", "hits", "made", "paid")
UNNAMED: Final = {"namespace": "(no namespace)"}
"""What stands for an empty name."""


RUN: Final = (Column("RUN"), Column("BEGUN", right=True), Column("BY", gives_way=True))


class StoredTotals(NamedTuple):
    """What is in the cache."""

    functions: int
    calls: int
    samples: int
    bytes: int


@command("stats")
@click.option("--by", metavar="WHAT", type=click.Choice(BY), help="Sum up for each function, namespace, run or day.")
@full_option
@json_option
def stats(*, by: str | None, full: bool, as_json: bool) -> None:
    """Say what is stored, what was paid and what was saved.

    Draws are counted for each day, run, namespace and function. What a hit saved is what making its sample took.
    """
    with existing_cache() as cache:
        stored, counts = stored_of(looking(cache.store).inventory()), looking(cache.store).counted()
        runs = {run.id: run for run in known_runs(cache)} if by == "run" else {}
    groups = grouped(counts, by) if by is not None else []
    if as_json:
        listed = {"by": by, "groups": [_document(by, *group, runs) for group in groups]} if by is not None else {}
        show_json({"stored": stored._asdict(), "counted": document_of(summed([*counts.values()])), **listed})
        return
    say(
        f"stored  {counted(stored.samples, 'sample')} of {counted(stored.calls, 'call')} of "
        f"{counted(stored.functions, 'function')}, {size_text(stored.bytes)}"
    )
    if not stored.samples:
        note(nothing_stored())
    if by is not None and groups:
        say()
        rows = [(*_names(by, name, runs, full=full), *_row(each)) for name, each in groups]
        show_table(_columns(by), rows, full=full)
        return
    for line in _lines(summed([*counts.values()])):
        say(line)


def document_of(counts: Counts) -> dict[str, object]:
    """Write counts as a document."""
    return {**counts._asdict(), "similar": counts.similar}


def _document(by: str, name: str, counts: Counts, runs: Mapping[str, KnownRun]) -> dict[str, object]:
    run = runs.get(name)
    told = {} if run is None else {"program": run.program or None, "first": run.first and moment(run.first)}
    return {by: name, **told, **document_of(counts)}


def _names(by: str, name: str, runs: Mapping[str, KnownRun], *, full: bool) -> tuple[str, ...]:
    """Name a group; a run by its time and program, too."""
    if by != "run":
        return (name or UNNAMED.get(by, ""),)
    run = runs.get(name)
    begun = "" if run is None or run.first is None else age_text(run.first)
    return name if full else name[:SHORT], begun, "" if run is None else run.program


def stored_of(items: Iterable[Item]) -> StoredTotals:
    """Sum up an inventory."""
    listed = list(items)
    return StoredTotals(
        len({item.function for item in listed}),
        len(listed),
        sum(item.samples for item in listed),
        sum(item.bytes for item in listed),
    )


def _lines(counts: Counts) -> list[str]:
    if not any(counts):
        return ["counted nothing yet"]
    draws = f"{counts.hits:,} hits ({_share(counts)}), {counts.shared:,} shared, {counts.made:,} made"
    draws += f", {counts.similar:,} similar" if counts.similar else ""
    lines = [
        f"drawn   {counted(counts.draws, 'sample')}: {draws}{_mishaps(counts)}",
        f"paid    {counted(counts.paid, 'call')}{f', {counts.failed:,} failed' if counts.failed else ''}",
        f"spent   {_amounts(spent_of(counts))}",
        f"saved   {_amounts(saved_of(counts))}",
    ]
    if counts.timed:
        lines.append(
            f"hits    {counts.timed_seconds / counts.timed * MICROSECONDS:.1f} µs each, of {counts.timed:,} timed"
        )
    return lines


def _share(counts: Counts) -> str:
    return f"{HUNDRED * counts.hits / counts.draws:.0f} %" if counts.draws else "0 %"


def _mishaps(counts: Counts) -> str:
    told = {"not stored": counts.unstored, "refused by accept": counts.refused}
    return "".join(f", {number:,} {what}" for what, number in told.items() if number)


def _amounts(sums: Spending) -> str:
    tokens = tokens_text(sums.input_tokens, sums.output_tokens)
    cost = cost_text(sums.cost, sums.unpriced)
    return ", ".join(filter(None, (duration_text(sums.seconds), tokens and f"tokens {tokens}", cost)))


def _columns(by: str) -> tuple[Column, ...]:
    figures = (*map(str.upper, SIMILAR_TOO), "SPENT", "TIME", "SAVED", "TIME")
    names = RUN if by == "run" else (Column(by.upper(), gives_way=True),)
    return *names, *(Column(name, right=True) for name in figures)


def _row(counts: Counts) -> tuple[str, ...]:
    return (
        # A column in which there is nothing is left out.
        *(f"{number:,}" if (number := getattr(counts, name)) or name in ALWAYS else "" for name in SIMILAR_TOO),
        cost_cell(counts.spent_cost, counts.unpriced),
        duration_text(counts.spent_seconds),
        cost_cell(counts.saved_cost, counts.saved_unpriced),
        duration_text(counts.saved_seconds),
    )
