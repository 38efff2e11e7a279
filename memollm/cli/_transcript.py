"""Transcripts as the command line writes them: as text, and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memollm._types.tables import counted
from memollm._views.finding import SHORT, Described, compact
from memollm.cli._output import line_width, say
from memollm.cli._words import dollars, duration_text, local_time, middle_cut, moment
from memollm.errors import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from memollm._upkeep.conversations import Utterance
    from memollm._views.turns import Turn

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
