"""What holds for all draws of one function as one reader, made once: also how old a sample may be, its time to live."""

from __future__ import annotations

from dataclasses import dataclass, field
from logging import DEBUG
from typing import TYPE_CHECKING, Any, Final, Protocol

from memollm._spending.track import is_logged, tell
from memollm._types.samples import EVER, Lent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memollm._draws.engine import Engine
    from memollm._draws.scope import Role, Scope
    from memollm._keys.keyer import Keyer
    from memollm._spending.accounts import Books, Given
    from memollm._spending.program import ProgramBudget
    from memollm._spending.track import Watcher
    from memollm._types.allowance import Allowance
    from memollm._types.calls import Call
    from memollm._types.samples import Sample
    from memollm.stores.drawing import Drawing

    ExplainMiss = Callable[[Drawing, Call, int], str]

GRACE: Final = 120.0
"""Seconds for which a call goes on that nobody waits for any more, where nobody says."""


class Lender(Protocol):
    """Knows which calls are given the samples of others."""

    def known(self, call: Call, newer_than: float) -> Lent | None:
        """Return what a call was given before, if it is given that still; this may wait for a disk."""
        ...

    def takes(self, lent: Lent) -> bool:
        """Tell whether this would have lent the same: it was found by the same rule."""
        ...


@dataclass(slots=True, eq=False, kw_only=True)
class Plan:
    """What holds for the draws of a function as a reader, but for what the context managers around each say."""

    engine: Engine
    keyer: Keyer
    """Makes keys for that store, with the version of the function that it is to use there."""
    books: Books

    # As whom.

    role: Role
    reader: str | None
    run: str
    """The reader that a program is where no namespace is named."""
    lane: str | None = None
    """That of the cell, which all lanes inside of it are part of."""
    remembers: bool = False
    """One sample for ever: what was read once need not be read again."""
    bare: bool = False
    """The store is left alone."""
    ages: bool = False
    """What is stored may be too old."""
    ttl: float | None = None
    """Seconds for which a sample counts."""
    refreshes: bool = False
    """Every sample is made anew."""
    explain_miss: ExplainMiss | None = None
    """Where nothing may be called: a miss is an error, and this says why it is one."""

    resumes: str | None = None
    """The reader by which the run reads again what the namespace drew, before it goes on."""

    could_resume: str | None = None
    """The namespace that would be resumed if the environment said so."""

    # The function.

    name: str = "The function"
    pool: int | None = None
    number: int | None = None
    """How many samples a call draws, where neither its arguments nor its caller say."""
    gives_one: bool = True
    """A call returns its sample, not a list."""
    streams: bool = False
    """A call makes a stream, whose reader may take its time between chunks, or drop it."""
    together: bool = False
    """One call makes all the missing samples, and returns a list of them."""
    aligned: bool = False
    """The results of one call belong to different items, each by its place."""
    concurrency: int | None = None
    """How many calls of the function a draw may have under way."""
    finishes: bool = False
    """Whether a call that has begun goes on when nobody waits for it any more."""
    grace: float = GRACE
    """For how many seconds at most such a call goes on."""
    accept: Callable[[Any], bool] | None = None
    lender: Lender | None = None
    """Knows which calls were found to be similar to others."""
    redraws_stale: bool = False
    """A stored sample whose class has changed is made anew."""
    raises_store_errors: bool = False
    """Where the store fails, so does the draw."""
    usage: Callable[[Any], object] | None = None
    prices: Mapping[str, object] | None = None
    watchers: tuple[Watcher, ...] = ()
    """Who is told of every draw."""
    program: ProgramBudget | None = None
    allowed: Allowance | None = None
    """The budget of the whole program, and what it allows."""

    # What older code has left.

    older: dict[type | None, tuple[str, tuple[Keyer, ...]]] = field(
        default_factory=dict["type | None", "tuple[str, tuple[Keyer, ...]]"]
    )
    """By class: the version that was edited from older code, and makers of keys of that, the oldest first.

    Its samples are read, too; what is set while the program runs makes another version, which has nothing older.
    """
    spent: dict[tuple[Call, str | None], int] = field(default_factory=dict["tuple[Call, str | None]", int])
    """The calls, by lane, of which it had left nothing more in this epoch of the store."""

    resumed: set[Call] = field(default_factory=set["Call"])
    """The calls that the run has begun to read again."""

    # How far the function is known to the store.

    introduced: set[type | None] = field(default_factory=set["type | None"])
    """The classes as whose method (or none) the function has been introduced."""
    retry: float = 0.0
    """When an introduction that the store could not take is tried again."""
    introductions: dict[type | None, Any] = field(default_factory=dict["type | None", Any])
    """Those that are under way."""

    def tell(self, given: Sequence[Given], here: Scope | None) -> None:
        """Tell whoever listens, here or everywhere, of samples that were given."""
        watchers = self.watchers if here is None else (*self.watchers, *here.watchers)
        if watchers or is_logged(DEBUG):
            tell(given, self.reader, None if here is None else self.lanes(here)[0], watchers)

    def lanes(self, here: Scope) -> tuple[str | None, tuple[str, ...]]:
        """Return the lane of draws here, and the lanes among which it was given an order."""
        if self.lane is None:
            return here.lane, here.order
        inner = self.lane if here.lane is None else f"{self.lane}/{here.lane}"
        return inner, tuple(f"{self.lane}/{each}" for each in here.order)

    def takes(self, told: Sample | Lent) -> bool:
        """Tell whether what another draw was given is given here, too: what was lent, by the same rule only."""
        return type(told) is not Lent or (self.lender is not None and self.lender.takes(told))

    def newer_than(self) -> float:
        """Return what a sample must be newer than to count."""
        if self.refreshes:
            return self.engine.clock()
        return EVER if self.ttl is None else self.engine.clock() - self.ttl
