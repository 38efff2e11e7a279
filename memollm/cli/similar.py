"""The command about similar calls: what was lent, and which threshold fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import click

from memollm._types.tables import counted
from memollm._upkeep.shadows import LATEST
from memollm._upkeep.similarity import HEAD, SimilarPair
from memollm._views.finding import require_function
from memollm._views.similar import became, replayed_report, similar_pairs
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, function_option, json_option
from memollm.cli._output import Column, list_json, note, say, show_json, show_table
from memollm.cli._words import age_text, moment

if TYPE_CHECKING:
    from memollm._upkeep.similarity import SimilarReport, ThresholdLine

COLUMNS: Final = (
    Column("AGE", right=True),
    Column("SCORE", right=True),
    Column("", gives_way=False),
    Column("ASKED", gives_way=True),
    Column("STORED", gives_way=True),
)
PRECISION: Final = 0.99
LISTED: Final = 50
"""How many pairs are listed if nothing is said."""


@command("similar")
@click.argument("what", required=False, type=click.Choice(["list", "report"]), default="list")
@function_option
@click.option(
    "--precision",
    metavar="SHARE",
    type=click.FloatRange(0, 1, min_open=True),
    default=PRECISION,
    help=f"For the report: which share of what is lent has to be right; {PRECISION} if not said.",
)
@click.option(
    "--limit", metavar="N", type=click.IntRange(0), help=f"How many to list, 0 for all; {LISTED} if not said."
)
@click.option(
    "--last",
    metavar="N",
    type=click.IntRange(1),
    default=LATEST,
    help=f"For the report: how many calls to replay, the latest ones; {LATEST:,} if not said.",
)
@full_option
@json_option
def similar(
    *, what: str, function: str | None, precision: float, limit: int | None, last: int, full: bool, as_json: bool
) -> None:
    """List what similar calls have lent, or find a threshold.

    A list has both texts and their score, the latest first; what a shadow has only looked at says whether the two
    answers agreed. The report replays the calls that shadows looked at: it says of each threshold what a cache that
    lends would have lent, with all gates, and how much of that was right, and picks the lowest threshold from which on
    every one has the wanted precision. Each embedder has a table of its own, the latest first. Answers agree if they
    are equal; nothing of them is loaded.
    """
    with existing_cache() as cache:
        if function is not None:
            require_function(cache, function)
        if what == "report":
            _show_report(replayed_report(cache, function, last), precision, as_json=as_json)
            return
        found = similar_pairs(cache, function)
    listed = found[::-1]
    if as_json:
        list_json(map(_document, listed))
        return
    if not listed:
        say("No similar call has lent anything.")
        return
    most = LISTED if limit is None else limit or len(listed)
    show_table(COLUMNS, [_row(pair) for pair in listed[:most]], full=full)
    if most < len(listed):
        note(f"{most:,} of {counted(len(listed), 'pair')}; --limit 0 lists all.")


def _show_report(report: SimilarReport, precision: float, *, as_json: bool) -> None:
    if as_json:
        others = [_report_document(other, precision) for other in report.others]
        show_json({**_report_document(report, precision), "others": others})
        return
    for number, each in enumerate(report.each()):
        if number:
            say()
        say(each.measures())
        if each.calls:
            say()
            show_table([Column(name.upper(), right=True) for name in HEAD], [line.cells() for line in each.steps()])
            say()
            say(each.advice(precision))


def _report_document(report: SimilarReport, precision: float) -> dict[str, object]:
    (alone, *_) = report.each()
    return {
        "embedder": alone.embedder,
        "measures": alone.measures(),
        "thresholds": [_line_document(line) for line in alone.steps()],
        "advice": alone.advice(precision),
    }


def _row(pair: SimilarPair) -> tuple[str, ...]:
    return age_text(pair.at), f"{pair.score:.3f}", became(pair), pair.asked, pair.stored


def _document(pair: SimilarPair) -> dict[str, object]:
    return {**pair._asdict(), "at": moment(pair.at)}


def _line_document(line: ThresholdLine) -> dict[str, object]:
    return {**line._asdict(), "precision": line.precision, "at_least": line.at_least}
