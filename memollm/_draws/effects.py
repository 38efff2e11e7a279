"""What a flow yields for its drivers to do, and which flows this code runs under."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from memollm._spending.accounts import Told
    from memollm._types.requests import Change
    from memollm.stores.flights import Signal

Flow = Generator["Effect", None, Any]

under: ContextVar[tuple[int, ...]] = ContextVar("memollm_under", default=())
"""The draws inside whose function this code runs, or whose stream it reads."""


class Gap(NamedTuple):
    """A slot that a draw is to fill, and which of its wants that is for."""

    want: int
    slot: int


Batch = list[Gap]


class Paid(NamedTuple):
    """What is known of a call that has returned."""

    seconds: float
    returned: Any
    """All that it returned, of which its results are parts."""
    told: Told | None = None
    """What it took, where that is known already."""


class Ask(NamedTuple):
    """A store operation; called with `wait=False` it may raise `WouldBlock` and is then to be called off the loop."""

    operation: Callable[[bool], None]


class Run(NamedTuple):
    """Run the function once for each batch of gaps, and drive `land(batch, results, paid)` as each returns."""

    ticket: int
    batches: list[Batch]
    land: Callable[[Batch, Sequence[Any], Paid], Flow]
    failed: Callable[[BaseException], None]
    """To be called for each batch whose call did not return."""


class Await(NamedTuple):
    """Wait for all of the signals."""

    signals: list[Signal]


class Save(NamedTuple):
    """Write changes; they are on disk when the flow goes on."""

    changes: list[Change]


Effect = Ask | Run | Await | Save
