"""Matching: vectors beside calls, and which calls were given another's sample because they are similar."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memollm._types.calls import Call

MOST_VECTORS: Final = 4096
"""How many vectors are read at a time."""


class VectorSpace(NamedTuple):
    """Where vectors may be compared: of one embedder, and of calls that differ in one text alone."""

    embedder: str
    """Its name, its version, and how long its vectors are."""
    parameter: str
    """What holds the text."""

    def digest(self, form: str) -> bytes:
        """Return what calls have in common that may be compared with the one of this form."""
        _, others = parted(form, self.parameter)
        whole = json.dumps([self.embedder, self.parameter, others])
        return hashlib.blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()


class StoredVector(NamedTuple):
    """The vector of a call's text: float32 numbers of this machine's kind, of length 1."""

    call: Call
    space: VectorSpace
    vector: bytes


class StoredMatch(NamedTuple):
    """A call that was found to be similar to another one, whose sample it was given."""

    call: Call
    of: Call
    """Whose sample it was given."""
    parameter: str
    """What holds the texts that were compared."""
    score: float
    rule: str
    """By which embedder and which `verify` it was found."""
    at: float
    shadow: bool = False
    """It was only noted: the function was called all the same."""


class Matching(Protocol):
    """How a store keeps vectors and matches. A store that can has it as its attribute `matching`.

    What it keeps of a call goes with the call: when that is forgotten, evicted, moved.
    """

    def vectors(self, space: bytes, after: int) -> Sequence[tuple[int, bytes]]:
        """Read the first `MOST_VECTORS` of a space whose numbers are above one, in the order of their numbers.

        Whoever is given fewer has them all. A number is given once, and each is above those before it in the order of
        storing: what others store later is above whatever was read.
        """
        ...

    def calls_of(self, space: bytes, numbers: Sequence[int]) -> Mapping[int, Call]:
        """Tell whose vectors have these numbers in a space, of those that are still there."""
        ...

    def keeps_any(self) -> bool:
        """Tell whether there is any vector."""
        ...

    def vectors_of(self, call: Call) -> list[StoredVector]:
        """Read the vectors of a call, of whatever spaces, in the order of storing."""
        ...

    def match_of(self, call: Call) -> StoredMatch | None:
        """Read the match of a call that has no sample of its own; a sample of its own has ended it."""
        ...

    def matches(self, function: str | None = None) -> list[StoredMatch]:
        """List all matches, those of shadows too, in the order of making; of one function or all."""
        ...

    def learn(self, *vectors: StoredVector) -> None:
        """Keep vectors of calls; where one has a vector in that space already, nothing happens."""
        ...

    def note(self, *matches: StoredMatch) -> None:
        """Keep matches, each in the place of an earlier one of the same call; one with a shadow stands beside it.

        Nothing is kept of a match with a call that is not there, since that is no longer given.
        """
        ...


def matching(store: object) -> Matching:
    """Return what keeps vectors in a store, or refuse where it keeps none."""
    found: Matching | None = getattr(store, "matching", None)
    if found is None:
        raise StoreRefused(
            f"{type(store).__name__} keeps no vectors, so similar= cannot be used with it. Use a path (SQLite) or "
            "'memory:' as the cache of that function, or leave similar= out."
        )
    return found


def every_vector(kept: Matching, space: bytes, after: int = 0) -> Iterator[tuple[int, bytes]]:
    """Give all vectors of a space whose numbers are above one."""
    while True:
        some = kept.vectors(space, after)
        yield from some
        if len(some) < MOST_VECTORS:
            return
        after = some[-1][0]


def parted(form: str, parameter: str) -> tuple[str | None, str]:
    """Part a canonical form into the text that a parameter holds and all the rest; no text: it holds another thing.

    What is no form of a call raises `ValueError`.
    """
    try:
        call: Any = json.loads(form, parse_int=_number, parse_float=_number)
        text = call["arguments"].pop(parameter, None)
        others = json.dumps(call, sort_keys=True, ensure_ascii=False)
    except (TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"the form is none of a call with arguments ({type(error).__name__})") from error
    return text if isinstance(text, str) else None, others


def _number(digits: str) -> dict[str, str]:
    """Keep a number as it is written: a tag that no canonical form has."""
    return {"!digits": digits}
