"""Reads a cache into a report, within bounds: the page stays one that a browser opens at once."""

from __future__ import annotations

import shlex
from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import msgspec

from memollm._spending.stats import grouped, summed
from memollm._types.counting import Counts
from memollm._views.finding import described
from memollm._views.reading import shown, tally
from memollm._views.report.data import (
    Answer,
    Asked,
    Depth,
    EqualAnswers,
    FormPart,
    FunctionData,
    Report,
    RunData,
    SimilarData,
    Sums,
    Text,
    TurnData,
)
from memollm._views.report.readable import Named, answer_text, parts_of, summary_of
from memollm._views.runs import known_runs
from memollm._views.similar import became, similar_pairs
from memollm._views.turns import turns
from memollm.stores.looking import looking
from memollm.stores.transcripts import transcribed, transcript_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memollm._cache import Cache
    from memollm._types.counting import Account, DrawnStretch
    from memollm._types.listings import Surveyed
    from memollm._types.samples import Sample
    from memollm._upkeep.answers import AnswerCounts
    from memollm._views.reading import Shown
    from memollm._views.runs import KnownRun
    from memollm._views.turns import Turn

Group = tuple[str, Counts]
DEPTHS: Final = (1, 2, 3, 5, 10, 20, 50, 100, 1000)
"""Where a new class of calls begins, by their number of samples."""
READ_AT_MOST: Final = 32 << 20
"""A call of more bytes than this is not read for the page: all of its samples are read at once."""
LONGEST_NAME: Final = 300
MOST_PARTS: Final = 500
"""Of a call's arguments."""
MOST_EQUAL: Final = 20
"""Of a call's answers that several samples give."""
FRAME: Final = 100
"""Bytes around a text in the page, about."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much of a cache goes into the page."""

    calls: int = 1000
    samples: int = 20
    """Of each call."""
    characters: int = 4000
    """Of each text."""
    text: int = 6_000_000
    """Bytes of arguments and samples in all."""
    draws: int = 500
    """In the order of asking, the latest."""
    days: int = 1100
    names: int = 500
    """Functions, namespaces, and runs."""


class Room:
    """How much text there still is room for."""

    def __init__(self, bounds: Bounds) -> None:
        self._characters = bounds.characters
        self._left = bounds.text
        self.cut = 0
        """How many texts are shorter in the page than they are."""

    def is_full(self) -> bool:
        """Tell whether no text goes in any more."""
        return self._left <= 0

    def take(self, text: str, *, again: bool = False) -> Text:
        """Let as much of a text in as there is room for; one that is in the page already is not missing twice."""
        kept = written(text[: 0 if self.is_full() else self._characters])
        self._left -= FRAME + len(msgspec.json.encode(kept)) + 5 * kept.count("<")
        self.cut += len(kept) < len(text) and not again
        return Text(kept, len(text))


def collect(cache: Cache, *, place: str, made: float, show: Sequence[str], bounds: Bounds | None = None) -> Report:
    """Read a cache: everything that was counted, and the calls that cost most, with their samples.

    `place` is the cache's name in the page; `show` is the command that, with a key, shows a call in a terminal.
    """
    bounds = bounds or Bounds()
    counted, surveyed = looking(cache.store).counted(), sorted(looking(cache.store).survey(), key=expense)
    room = Room(bounds)
    asked = tuple(asked_of(cache, each, show, bounds, room) for each in surveyed[: bounds.calls])
    report, there = summed_up(counted, surveyed, known_runs(cache), place=place, made=made, bounds=bounds)
    drawn, turned = _turns(cache, bounds, room)
    there["similar call"], similar = lent_of(cache, bounds, room)
    report = replace(report, turns=turned, drawn=drawn, asked=asked, similar=similar)
    return replace(report, left_out=tuple(_left_out(bounds, report, room.cut, there)))


def summed_up(
    counted: Mapping[Account, Counts],
    surveyed: Sequence[Surveyed],
    runs: Sequence[KnownRun],
    *,
    place: str,
    made: float,
    bounds: Bounds,
) -> tuple[Report, dict[str, int]]:
    """Add up what was counted and what is stored, without calls and turns; and say how many there are of each thing."""
    from memollm import __version__

    days, namespaces = grouped(counted, "day"), grouped(counted, "namespace")
    functions = _functions(grouped(counted, "function"), surveyed)
    report = Report(
        place=named(place),
        version=__version__,
        made=made,
        total=Sums.of("total", summed([*counted.values()])),
        days=tuple(Sums.of(named(day), counts) for day, counts in days[-bounds.days :]),
        functions=functions[: bounds.names],
        namespaces=tuple(Sums.of(named(name), counts) for name, counts in _most_drawn(namespaces)[: bounds.names]),
        runs=tuple(
            RunData(Sums.of(named(run.id), run.counts), run.first, named(run.program)) for run in runs[: bounds.names]
        ),
        depths=_depths(each.samples for each in surveyed),
        calls=len(surveyed),
        samples=sum(each.samples for each in surveyed),
        bytes=sum(each.bytes for each in surveyed),
    )
    return report, {"day": len(days), "function": len(functions), "namespace": len(namespaces), "run": len(runs)}


def written(text: str) -> str:
    """Write lone surrogates, which no file can hold, as escapes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def named(text: str) -> str:
    """Write a name, which may be anything, as long as a name is."""
    return written(text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 1]}…")


# What was counted.


def _most_drawn(groups: Iterable[Group]) -> list[Group]:
    return sorted(groups, key=lambda group: (-group[1].draws, group[0]))


def _functions(counted: Sequence[Group], surveyed: Sequence[Surveyed]) -> tuple[FunctionData, ...]:
    """List the functions that were drawn from or that have samples."""
    calls, samples, sizes = Counter[str](), Counter[str](), Counter[str]()
    for each in surveyed:
        name = each.call.function
        calls[name] += 1
        samples[name] += each.samples
        sizes[name] += each.bytes
    every = {**dict.fromkeys(calls, Counts()), **dict(counted)}
    return tuple(
        FunctionData(Sums.of(named(name), counts), calls[name], samples[name], sizes[name])
        for name, counts in _most_drawn(every.items())
    )


# What is stored.


def expense(surveyed: Surveyed) -> tuple[float, ...]:
    """Order calls by what they cost: money where a price is known, then time, then size."""
    return (-(surveyed.cost or 0.0), -surveyed.seconds, -surveyed.samples, -surveyed.bytes)


def _depths(numbers: Iterable[int]) -> tuple[Depth, ...]:
    """Count the calls by how many samples they have."""
    classes = Counter(bisect_right(DEPTHS, number) - 1 for number in numbers)
    ends = [*(start - 1 for start in DEPTHS[1:]), None]
    labels = [
        f"{start:,} or more" if end is None else f"{start:,}" if end == start else f"{start:,} to {end:,}"
        for start, end in zip(DEPTHS, ends, strict=True)
    ]
    return tuple(Depth(label, classes[at]) for at, label in enumerate(labels) if classes[at])


def asked_of(cache: Cache, surveyed: Surveyed, show: Sequence[str], bounds: Bounds, room: Room) -> Asked:
    """Read a call with its samples, as far as there is room."""
    call, arguments = surveyed.call, described(surveyed.call.form).arguments
    parts = tuple(_parts(arguments, room))
    read = _read(cache, surveyed, bounds, room)
    counts = tally(each for _, _, each in read)
    return Asked(
        key=call.key.hex(),
        function=named(call.function),
        summary=written(summary_of(arguments)),
        samples=surveyed.samples,
        bytes=surveyed.bytes,
        made=surveyed.made,
        used=surveyed.used,
        seconds=surveyed.seconds,
        input_tokens=surveyed.input_tokens,
        output_tokens=surveyed.output_tokens,
        cost=surveyed.cost,
        parts=parts,
        answers=tuple(_answers(read[: bounds.samples], room)),
        equal=tuple(_equal(counts, room)),
        different=len(counts),
        command=written(shlex.join([*show, call.key.hex()])),
    )


def _parts(arguments: Named | None, room: Room) -> Iterator[FormPart]:
    if room.is_full():
        return
    parts = parts_of(arguments)
    room.cut += max(0, len(parts) - MOST_PARTS)
    for label, text in parts[:MOST_PARTS]:
        yield FormPart(named(label), room.take(text))


def _read(cache: Cache, surveyed: Surveyed, bounds: Bounds, room: Room) -> list[tuple[int, Sample, Shown]]:
    """Read all samples of a call, of which there may be more than the page shows: equal answers are counted."""
    if room.is_full() or surveyed.bytes > READ_AT_MOST or not bounds.samples:
        return []
    codec = cache.__memollm_engine__().codec
    return [
        (slot, sample, shown(codec, sample.record, surveyed.call.key))
        for slot, sample in sorted(cache.store.peek(surveyed.call).items())
    ]


def _answers(read: Sequence[tuple[int, Sample, Shown]], room: Room) -> Iterator[Answer]:
    for slot, sample, answer in read:
        if room.is_full():
            return
        yield Answer(
            slot,
            sample.stored,
            sample.latency,
            sample.input_tokens,
            sample.output_tokens,
            sample.cost,
            room.take("" if answer.trouble else answer_text(answer)),
            written(answer.trouble),
        )


def _equal(counts: AnswerCounts, room: Room) -> Iterator[EqualAnswers]:
    """List the answers that several samples give."""
    for text, times in counts.most_common(MOST_EQUAL):
        if times == 1 or room.is_full():
            return
        yield EqualAnswers(times, room.take(text, again=True))


# What was drawn, in its order.


def _turns(cache: Cache, bounds: Bounds, room: Room) -> tuple[int, tuple[TurnData, ...]]:
    """Tell how many samples were drawn, and show the latest."""
    if transcribed(cache.store) is None:
        return 0, ()
    drawn = transcript_of(cache.store)
    total = sum(each.last + 1 - each.first for each in drawn)
    wanted = min(bounds.draws, total) if bounds.calls and bounds.samples else 0
    latest: list[DrawnStretch] = []
    while sum(each.last + 1 - each.first for each in latest) < wanted:
        latest.insert(0, drawn.pop())
    read = list(turns(cache, latest))[-wanted:] if wanted else []
    # Where there is no room for all, the latest are there.
    told = [turn_of(each, room) for each in reversed(read) if not room.is_full()]
    return total, tuple(reversed(told))


def turn_of(turn: Turn, room: Room) -> TurnData:
    """Read what was drawn."""
    drawn, sample, chats = turn.drawn, turn.sample, turn.chats
    others = {name: value for name, value in (turn.described.arguments or {}).items() if name not in chats}
    parts = [(each.who, each.text) for _, said in chats.values() for each in said]
    parts += parts_of(others) if others or not chats else []
    return TurnData(
        run=named(drawn.run),
        namespace=named(drawn.namespace),
        lane=named(drawn.lane),
        at=drawn.at,
        function=named(drawn.call.function),
        key=drawn.call.key.hex(),
        slot=turn.slot,
        earlier=sum(known for known, _ in chats.values()),
        parts=tuple(FormPart(named(label), room.take(text, again=True)) for label, text in parts[:MOST_PARTS]),
        latency=0.0 if sample is None else sample.latency,
        cost=None if sample is None else sample.cost,
        content=room.take("" if turn.answer.trouble else turn.answer.gist, again=True),
        refusal=written(turn.answer.trouble),
    )


def lent_of(cache: Cache, bounds: Bounds, room: Room) -> tuple[int, tuple[SimilarData, ...]]:
    """List what similar calls have lent, the latest first; and say how many there are."""
    if getattr(cache.store, "matching", None) is None:
        return 0, ()
    pairs = similar_pairs(cache)
    return len(pairs), tuple(
        SimilarData(
            named(pair.function),
            pair.score,
            became(pair),
            pair.at,
            pair.of,
            room.take(pair.asked),
            room.take(pair.stored),
        )
        for pair in list(reversed(pairs))[: bounds.names]
    )


# What the page does not show.


def _left_out(bounds: Bounds, report: Report, cut: int, there: Mapping[str, int]) -> Iterator[str]:
    """Say in sentences what the cache holds and the page does not; `there` are all days, functions and so on."""
    shown = len(report.asked)
    if shown < report.calls:
        yield f"{_number(report.calls - shown, 'call')} that cost less than the {shown:,} above; `--calls` takes more."
    missing = sum(each.samples - len(each.answers) for each in report.asked)
    if missing:
        yield (
            f"{_number(missing, 'sample')} of the calls above: of a call at most {bounds.samples:,} are here "
            f"(`--samples`), and of all text {bounds.text / 1e6:.3g} MB (`--text`)."
        )
    if cut:
        yield f"The rest of {_number(cut, 'text')}, cut after {bounds.characters:,} characters (`--characters`)."
    if len(report.turns) < report.drawn:
        yield (
            f"{_number(report.drawn - len(report.turns), 'draw')} of the runs and namespaces, in their order; the "
            "latest are here, as far as there was room (`--draws`)."
        )
    yield from names_left_out(report, there)


def names_left_out(report: Report, there: Mapping[str, int]) -> Iterator[str]:
    """Say which days, functions, namespaces, runs and lendings there are besides those of the page."""
    if there["day"] > len(report.days):
        yield f"{_number(there['day'] - len(report.days), 'day')} before those above."
    for what, above in (("function", len(report.functions)), ("namespace", len(report.namespaces))):
        if there[what] > above:
            yield f"{_number(there[what] - above, what)} that drew less than those above."
    if there["similar call"] > len(report.similar):
        yield f"{_number(there['similar call'] - len(report.similar), 'similar call')} before those above."
    if there["run"] > len(report.runs):
        yield f"{_number(there['run'] - len(report.runs), 'run')} before those above."


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
