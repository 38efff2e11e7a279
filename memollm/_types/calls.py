"""Calls, the places in their sequences of samples, and the readers that draw them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from memollm.errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


new_tuple: Final = cast("Callable[[type[Any], Iterable[Any]], Any]", tuple.__new__)  # pyright: ignore[reportUnknownMemberType]
"""Makes a named tuple as its class would, without a call of its own: for what every draw does."""


class Call:
    """A function together with its canonical arguments: the hash that finds it and the form that proves it."""

    __slots__ = ("form", "function", "key")

    def __init__(self, key: bytes, form: str, function: str) -> None:
        self.key = key
        self.form = form
        self.function = function

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Call) and self.form == other.form and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Call({self.function}, {self.key.hex()})"


class Want(NamedTuple):
    """What a draw asks of a store: the next `n` positions of a call for a reader."""

    call: Call
    reader: str | None
    """Without a reader there is no cursor: positions are 0 to n - 1."""
    n: int
    pool: int | None
    lane: str | None = None
    """Draws of one lane are in the order of its own program, whatever other lanes do meanwhile."""
    order: tuple[str, ...] = ()
    """The lanes among which this one stands, where their order decides who gets which position."""

    def slot(self, position: int) -> int:
        """Return the slot that a position reads: a pool cycles through its slots."""
        return position if self.pool is None else position % self.pool


def choose_positions(want: Want, free: Sequence[int], cursor: int) -> list[int]:
    """Choose the positions of a draw: free ones first, lowest first, then those from the cursor on.

    In a pool a free position may read the slot of a later one. It is left free then: a draw's samples are different.
    """
    chosen: list[int] = []
    for at in free:
        if len(chosen) < want.n and want.slot(at) not in map(want.slot, chosen):
            chosen.append(at)
    while True:
        ahead = range(cursor, cursor + want.n - len(chosen))
        slots = set(map(want.slot, ahead))
        kept = [at for at in chosen if want.slot(at) not in slots]
        if len(kept) == len(chosen):
            return [*chosen, *ahead]
        chosen = kept


def choose_left(want: Want, left: Iterable[int]) -> list[int]:
    """Choose of the positions that are left to be read again, in their order: as many as are wanted, or all.

    In a pool two of them may read one slot. A draw's samples are different, so the later one is left then.
    """
    chosen: list[int] = []
    for at in left:
        if len(chosen) == want.n:
            break
        if want.pool is None or want.slot(at) not in map(want.slot, chosen):
            chosen.append(at)
    return chosen


FARTHEST: Final = 1 << 24
"""How many positions are walked over one by one, and how far lanes go: a damaged row may say anything."""


def walked(first: int, end: int) -> range:
    """Return the positions from one up to another, as long as they are as many as somebody can have drawn."""
    if end - first > FARTHEST:
        raise StoreUnavailable(
            f"The cache says that {end - first:,} positions of one call were drawn, which are too many to walk over. "
            "If it is damaged, memollm verify --repair keeps what can be read; else draw in another namespace."
        )
    return range(first, end)


class Place(NamedTuple):
    """A slot of a call."""

    call: Call
    slot: int


class Position(NamedTuple):
    """A place in a reader's sequence of draws of a call."""

    call: Call
    reader: str
    at: int
    generation: int = 0
    """Of the reader's cursor: another one whenever the reader is rewound or dropped, or the call forgotten or moved."""


RUNS: Final = "run:"
NAMESPACES: Final = "namespace:"
"""How the names of readers begin: a run's goes on with its id, a namespace's with its name."""
RESUMES: Final = "resume:"
"""How the name of a reader begins that resumes another; the run's id follows, a line's end, and that one's name."""


def resuming(run: str, namespace: str) -> str:
    """Return the name of the reader by which a run reads again what a namespace was given."""
    return f"{RESUMES}{run}\n{NAMESPACES}{namespace}"


def resumed(reader: str) -> str | None:
    """Return which reader another resumes: what that one was given is all that this one is given."""
    return reader.partition("\n")[2] if reader.startswith(RESUMES) else None


def recorder(reader: str) -> str:
    """Return under whose name it is recorded what a reader's lanes were given: all runs share one record."""
    return RUNS if reader.startswith(RUNS) else resumed(reader) or reader
