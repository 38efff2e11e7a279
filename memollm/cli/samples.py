"""The commands about the samples of a call: showing and forgetting them."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from memollm._types.calls import NAMESPACES, RUNS
from memollm._types.tables import counted, size_text
from memollm._views.finding import described, find_calls, require_namespace
from memollm._views.reading import Shown, difference, shown, tally
from memollm._views.runs import find_run
from memollm._views.turns import chats_of, turns
from memollm.cli._asking import agreed
from memollm.cli._completing import keys, namespace_names
from memollm.cli._opening import existing_cache
from memollm.cli._options import command, full_option, json_option, yes_option
from memollm.cli._output import Column, line_width, list_json, note, progress, say, show_table
from memollm.cli._transcript import turn_document, write_arguments, write_turns
from memollm.cli._words import age_text, dollars, duration_text, local_time, middle_cut, moment, tokens_text
from memollm.errors import printable
from memollm.stores.keeping import keeping
from memollm.stores.looking import looking
from memollm.stores.transcripts import transcript_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memollm._cache import Cache
    from memollm._types.listings import ReaderOfCall, Surveyed
    from memollm._types.samples import Sample
    from memollm._views.runs import KnownRun

COLUMNS: Final = (
    Column("SLOT", right=True),
    Column("AGE", right=True),
    Column("TOOK", right=True),
    Column("COST", right=True),
    Column("ANSWER", gives_way=True),
    Column("DIFFERS FROM THE FIRST", gives_way=True),
)

DRAWS: Final = 100
"""How many draws of a run are shown if nothing is said."""
SEVERAL: Final = 2
FEW: Final = 10
"""How many different answers are listed if not all are asked for."""


@command("show")
@click.argument("key", required=False, shell_complete=keys)
@click.option("--run", metavar="ID", help="Instead of a call, what this run drew; 'last' is the run that began last.")
@click.option("--namespace", metavar="NAME", shell_complete=namespace_names, help="What this namespace drew.")
@click.option("--lane", metavar="NAME", help="What was drawn in this lane.")
@click.option(
    "--limit", metavar="N", type=click.IntRange(0), help=f"How many draws to show, 0 for all; {DRAWS} if not said."
)
@full_option
@json_option
def show(
    key: str | None,
    *,
    run: str | None,
    namespace: str | None,
    lane: str | None,
    limit: int | None,
    full: bool,
    as_json: bool,
) -> None:
    """Show a call with all its samples, or what a run drew.

    A call is shown with its arguments, how often each answer was given, how each sample differs from the first, what
    they cost and who drew them. KEY may be the first digits of one. With --run, --namespace or --lane, or several of
    them, what was drawn is shown as a transcript, in the order in which it was asked for.

    Of a provider's response the answer is its text, with the tools that it calls; a chat among the arguments is shown
    message by message. An answer that names a class is shown as it is written, and nothing of it is loaded; one that no
    trusted key has signed is not shown. The sample of a stream is the list of its chunks.
    """
    which = {"run": run, "namespace": namespace, "lane": lane}
    if (key is None) == (which == dict.fromkeys(which)):
        raise click.UsageError(
            "name the KEY of a call, or a --run, --namespace or --lane: `memollm ls` and `memollm runs`."
        )
    if key is None:
        _show_drawn(run, namespace, lane, limit, full=full, as_json=as_json)
        return
    with existing_cache() as cache:
        found = [_Details(cache, each) for each in find_calls(cache, key)]
    if as_json:
        list_json(each.document() for each in found)
        return
    for each in found:
        each.write(full=full)


def _show_drawn(
    run: str | None, namespace: str | None, lane: str | None, limit: int | None, *, full: bool, as_json: bool
) -> None:
    """Show what was drawn, in the order of asking."""
    with existing_cache() as cache:
        found = None if run is None else find_run(cache, run)
        if namespace is not None:
            require_namespace(cache, namespace)
        listed = transcript_of(cache.store, run=found and found.id, namespace=namespace, lane=lane)
        total = sum(each.last + 1 - each.first for each in listed)
        wanted = (total if as_json else DRAWS) if limit is None else limit or total
        shown_turns = islice(turns(cache, listed), wanted)
        if as_json:
            list_json(map(turn_document, shown_turns))
            return
        names = (found and _run_text(found), namespace and f"namespace {namespace}", lane and f"lane {lane}")
        say(f"{'; '.join(filter(None, names))}: {counted(total, 'sample')} drawn\n")
        write_turns(shown_turns, full=full)
    if wanted < total:
        note(f"{wanted:,} of {total:,} draws; --limit 0 shows all.")


def _run_text(run: KnownRun) -> str:
    begun = "" if run.first is None else f"begun {local_time(run.first)}"
    return ", ".join(filter(None, (f"run {run.id}", run.program, begun)))


class _Details:
    """A call with its samples and readers, as one look at the cache found them."""

    def __init__(self, cache: Cache, surveyed: Surveyed) -> None:
        self._surveyed = surveyed
        self._call = surveyed.call
        self._described = described(surveyed.call.form)
        self._samples = cache.store.peek(self._call)
        self._readers = looking(cache.store).readers_of(self._call)
        codec = cache.__memollm_engine__().codec
        self._answers = {slot: shown(codec, kept.record, self._call.key) for slot, kept in self._samples.items()}
        self._tally = tally(self._answers.values())

    def _difference(self, answer: Shown) -> str:
        first = next(iter(self._answers.values()))
        return "" if answer is first else difference(first, answer)

    # As JSON.

    def document(self) -> dict[str, object]:
        """Describe everything."""
        return {
            "key": self._call.key.hex(),
            "function": self._call.function,
            "version": self._described.version,
            "arguments": self._described.arguments,
            "form": self._call.form,
            "bytes": self._surveyed.bytes,
            "used": moment(self._surveyed.used),
            "answers": [{"times": times, "text": text} for text, times in self._tally.items()],
            "samples": [self._sample_document(slot, sample) for slot, sample in self._samples.items()],
            "readers": [_reader_document(reader) for reader in self._readers],
        }

    def _sample_document(self, slot: int, sample: Sample) -> dict[str, object]:
        answer = self._answers[slot]
        told: dict[str, object] = {"not_shown": answer.trouble} if answer.trouble else {"value": answer.value}
        return {
            "slot": slot,
            "stored": moment(sample.stored),
            "seconds": sample.seconds,
            "latency": sample.latency,
            "input_tokens": sample.input_tokens,
            "output_tokens": sample.output_tokens,
            "cost": sample.cost,
            **told,
            "text": answer.text,
            "answer": answer.answer,
            "difference": self._difference(answer),
        }

    # As text.

    def write(self, *, full: bool) -> None:
        """Write everything, each part cut to the line unless it is to be shown in full."""
        each = self._surveyed
        head = f"{self._call.key.hex()}  {self._call.function}"
        say(head if full else middle_cut(head, line_width()))
        say(f"version {self._described.version or 'not kept'}")
        tokens = tokens_text(each.input_tokens, each.output_tokens)
        took = duration_text(each.seconds) if each.seconds else ""
        facts = (
            counted(each.samples, "sample"),
            size_text(each.bytes),
            took,
            tokens and f"tokens {tokens}",
            dollars(each.cost),
        )
        say(", ".join(filter(None, facts)))
        say(f"made {age_text(each.made)} ago, used {age_text(each.used)} ago")
        say()
        self._write_arguments(full=full)
        say()
        self._write_tally(full=full)
        if full:
            self._write_answers()
        else:
            show_table(COLUMNS, [self._row(slot, sample) for slot, sample in self._samples.items()])
        self._write_readers()

    def _write_arguments(self, *, full: bool) -> None:
        write_arguments(self._described, chats_of(self._described), full=full)

    def _write_tally(self, *, full: bool) -> None:
        """Write how often each answer was given, where there are several."""
        total, different = self._tally.total(), len(self._tally)
        if total < SEVERAL:
            return
        if different == total:
            say(f"all {total:,} answers differ")
        else:
            say(f"{counted(different, 'different answer')}:" if different > 1 else "all answers are equal:")
            for text, times in self._tally.most_common(None if full else FEW):
                line = printable(f"{times:>7,} × {text}")
                say(line if full else middle_cut(line, line_width()))
            if not full and different > FEW:
                say(f"        … and {different - FEW:,} more; --full lists them all")
        say()

    def _row(self, slot: int, sample: Sample) -> tuple[str, ...]:
        answer = self._answers[slot]
        took = duration_text(sample.latency) if sample.latency else ""
        return str(slot), age_text(sample.stored), took, dollars(sample.cost), answer.gist, self._difference(answer)

    def _write_answers(self) -> None:
        for slot, sample in self._samples.items():
            answer = self._answers[slot]
            took = duration_text(sample.latency) if sample.latency else ""
            tokens = tokens_text(sample.input_tokens, sample.output_tokens)
            say(
                "  ".join(filter(None, (f"slot {slot}", local_time(sample.stored), took, tokens, dollars(sample.cost))))
            )
            say(_indented(answer.text))
            if told := self._difference(answer):
                say(f"  differs from the first: {told}")
            say()

    def _write_readers(self) -> None:
        named = [reader for reader in self._readers if reader.reader.startswith(NAMESPACES)]
        runs = [reader for reader in self._readers if reader.reader.startswith(RUNS)]
        lines = [f"{reader.reader.removeprefix(NAMESPACES)}: {_drew(reader)}" for reader in named]
        if runs:
            lines.append(f"{counted(len(runs), 'run')} without a namespace: {sum(run.draws for run in runs):,} drawn")
        say("\nDrawn by " + ("\n         ".join(lines) or "nobody with a cursor (pool=1 keeps none)"))


def _drew(reader: ReaderOfCall) -> str:
    lanes = f" in {counted(len(reader.lanes), 'lane')} ({', '.join(reader.lanes)})" if reader.lanes else ""
    return f"{reader.draws:,} drawn{lanes}"


def _reader_document(reader: ReaderOfCall) -> dict[str, object]:
    kind, _, name = reader.reader.partition(":")
    return {"kind": kind, "name": name, "draws": reader.draws, "lanes": list(reader.lanes)}


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))


@command("forget")
@click.argument("keys", metavar="KEY...", nargs=-1, required=True, shell_complete=keys)
@yes_option
def forget(keys: Sequence[str], *, yes: bool) -> None:
    """Remove calls with all their samples and cursors.

    A KEY may be the first digits of one. Asks first: what is forgotten has to be paid for again.
    """
    with existing_cache() as cache:
        found = {each.call: each for key in keys for each in find_calls(cache, key)}
        samples = sum(each.samples for each in found.values())
        cost = sum(each.cost or 0.0 for each in found.values())
        price = f" that cost {dollars(cost)}" if cost else ""
        what = f"{counted(len(found), 'call')} with {counted(samples, 'sample')}{price}"
        if agreed(f"Forget {what}?", yes=yes):
            gone = sum(keeping(cache.store).forget(call) for call in found)
            say(f"{counted(gone, 'sample')} forgotten.")
            with progress("Giving the space back") as told:
                keeping(cache.store).shrink(told)
