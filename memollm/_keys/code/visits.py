"""Which helpers a walk over a function's code has met, in which order they are visited, and which of them run."""

from __future__ import annotations

from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    Job = Callable[[], None]

MAX_HELPERS: Final = 200


class Visits:
    """Visits each helper once for each receiver, the nearest first, until there are no more or too many.

    What a decorator calls ran when its module was loaded. So a helper that is met there alone *rests*: it is read, and
    what it changes is no output of the function. It is looked at again if something calls it that runs.
    """

    def __init__(self, subject: object, receiver: object) -> None:
        self.runs = True
        """Whether what is visited runs with the function."""
        self._has_left_out = False
        self._seen: dict[tuple[int, int], object] = {(id(subject), id(receiver)): subject}
        self._waiting: deque[tuple[bool, Job]] = deque()
        self._resting: dict[tuple[int, int], Job] = {}

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def begin_again(self) -> None:
        """Take nothing as met."""
        self._seen = {}

    @property
    def limit(self) -> str:
        """What is to be said where not all were visited."""
        return f"more than {MAX_HELPERS} helpers; the others count by name only" if self._has_left_out else ""

    def later(self, subject: object, job: Job, receiver: object = None) -> None:
        """Visit a helper after those that are nearer; kept alive, their ids stay their own."""
        place = id(subject), id(receiver)
        if place in self._seen:
            if self.runs and (again := self._resting.pop(place, None)):
                self._waiting.append((True, again))
        elif len(self._seen) > MAX_HELPERS:
            self._has_left_out = True
        else:
            self._seen[place] = subject, receiver
            self._waiting.append((self.runs, job))

    def rests(self, subject: object, again: Job, receiver: object = None) -> None:
        """Note how to look at a helper again should it turn out to run."""
        if not self.runs:
            self._resting[id(subject), id(receiver)] = again

    def go(self) -> None:
        """Visit whatever waits."""
        while self._waiting:
            self.runs, job = self._waiting.popleft()
            job()
        self.runs = True

    @contextmanager
    def at_rest(self) -> Generator[None]:
        """Meet what does not run with the function."""
        before, self.runs = self.runs, False
        try:
            yield
        finally:
            self.runs = before
