"""What a run, a namespace or a lane drew, in the order of asking, with its questions and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memollm._types.tables import counted
from memollm._upkeep.conversations import Utterance, conversation
from memollm.cli._finding import SHORT, Described, compact, described
from memollm.cli._output import line_width, say
from memollm.cli._reading import Shown, shown
from memollm.cli._words import dollars, duration_text, local_time, middle_cut, moment
from memollm.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memollm._cache import Cache
    from memollm._types.counting import DrawnStretch
    from memollm._types.samples import Sample


class Turn(NamedTuple):
    """A sample that was drawn, and what it answers."""

    drawn: DrawnStretch
    """Of the stretch to which it belongs."""
    slot: int
    sample: Sample | None
    """None where it is stored no more."""
    answer: Shown
    described: Described
    chats: dict[str, tuple[int, list[Utterance]]]
    """By the name of an argument that is a chat: how many of its messages were asked before, and those that are new."""


GONE = Shown(None, "(no longer stored)")


def turns(cache: Cache, drawn: Iterable[DrawnStretch]) -> Iterator[Turn]:
    """Read what was drawn, one after the other; what is told already of a chat that goes on is told once."""
    codec = cache.__memollm_engine__().codec
    before: dict[tuple[str, ...], tuple[list[Utterance], str]] = {}
    for each in drawn:
        told = described(each.call.form)
        samples = cache.store.peek(each.call, range(each.first, each.last + 1))
        for slot in range(each.first, each.last + 1):
            sample = samples.get(slot)
            answer = GONE if sample is None else shown(codec, sample.record, each.call.key)
            chats: dict[str, tuple[int, list[Utterance]]] = {}
            for name, value in (told.arguments or {}).items():
                said = conversation(value)
                if said is not None:
                    place = (each.call.function, each.run, each.namespace, each.lane, name)
                    chats[name] = _new(said, *before.get(place, ([], "")))
                    before[place] = said, answer.gist
            yield Turn(each, slot, sample, answer, told, chats)


def chats_of(described: Described) -> dict[str, tuple[int, list[Utterance]]]:
    """Return the arguments of a call that are chats."""
    chats = {name: conversation(value) for name, value in (described.arguments or {}).items()}
    return {name: (0, said) for name, said in chats.items() if said is not None}


def _new(said: list[Utterance], before: list[Utterance], answered: str) -> tuple[int, list[Utterance]]:
    """Return how many messages were told before, with the answer that they were given, and the others."""
    known = len(before)
    if not known or said[:known] != before:
        return 0, said
    if len(said) > known and said[known].text == answered:
        known += 1
    return known, said[known:]


# As text.


def write_turns(turns: Iterable[Turn], *, full: bool) -> None:
    """Write what was drawn, under the days on which it was."""
    day = ""
    for number, turn in enumerate(turns, 1):
        today, _, time = local_time(turn.drawn.at, seconds=True).partition(" ")
        if today != day:
            say(f"{today}\n")
        day = today
        _write_turn(f"{number:,}.  {time}", turn, full=full)


def _write_turn(beginning: str, turn: Turn, *, full: bool) -> None:
    facts = (
        beginning,
        turn.drawn.call.function,
        f"slot {turn.slot}",
        turn.drawn.namespace and f"in {turn.drawn.namespace}",
        turn.drawn.lane and f"lane {turn.drawn.lane}",
        turn.sample and turn.sample.latency and duration_text(turn.sample.latency),
        turn.sample and dollars(turn.sample.cost),
        turn.drawn.call.key.hex()[:SHORT],
    )
    line = "  ".join(str(fact) for fact in facts if fact)
    say(line if full else middle_cut(printable(line), line_width()))
    write_arguments(turn.described, turn.chats, full=full, indent="  ")
    write_part("  →", turn.answer.gist, full=full)
    say()


def write_arguments(
    described: Described, chats: Mapping[str, tuple[int, list[Utterance]]], *, full: bool, indent: str = ""
) -> None:
    """Write each argument on a line, and a chat message by message."""
    if described.arguments is None:
        say(f"{indent}arguments: {described}")
    for name, value in (described.arguments or {}).items():
        if name not in chats:
            as_it_is = full and isinstance(value, str) and "\n" in value
            write_part(f"{indent}{name} =", value if as_it_is else compact(value), full=full)
            continue
        known, said = chats[name]
        told = f" {counted(known, 'message')} as before" if known else ""
        say(f"{indent}{name}:{told}")
        for each in said:
            write_part(f"{indent}  {each.who}:", each.text, full=full)


def write_part(label: str, text: str, *, full: bool) -> None:
    """Write a text behind a label: in full, its further lines below it; else what fits into one line."""
    if full:
        say(f"{label} {text}".replace("\n", "\n" + " " * (len(label) - len(label.lstrip()) + 4)))
    else:
        say(middle_cut(printable(f"{label} {text}".replace("\n", " ⏎ ")), line_width()))


# As JSON.


def turn_document(turn: Turn) -> dict[str, object]:
    """Describe what was drawn."""
    drawn, sample = turn.drawn, turn.sample
    return {
        "at": moment(drawn.at),
        "run": drawn.run,
        "namespace": drawn.namespace or None,
        "lane": drawn.lane or None,
        "function": drawn.call.function,
        "key": drawn.call.key.hex(),
        "slot": turn.slot,
        "arguments": turn.described.arguments,
        "answer": turn.answer.answer,
        "text": turn.answer.text,
        **({"not_shown": turn.answer.trouble} if turn.answer.trouble else {}),
        "latency": None if sample is None else sample.latency,
        "input_tokens": None if sample is None else sample.input_tokens,
        "output_tokens": None if sample is None else sample.output_tokens,
        "cost": None if sample is None else sample.cost,
    }
