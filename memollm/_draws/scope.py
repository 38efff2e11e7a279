"""What the context managers around a draw have said, as draws read it; it follows tasks and `asyncio.to_thread`."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memollm._draws.replay import Replay
    from memollm._spending.budget import Budget
    from memollm._spending.track import Watcher


class Cell(NamedTuple):
    """A part of a program that is run again by itself: who reads there, if no namespace is named, and in which lane."""

    run: str
    lane: str


class Role(NamedTuple):
    """As which reader, and in which mode, a function draws."""

    namespace: str | None = None
    run: str | None = None
    """A run that a block has named; a namespace beside it was named inside of that block."""
    mode: str | None = None
    resumes: bool | None = False
    """The namespace was named to be resumed; None: to be replayed, so that nothing is drawn that a rerun would not."""
    cell: Cell | None = None


class Scope(NamedTuple):
    """What the context managers around a draw say."""

    role: Role = Role()
    lane: str | None = None
    order: tuple[str, ...] = ()
    """The lanes among which this one was given an order."""
    replay: Replay | None = None
    watchers: tuple[Watcher, ...] = ()
    budgets: tuple[Budget, ...] = ()


NOWHERE = Scope()
scope: ContextVar[Scope | None] = ContextVar("memollm_scope", default=None)
