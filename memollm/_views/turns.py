"""What a run, a namespace or a lane drew, in the order of asking, with its questions and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from memollm._upkeep.conversations import Utterance, conversation
from memollm._views.finding import Described, described
from memollm._views.reading import Shown, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
