"""What is stored of an answer: its text as it is, or the events of its stream; n answers in one body, taken apart."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from memollm.http.events import data_of, dict_of, is_object
from memollm.http.speech import body_from

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm.http.endpoints import Endpoint

Sample = list[str]
"""The one text of a body, or the events of a stream."""
UNFINISHED: Final = frozenset({"queued", "in_progress", "failed", "cancelled"})


def is_body(sample: Sequence[str]) -> bool:
    """Tell whether a sample is a body, and not the events of a stream."""
    return len(sample) == 1 and sample[0].lstrip()[:1] in {"{", "["}


def body_of(sample: Sample, endpoint: Endpoint) -> dict[str, Any]:
    """Return a sample as a body."""
    if is_body(sample):
        return dict_of(json.loads(sample[0]))
    return body_from([data_of(event) for event in sample], endpoint)


def is_final(sample: Sample) -> bool:
    """Tell whether an answer will stay what it is."""
    if not is_body(sample) or '"status"' not in sample[0]:
        return True
    return dict_of(json.loads(sample[0])).get("status") not in UNFINISHED


def keeper(endpoint: Endpoint, accept: Callable[[dict[str, Any]], bool] | None) -> Callable[[Sample], bool]:
    """Return what tells whether an answer is to be kept."""
    if accept is None:
        return is_final
    return lambda sample: is_final(sample) and bool(accept(body_of(sample, endpoint)))


# Several answers in one body.


def split(body: dict[str, Any], n: int) -> list[Sample]:
    """Take the choices of a body apart into bodies with one each; what they took together is divided."""
    choices: list[dict[str, Any]] = body.get("choices") or []
    usages = divided(body.get("usage"), len(choices)) if choices else []
    return [
        [json.dumps({**body, "choices": [{**choice, "index": 0}], "usage": usage}, ensure_ascii=False)]
        for choice, usage in zip(choices[:n], usages, strict=False)
    ]


def join(bodies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put bodies with one choice each together into one; what they took adds up."""
    choices = [{**choice, "index": index} for index, body in enumerate(bodies) for choice in body["choices"]]
    first = bodies[0]
    for body in bodies[1:]:
        first = {**first, "usage": added(first.get("usage"), body.get("usage"))}
    return {**first, "choices": choices}


def divided(usage: Any, parts: int) -> list[Any]:
    """Divide counts among so many, so that they add up again."""
    if type(usage) is int:
        return [usage // parts + (index < usage % parts) for index in range(parts)]
    if type(usage) is float:
        return [usage / parts] * parts
    if not is_object(usage):
        return [usage] * parts
    counts = {name: divided(count, parts) for name, count in dict_of(usage).items()}
    return [{name: each[index] for name, each in counts.items()} for index in range(parts)]


def added(one: Any, other: Any) -> Any:
    """Add counts up."""
    if is_object(one) and is_object(other):
        ones, others = dict_of(one), dict_of(other)
        return {name: added(ones.get(name), others.get(name)) for name in {**others, **ones}}
    if type(one) in {int, float} and type(other) in {int, float}:
        return one + other
    return other if one is None else one
