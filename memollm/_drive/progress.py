"""How far a map has come: the figures, and the bar that shows them where somebody looks."""

from __future__ import annotations

import math
import sys
import time
from collections import deque
from dataclasses import dataclass
from html import escape
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, cast

from memollm._spending.track import Spending, saved_of, spent_of
from memollm._types.counting import Counts
from memollm._types.locks import ForkedLock
from memollm._types.public import public
from memollm._types.tables import cost_cell
from memollm.errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._spending.track import DrawEvent

    Told = Callable[[int, int], object]
    """Is told how much of how much is done."""

TICK: Final = 0.1
"""Seconds between two reports of progress, at least."""
RECENT: Final = 30.0
"""Seconds that the rate looks back: what was stored goes by fast, and says nothing about what is to be paid."""


@public
@dataclass(frozen=True, slots=True)
class Progress:
    """How far a map has come; samples, calls, time and money are counted as `track` around the map would."""

    done: int
    """Items that were answered or failed."""
    total: int | None
    """Items in all, where that is known."""
    hits: int
    """Samples that were stored."""
    shared: int
    """Those that another draw was making already."""
    made: int
    """Those that were made for this map."""
    paid: int
    """Calls that returned."""
    failed: int
    """Items that raised."""
    spent: Spending
    """What the calls took."""
    saved: Spending
    """What it took to make the hits and the shared samples, when they were made."""
    rate: float
    """Items done a second, of late."""
    eta: float | None
    """Seconds until all is done at that rate, where that can be told."""
    similar: int = 0
    """Samples that similar calls have lent."""

    def __str__(self) -> str:
        of = "" if self.total is None else f" of {self.total:,}"
        told = [f"{self.done:,}{of} done", f"{self.hits:,} hits"]
        told += [f"{self.shared:,} shared"] if self.shared else []
        told += [f"{self.similar:,} similar"] if self.similar else []
        told += [f"{self.made:,} made", f"{self.paid:,} paid"]
        told += [f"{self.failed:,} failed"] if self.failed else []
        for sums, name in ((self.spent, "spent"), (self.saved, "saved")):
            cost = f" and {cost_cell(sums.cost, sums.unpriced)}" if sums.cost else ""
            told.append(f"{clock_text(sums.seconds)}{cost} {name}")
        told.append(f"{self.rate:.3g}/s")
        if self.eta is not None:
            told.append(f"{clock_text(self.eta)} left")
        return ", ".join(told)


def clock_text(seconds: float) -> str:
    """Write a duration as a clock does."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def now_and_then(told: Told | None, clock: Callable[[], float] = time.monotonic) -> Callable[[int, int], None]:
    """Return what may be told of each step of long work, and passes on the first, the last and some between."""
    due = -math.inf

    def step(done: int, total: int) -> None:
        nonlocal due
        if told is not None and (done >= total or clock() >= due):
            due = clock() + TICK
            told(done, total)

    return step


class Tally:
    """Counts outcomes, and reports progress now and then to whoever listens."""

    def __init__(
        self,
        total: int | None,
        listener: Callable[[Progress], object] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._listener = listener
        self._clock = clock
        self._done = self._failed = 0
        self._counts, self._lock = Counts(), ForkedLock()
        now = clock()
        self._next = now + TICK
        self._recent = deque([(now, 0)])

    @property
    def listens(self) -> bool:
        """Whether anybody is told, so that draws have to be watched."""
        return self._listener is not None

    # As a watcher of the draws.

    def given(self, events: Sequence[DrawEvent], counts: Counts) -> None:  # noqa: ARG002 - the counts say it all
        """Take note of samples that were given."""
        self.spent(counts)

    def spent(self, counts: Counts) -> None:
        """Take note of calls that were made."""
        with self._lock:
            self._counts = self._counts.plus(counts)

    # Items.

    def count(self, *, failed: bool = False) -> None:
        """Count an item that is done, and report if it is time."""
        self._done += 1
        self._failed += failed
        if self._listener is not None and (now := self._clock()) >= self._next:
            self._next = now + TICK
            self._listener(self._progress(now))

    def end(self) -> None:
        """Report for the last time."""
        try:
            if self._listener is not None:
                self._listener(self._progress(self._clock()))
        finally:
            self.leave()

    def leave(self) -> None:
        """Let a bar go."""
        listener, self._listener = self._listener, None
        if isinstance(listener, Bar):
            listener.close()

    def _progress(self, now: float) -> Progress:
        rate, counts = self._rate(now), self._counts
        return Progress(
            done=self._done,
            total=self._total,
            hits=counts.hits,
            shared=counts.shared,
            made=counts.made,
            paid=counts.paid,
            failed=self._failed,
            spent=spent_of(counts),
            saved=saved_of(counts),
            rate=rate,
            eta=None if self._total is None or not rate else max(0, self._total - self._done) / rate,
            similar=counts.similar,
        )

    def _rate(self, now: float) -> float:
        while len(self._recent) > 1 and self._recent[1][0] <= now - RECENT:
            self._recent.popleft()
        since, before = self._recent[0]
        self._recent.append((now, self._done))
        return (self._done - before) / (now - since) if now > since else 0.0


class Bar:
    """A bar on the terminal, drawn by rich."""

    def __init__(self, name: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress as Bars, TextColumn

        columns = (TextColumn("[bold]{task.description}"), BarColumn(), TextColumn("{task.fields[told]}"))
        self._bars = Bars(*columns, console=Console(stderr=True))
        self._task = self._bars.add_task(name, total=None, told="")
        self._bars.start()

    def __call__(self, progress: Progress) -> None:
        """Show how far it has come."""
        self._bars.update(self._task, completed=progress.done, total=progress.total, told=str(progress), refresh=True)

    def close(self) -> None:
        """Leave the terminal as it was, below the bar."""
        self._bars.stop()


class Display:
    """A bar below a notebook's cell, which is shown anew as the map goes on."""

    def __init__(self, name: str) -> None:
        from IPython.core import display_functions

        self._name, self._ipython = name, cast("Any", display_functions)
        self._shown: Any = None

    def __call__(self, progress: Progress) -> None:
        """Show how far it has come."""
        text = f"{self._name}: {progress}"
        of = "" if progress.total is None else f' max="{progress.total}" value="{progress.done}"'
        bundle = {"text/plain": text, "text/html": f"<progress{of}></progress> {escape(text)}"}
        if self._shown is None:
            self._shown = self._ipython.display(bundle, raw=True, display_id=True)
        else:
            self._shown.update(bundle, raw=True)


def in_notebook() -> bool:
    """Tell whether this is a notebook's kernel, for which IPython is loaded already."""
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    return get_shell is not None and hasattr(get_shell(), "kernel")


def listener_for(progress: object, name: str) -> Callable[[Progress], object] | None:
    """Return who is told of progress: the user's function, or a bar where somebody looks, or nobody.

    That is below a notebook's cell, and where standard error is a terminal. Without rich a terminal has no bar, which
    is an error only where one was asked for.
    """
    if callable(progress):
        return progress
    if progress is not False and in_notebook():
        return Display(name)
    if progress is False or sys.stderr is None or not sys.stderr.isatty():
        return None
    if find_spec("rich") is not None:
        return Bar(name)
    if progress:
        raise OptionError(
            "progress=True draws a bar with rich, which is not installed. Install it with pip install 'memollm[cli]', "
            "or give progress= a function."
        )
    return None
