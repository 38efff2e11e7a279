"""What the live page is told besides what a report shows: the page reads these classes as JSON, field by field."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memollm._upkeep.explain import Neighbour
    from memollm._views.report.data import Asked, Report, Sums, Text, TurnData


@dataclass(frozen=True, slots=True)
class Abilities:
    """What can be done with this cache; where not, why."""

    without_changes: str = ""
    """Why nothing can be changed, or empty."""
    without_transcripts: str = ""
    without_claims: str = ""
    without_comparing: str = ""


@dataclass(frozen=True, slots=True)
class LiveReport:
    """The overview, as it is now."""

    report: Report
    abilities: Abilities
    stamp: str
    """By which it is known whether anything was counted since."""
    looked: float | None
    """When the calls were listed; None if they are not yet, so that nothing is known of them."""


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A slot that is being filled."""

    key: str
    function: str
    summary: str
    slot: int
    since: float
    """When it was first seen here."""
    is_stored: bool
    """Whether the call has other samples, which can be shown."""


@dataclass(frozen=True, slots=True)
class Present:
    """What is going on."""

    at: float
    stamp: str
    looked: float | None
    """When the calls were listed."""
    slots: tuple[UnderWay, ...]
    """The longest under way first; not all, where there are many."""
    under_way: int
    lately: Sums
    """What was counted in the last minute, or since this server looks,"""
    seconds: float
    """which is so long."""


@dataclass(frozen=True, slots=True)
class FoundCalls:
    """A stretch of the calls that were sought."""

    calls: tuple[Asked, ...]
    found: int
    of: int
    looked: float


@dataclass(frozen=True, slots=True)
class DrawnBy:
    """A reader of a call."""

    kind: str
    name: str
    draws: int
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CallData:
    """A call with its samples, and who has drawn it."""

    call: Asked
    readers: tuple[DrawnBy, ...]


@dataclass(frozen=True, slots=True)
class TurnsData:
    """A stretch of a transcript."""

    turns: tuple[TurnData, ...]
    drawn: int
    """How many samples there are in all."""
    lanes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Given:
    """What one namespace was given of a call."""

    key: str
    slots: int
    answers: tuple[tuple[int, Text], ...]
    """How often each answer was given, the most frequent first; not all, where there are many."""
    different: int
    hidden: int
    """Samples that cannot be read, or are gone."""


@dataclass(frozen=True, slots=True)
class PairData:
    """The same question in two namespaces."""

    function: str
    summary: str
    differs: str
    """`vote`: the most frequent answers differ; `answers`: others do; `draws`: only how often; `unknown`: an answer
    cannot be read, or is gone; `one` or `other`: only that namespace has it; or `same`."""
    changed: tuple[tuple[str, str, str], ...]
    """What of the question differs: where, and on either side."""
    one: Given | None
    other: Given | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two namespaces side by side."""

    pairs: tuple[PairData, ...]
    counts: dict[str, int]
    """How many pairs differ in what."""
    apart: tuple[str, ...]
    """What has one value in the one and another in the other, throughout."""
    unread: int
    """How many pairs were not compared, as there are too many."""


@dataclass(frozen=True, slots=True)
class Reasons:
    """Why a call was made, or would be: the nearest stored calls, and how they differ."""

    function: str
    key: str
    samples: int
    """Of the call itself."""
    near: tuple[Neighbour, ...]
    note: str


@dataclass(frozen=True, slots=True)
class VersionData:
    """A version of a function."""

    version: str
    calls: int
    samples: int
    first: float | None
    role: str


@dataclass(frozen=True, slots=True)
class FunctionVersions:
    """A function with its versions, the latest first."""

    name: str
    versions: tuple[VersionData, ...]


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What a change would do, or has done."""

    sentence: str
    stamp: str
    """By which the user agrees to just this; empty if there is nothing to do, or it is done."""
    rows: tuple[tuple[str, str], ...] = ()
    calls: tuple[Asked, ...] = ()
    """Some of those that would go."""
    done: bool = False

    def with_calls(self, calls: tuple[Asked, ...]) -> Foreseen:
        """Show some of those that would go."""
        return replace(self, calls=calls)
