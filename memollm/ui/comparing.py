"""Two namespaces side by side: their calls in pairs, and which answers differ.

The same call is a pair. Of what is left, calls of one function are a pair if they differ in that alone which has one
value in all calls of the one namespace and another in all of the other (a model, a system prompt, a version of the
code), and if no other call could be meant. The question itself must be equal.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memollm._types.calls import NAMESPACES
from memollm._upkeep.answers import is_list, is_object
from memollm._upkeep.conversations import untagged
from memollm._upkeep.explain import differences
from memollm._views.finding import described
from memollm._views.reading import shown, tally
from memollm._views.report.collect import Room, named, written
from memollm._views.report.readable import summary_of
from memollm.errors import StoreRefused
from memollm.stores.keeping import keeping
from memollm.stores.transcripts import transcribed, transcript_of
from memollm.stores.transfer import Part
from memollm.ui.data import Given, PairData

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memollm._cache import Cache
    from memollm._types.calls import Call
    from memollm._upkeep.answers import AnswerCounts

MOST_READ: Final = 3000
"""How many pairs are compared."""
MOST_ANSWERS: Final = 12
"""Of either side, how many different answers are told."""
VERSION: Final = "function.version"
DEPTH: Final = 2
"""How deep arguments are taken apart: options of a body that a client sends, or of `**options`."""
SYSTEM: Final = frozenset({"system", "developer"})
QUESTIONS: Final = frozenset({
    "prompt", "question", "query", "messages", "message", "input", "inputs", "contents", "content", "text", "task",
})  # fmt: skip
"""Names of arguments that are the question: two that differ in it are no pair."""
TEXTS: Final = frozenset('"[{')
"""How JSON of a text begins, or of what may hold texts."""
EMPTY: Final = 2
ORDER: Final = ("vote", "answers", "draws", "unknown", "one", "other", "same")
"""In what pairs differ, the most first: the most frequent answers, others, how often they were drawn, what cannot be
read, or by whom they were drawn."""


class DrawnSlots(NamedTuple):
    """What a namespace was given of a call."""

    call: Call
    slots: Sequence[int]


class Paired(NamedTuple):
    """The same question in both."""

    one: DrawnSlots | None
    other: DrawnSlots | None


def drawn_by(cache: Cache, namespace: str) -> list[DrawnSlots]:
    """List what a namespace was given, in the order of asking where the store has it."""
    if transcribed(cache.store) is not None:
        slots: dict[Call, list[int]] = defaultdict(list)
        for each in transcript_of(cache.store, namespace=namespace):
            slots[each.call].extend(range(each.first, each.last + 1))
        return [DrawnSlots(call, sorted({*given})) for call, given in slots.items()]
    return [*_by_cursors(cache, NAMESPACES + namespace)]


def _by_cursors(cache: Cache, reader: str) -> Iterator[DrawnSlots]:
    with keeping(cache.store).transfer().snapshot() as snapshot:
        for entry in snapshot.entries(Part(reader=reader)):
            for cursor in snapshot.cursors(entry):
                if cursor.reader == reader:
                    free = {*cursor.free}
                    yield DrawnSlots(entry.call, [at for at in range(cursor.next) if at not in free])


def why_not(cache: Cache) -> str:
    """Say why namespaces of a cache cannot be compared, if they cannot."""
    if transcribed(cache.store) is not None:
        return ""
    try:
        keeping(cache.store)
    except StoreRefused:
        return (
            "This store keeps no transcripts and is open for reading only, so it cannot be told what a namespace drew."
        )
    return ""


# Pairs.


class AskedParts(NamedTuple):
    """A call by its parts, each as JSON."""

    drawn: DrawnSlots
    parts: Mapping[str, str]


def paired(one: Sequence[DrawnSlots], other: Sequence[DrawnSlots]) -> tuple[list[Paired], set[str]]:
    """Put calls in pairs; return them with the names of what the namespaces differ in throughout."""
    others, mine = {each.call: each for each in other}, {each.call for each in one}
    common = mine & others.keys()
    pairs = [Paired(each, others[each.call]) for each in one if each.call in common]
    apart: set[str] = set()
    for function in dict.fromkeys(each.call.function for each in (*one, *other) if each.call not in common):
        sides = [[_asked_parts(each) for each in side if each.call.function == function] for side in (one, other)]
        names = _apart(*sides)
        left, right = [[_kept(each, names) for each in side if each.drawn.call not in common] for side in sides]
        more = _matched(left, right)
        pairs += more
        apart |= names if any(each.one and each.other for each in more) else set()
    return pairs, apart


def _asked_parts(drawn: DrawnSlots) -> AskedParts:
    version, arguments = described(drawn.call.form)
    parts = {
        path: json.dumps(part, sort_keys=True)
        for name, value in (arguments or {}).items()
        for path, part in _parts(name, value)
    }
    return AskedParts(drawn, {VERSION: version or "", **parts})


def _parts(name: str, value: Any, depth: int = DEPTH) -> Iterator[tuple[str, Any]]:
    """Take apart objects, such as the body that a client sends, and of a chat the system's messages."""
    plain = untagged(value)
    if depth and plain and is_object(plain):
        for inner, part in plain.items():
            yield from _parts(f"{name}.{inner}", part, depth - 1)
    elif is_list(plain) and plain and all(is_object(each) and "role" in each for each in plain):
        yield f"{name}.system", [each for each in plain if each["role"] in SYSTEM]
        yield name, [each for each in plain if each["role"] not in SYSTEM]
    else:
        yield name, value


def _apart(one: list[AskedParts], other: list[AskedParts]) -> set[str]:
    """Name what has one value in all calls of the one namespace, and another in all of the other; no question."""
    names = {name for each in (*one, *other) for name in each.parts if not _is_question(name)}
    values = {name: [{each.parts.get(name) for each in side} for side in (one, other)] for name in names}
    return {name for name, (mine, others) in values.items() if len(mine) == len(others) == 1 and mine != others}


def _is_question(name: str) -> bool:
    return name.rpartition(".")[2] in QUESTIONS


def _kept(asked: AskedParts, apart: set[str]) -> AskedParts:
    return asked._replace(parts={name: part for name, part in asked.parts.items() if name not in apart})


def _matched(one: list[AskedParts], other: list[AskedParts]) -> list[Paired]:
    """Put questions in pairs that are alike in all that is kept, if it asks something and no other could be meant."""
    varied = _varied((*one, *other))
    sides = [{_by(each, varied): each.drawn for each in side} for side in (one, other)]
    times = [Counter(_by(each, varied) for each in side) for side in (one, other)]
    meant = {by for by in times[0] if by and times[0][by] == times[1][by] == 1}
    pairs = [Paired(each.drawn, sides[1][by] if (by := _by(each, varied)) in meant else None) for each in one]
    return pairs + [Paired(None, each.drawn) for each in other if _by(each, varied) not in meant]


def _varied(questions: Iterable[AskedParts]) -> set[str]:
    """Name what may be the question: what is called so, or is not the same in all calls."""
    values: dict[str, set[str]] = defaultdict(set)
    for each in questions:
        for name, part in each.parts.items():
            values[name].add(part)
    return {name for name, parts in values.items() if name != VERSION and (_is_question(name) or len(parts) > 1)}


def _by(question: AskedParts, varied: set[str]) -> tuple[tuple[str, str], ...]:
    """Return by what a question is paired; nothing if it has no text that could be the question."""
    asks = any(name in varied and part[0] in TEXTS and len(part) > EMPTY for name, part in question.parts.items())
    return tuple(sorted(question.parts.items())) if asks else ()


# Answers.


class Compared(NamedTuple):
    """Two namespaces, and in what each pair differs."""

    pairs: list[tuple[Paired, str]]
    apart: set[str]
    unread: int

    def of(self, kind: str) -> list[tuple[Paired, str]]:
        """Return the pairs that differ in something, or all."""
        return [each for each in self.pairs if kind in {"", each[1]}]

    def counts(self) -> dict[str, int]:
        """Tell how many pairs differ in what."""
        numbers = Counter(differs for _, differs in self.pairs)
        return {differs: numbers[differs] for differs in ORDER}


def compare(cache: Cache, one: str, other: str) -> Compared:
    """Put what two namespaces drew in pairs, those first that differ most."""
    pairs, apart = paired(drawn_by(cache, one), drawn_by(cache, other))
    told = [(pair, difference(cache, pair)) for pair in pairs[:MOST_READ]]
    told.sort(key=lambda each: ORDER.index(each[1]))
    return Compared(told, apart, len(pairs) - len(told))


def difference(cache: Cache, pair: Paired) -> str:
    """Say in what the answers of a pair differ."""
    if pair.one is None or pair.other is None:
        return "other" if pair.one is None else "one"
    if pair.one == pair.other:
        # The same samples: what was replaced since is gone for both.
        return "same"
    one, other = _counted(cache, pair.one), _counted(cache, pair.other)
    if one.total() < len(pair.one.slots) or other.total() < len(pair.other.slots):
        return "unknown"
    if _vote(one) != _vote(other):
        return "vote"
    if one.keys() != other.keys():
        return "answers"
    return "same" if one == other and len(pair.one.slots) == len(pair.other.slots) else "draws"


def shown_pair(cache: Cache, pair: Paired, differs: str, room: Room) -> PairData:
    """Read a pair with its answers."""
    first = pair.one or pair.other
    assert first is not None  # noqa: S101 - a pair has a side
    return PairData(
        named(first.call.function),
        written(summary_of(described(first.call.form).arguments)),
        differs,
        tuple(_changed(pair, room)),
        *(None if side is None else _given(cache, side, room) for side in pair),
    )


def _counted(cache: Cache, drawn: DrawnSlots) -> AnswerCounts:
    codec = cache.__memollm_engine__().codec
    samples = cache.store.peek(drawn.call, drawn.slots)
    return tally(shown(codec, sample.record, drawn.call.key) for sample in samples.values())


def _given(cache: Cache, drawn: DrawnSlots, room: Room) -> Given:
    counts = _counted(cache, drawn)
    told = tuple((times, room.take(text)) for text, times in counts.most_common(MOST_ANSWERS))
    return Given(drawn.call.key.hex(), len(drawn.slots), told, len(counts), len(drawn.slots) - counts.total())


def _vote(counts: Counter[str]) -> set[str]:
    """Return the answers that were given most often."""
    most = max(counts.values(), default=0)
    return {text for text, times in counts.items() if times == most}


def _changed(pair: Paired, room: Room) -> Iterator[tuple[str, str, str]]:
    if pair.one is None or pair.other is None or pair.one.call == pair.other.call:
        return
    forms: list[Any] = [json.loads(side.call.form) for side in (pair.one, pair.other)]
    for each in differences(*forms):
        if not room.is_full():
            yield named(each.path), written(each.here), written(each.stored)
