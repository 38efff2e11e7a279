"""Waiting together: one thread that looks at what other processes are filling, and does what is due."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreError
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place

POLL_FIRST: Final = 0.002
POLL_LAST: Final = 0.05
"""Seconds between looks at slots that other processes fill; the pause doubles while nothing happens."""
RETRY: Final = 1.0
"""Seconds between attempts to settle draws whose settlement failed."""


class Watcher:
    """One thread that looks, ever more gently, at the slots that other processes are filling."""

    def __init__(
        self,
        poll: Callable[[Sequence[Place]], Sequence[bool]],
        tend: Callable[[], bool],
        due_in: Callable[[], float | None],
    ) -> None:
        self._poll = poll
        self._tend = tend
        self._due_in = due_in
        self._changed = threading.Condition()
        self._watched: dict[Place, Signal] = {}
        self._thread: threading.Thread | None = None

    def watch(self, place: Place) -> Signal:
        """Return a signal for when nobody alive is filling the slot any more."""
        with self._changed:
            signal = self._watched.setdefault(place, Signal())
            self._begin()
        return signal

    def tend(self) -> None:
        """Let the thread come round for other work."""
        with self._changed:
            self._begin()

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="memollm-watcher", daemon=True)
            self._thread.start()
        self._changed.notify()

    def _run(self) -> None:
        try:
            self._look_after()
        except BaseException:
            # Who waits is not to wait for a thread that is gone: each looks again, and by that begins another.
            with self._changed:
                signals, self._thread = [*self._watched.values()], None
                self._watched.clear()
            for signal in signals:
                signal.set()
            raise

    def _look_after(self) -> None:
        pause = POLL_FIRST
        while True:
            with self._changed:
                places = list(self._watched)
            settled = self._settled(places)
            owing = self._tend()
            with self._changed:
                signals = [self._watched.pop(place) for place in settled]
                busy, due_in = bool(self._watched or owing), self._due_in()
                idle = not busy and due_in is None
                if idle:
                    self._thread = None
            for signal in signals:
                signal.set()
            if idle:
                return
            pause = POLL_FIRST if settled else min(2 * pause, POLL_LAST if self._watched else RETRY)
            with self._changed:
                self._changed.wait(pause if busy or due_in is None else max(0.0, due_in))

    def _settled(self, places: list[Place]) -> list[Place]:
        try:
            return [place for place, settled in zip(places, self._poll(places), strict=True) if settled]
        except StoreError:
            # The store does not answer: the look that follows says so to each who waits.
            return places
