"""The command that lists calls."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from memollm._views.finding import SHORT, described, require_function
from memollm.cli._amounts import seconds_of
from memollm.cli._opening import existing_cache, nothing_stored
from memollm.cli._options import command, full_option, function_option, how_many, json_option, limit_option
from memollm.cli._output import Column, list_json, note, say, show_table
from memollm.cli._words import age_text, moment
from memollm.errors import printable
from memollm.stores.looking import looking

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memollm._types.calls import Call
    from memollm._types.listings import Surveyed

COLUMNS: Final = (
    Column("KEY"),
    Column("SAMPLES", right=True),
    Column("AGE", right=True),
    Column("FUNCTION", gives_way=True),
    Column("ARGUMENTS", gives_way=True),
)
WORD: Final = re.compile(r"(?:(?:^|[0-9\\])[abcdefux]*+|(?<=[^a-z0-9\\]))([a-z]{3,})")
"""Letters that no escape of a character is among: those that end one, or are one, stand first, or behind a digit."""
UNWRITTEN: Final = "(not kept: keep_arguments=false) true null nan infinity"
"""What is printed of a call though its form may not say it so."""
ORDERS: Final[dict[str, Callable[[Surveyed], float]]] = {
    "made": lambda each: each.made,
    "used": lambda each: each.used,
    "samples": lambda each: each.samples,
    "size": lambda each: each.bytes,
    "cost": lambda each: each.cost or 0.0,
}


@command("ls")
@function_option
@click.option(
    "--text", metavar="TEXT", help="Only calls with this text in their function's name or arguments, in whatever case."
)
@click.option("--older", metavar="AGE", callback=seconds_of, help="Only calls made longer ago than this, such as 7d.")
@click.option("--newer", metavar="AGE", callback=seconds_of, help="Only calls made since then, such as 12h.")
@click.option("--min-samples", metavar="N", type=click.IntRange(1), help="Only calls with so many samples or more.")
@click.option("--max-samples", metavar="N", type=click.IntRange(1), help="Only calls with so many samples or fewer.")
@click.option(
    "--sort",
    metavar="FIGURE",
    type=click.Choice(list(ORDERS)),
    default="made",
    help="List first what has the most of it: made (the latest), used, samples, size or cost.",
)
@limit_option
@full_option
@json_option
def ls(
    *,
    function: str | None,
    text: str | None,
    older: float | None,
    newer: float | None,
    min_samples: int | None,
    max_samples: int | None,
    sort: str,
    limit: int | None,
    full: bool,
    as_json: bool,
) -> None:
    """List the calls that have samples.

    AGE is how long ago the oldest sample of a call was made. A key may be given to other commands by its first digits.
    """
    with existing_cache() as cache:
        require_function(cache, function)
        surveyed = looking(cache.store).survey(function=function)
        if text is not None:
            surveyed = Sought.of(text).among(surveyed)
    now = time.time()
    made_in = (-float("inf") if newer is None else now - newer, float("inf") if older is None else now - older)
    samples_in = (min_samples or 1, max_samples or float("inf"))
    found = [
        each
        for each in surveyed
        if made_in[0] <= each.made <= made_in[1] and samples_in[0] <= each.samples <= samples_in[1]
    ]
    found.sort(key=ORDERS[sort], reverse=True)
    wanted = how_many(len(found), limit, every=as_json or full)
    if as_json:
        list_json(map(_document, found[:wanted]))
    else:
        is_asked = any(each is not None for each in (function, text, older, newer, min_samples, max_samples))
        _show(found, wanted, full=full, is_asked=is_asked)


class Sought(NamedTuple):
    """A text that is looked for in what is printed of calls, in whatever case."""

    ways: tuple[str, ...]
    """The text as it is, as JSON writes it, and as a terminal shows it."""
    word: str
    """A part of it that stands in the form of every call in which it is found; nothing if there is none."""

    @classmethod
    def of(cls, text: str) -> Sought:
        """Look for a text."""
        ways = text, json.dumps(text, ensure_ascii=False)[1:-1], printable(text)
        word = max(WORD.findall(text.casefold()), key=len, default="")
        return cls(tuple(way.casefold() for way in ways), "" if word in UNWRITTEN else word)

    def among(self, surveyed: Iterable[Surveyed]) -> list[Surveyed]:
        """Return the calls that say so."""
        return [each for each in surveyed if self._may_be_in(each.call) and self._is_in(each.call)]

    def _may_be_in(self, call: Call) -> bool:
        # Few are left by this, and reading a form takes ten times as long.
        return self.word in call.form.casefold() or self.word in call.function.casefold()

    def _is_in(self, call: Call) -> bool:
        printed = printable(f"{call.function} {described(call.form)}").casefold()
        return any(way in printed for way in self.ways)


def _show(found: list[Surveyed], wanted: int, *, full: bool, is_asked: bool) -> None:
    if not found:
        say("No stored call is like that." if is_asked else nothing_stored())
        return
    show_table(COLUMNS, [_row(each, full=full) for each in found[:wanted]], full=full)
    if wanted < len(found):
        note(f"{wanted:,} of {len(found):,} calls; --limit 0 lists all.")


def _row(each: Surveyed, *, full: bool) -> tuple[str, ...]:
    key = each.call.key.hex()
    arguments = str(described(each.call.form))
    return key if full else key[:SHORT], f"{each.samples:,}", age_text(each.made), each.call.function, arguments


def _document(each: Surveyed) -> dict[str, object]:
    version, arguments = described(each.call.form)
    return {
        "key": each.call.key.hex(),
        "function": each.call.function,
        "version": version,
        "arguments": arguments,
        "samples": each.samples,
        "bytes": each.bytes,
        "made": moment(each.made),
        "used": moment(each.used),
        "seconds": each.seconds,
        "input_tokens": each.input_tokens,
        "output_tokens": each.output_tokens,
        "cost": each.cost,
    }
