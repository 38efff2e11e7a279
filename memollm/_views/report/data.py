"""What a report shows, as plain data: the page reads these classes as JSON, field by field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memollm._types.counting import Counts


@dataclass(frozen=True, slots=True)
class Text:
    """A text as far as it is in the page, and how many characters it has in all."""

    text: str
    length: int


@dataclass(frozen=True, slots=True)
class Sums:
    """What was counted of a day, a function or a namespace."""

    name: str
    draws: int = 0
    hits: int = 0
    shared: int = 0
    made: int = 0
    paid: int = 0
    failed: int = 0
    unstored: int = 0
    unpriced: int = 0
    spent_cost: float = 0.0
    saved_cost: float = 0.0
    spent_seconds: float = 0.0
    saved_seconds: float = 0.0
    spent_tokens: int = 0
    saved_tokens: int = 0
    saved_unpriced: int = 0
    similar: int = 0
    """Samples that similar calls have lent."""

    @classmethod
    def of(cls, name: str, counts: Counts) -> Sums:
        """Take from the store's counts what the page shows."""
        return cls(
            name,
            counts.draws,
            counts.hits,
            counts.shared,
            counts.made,
            counts.paid,
            counts.failed,
            counts.unstored,
            counts.unpriced,
            counts.spent_cost,
            counts.saved_cost,
            counts.spent_seconds,
            counts.saved_seconds,
            counts.spent_input + counts.spent_output,
            counts.saved_input + counts.saved_output,
            counts.saved_unpriced,
            counts.similar,
        )


@dataclass(frozen=True, slots=True)
class FunctionData:
    """A function: what was counted of it, and what is stored of it."""

    sums: Sums
    calls: int
    samples: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Depth:
    """How many calls have so many samples."""

    samples: str
    calls: int


@dataclass(frozen=True, slots=True)
class FormPart:
    """A piece of a call's arguments, under its name."""

    label: str
    content: Text


@dataclass(frozen=True, slots=True)
class Answer:
    """A sample as it can be read."""

    slot: int
    stored: float
    latency: float
    """How long the call ran that made it."""
    input_tokens: int
    output_tokens: int
    cost: float | None
    content: Text
    refusal: str
    """Why the answer is not shown, where it is not."""


@dataclass(frozen=True, slots=True)
class EqualAnswers:
    """An answer, and how many samples give it."""

    times: int
    content: Text


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, and as many of its samples as there is room for."""

    key: str
    function: str
    summary: str
    samples: int
    bytes: int
    made: float
    used: float
    seconds: float
    input_tokens: int
    output_tokens: int
    cost: float | None
    parts: tuple[FormPart, ...]
    answers: tuple[Answer, ...]
    equal: tuple[EqualAnswers, ...]
    """How often each answer was given, the most frequent first; of those that several samples give."""
    different: int
    """How many different answers there are."""
    command: str
    """What shows all of the call in a terminal."""


@dataclass(frozen=True, slots=True)
class RunData:
    """A run: when it began, by which program, and what was counted of it."""

    sums: Sums
    """Under its id."""
    first: float | None
    program: str


@dataclass(frozen=True, slots=True)
class TurnData:
    """A sample as it was drawn, with what of its question was not asked before."""

    run: str
    namespace: str
    lane: str
    at: float
    function: str
    key: str
    slot: int
    earlier: int
    """How many messages of its chat were told before, in this run and lane."""
    parts: tuple[FormPart, ...]
    latency: float
    cost: float | None
    content: Text
    refusal: str


@dataclass(frozen=True, slots=True)
class SimilarData:
    """A call that was lent the sample of a similar one, or was looked at."""

    function: str
    score: float
    became: str
    """What became of it: lent, or what a shadow saw."""
    at: float
    key: str
    """Of the call whose sample it is."""
    asked: Text
    stored: Text
    """The two texts."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the page shows."""

    place: str
    version: str
    made: float
    total: Sums
    days: tuple[Sums, ...]
    functions: tuple[FunctionData, ...]
    namespaces: tuple[Sums, ...]
    runs: tuple[RunData, ...]
    """The latest first."""
    depths: tuple[Depth, ...]
    calls: int
    samples: int
    bytes: int
    turns: tuple[TurnData, ...] = ()
    """What was drawn last, in the order of asking."""
    drawn: int = 0
    """How many samples were drawn, as far as the store has their order."""
    asked: tuple[Asked, ...] = ()
    similar: tuple[SimilarData, ...] = ()
    """The latest first."""
    left_out: tuple[str, ...] = ()
    """What the cache holds and the page does not, in sentences."""
