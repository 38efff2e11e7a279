"""Waiting for what other processes fill: one thread that looks, ever more gently, for stores that nobody tells."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from memollm.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place

    Wake = Callable[[Place], None]

POLL_FIRST: Final = 0.002
POLL_LAST: Final = 0.05
"""Seconds between looks; the pause doubles while nothing happens."""


class Poller:
    """Wakes those who wait for places, by a thread that is there as long as anybody waits."""

    def __init__(self, poll: Callable[[Sequence[Place]], Sequence[bool]]) -> None:
        """`poll` tells of each place whether nobody alive is filling it any more."""
        self._poll = poll
        self._changed = threading.Condition()
        self._watched: dict[Place, list[Wake]] = {}
        self._pause = POLL_FIRST
        self._thread: threading.Thread | None = None

    def watch(self, places: Sequence[Place], wake: Wake) -> Callable[[], None]:
        """Wake once for each place; return what stops that. The first look is at once."""

        def stop() -> None:
            with self._changed:
                for place in places:
                    self._part(place, wake)

        if places:
            with self._changed:
                for place in places:
                    self._watched.setdefault(place, []).append(wake)
                self._pause = POLL_FIRST
                self._begin()
        return stop

    def _part(self, place: Place, wake: Wake) -> None:
        waiting = self._watched.get(place, [])
        if wake in waiting:
            waiting.remove(wake)
        if not waiting:
            self._watched.pop(place, None)

    def _begin(self) -> None:
        # A destructor that waits in that very thread keeps it from looking.
        if self._thread in {None, threading.current_thread()}:
            thread = threading.Thread(target=self._run, name="memollm-poller", daemon=True)
            # At the end of the interpreter none begins any more; then this raises, and who waits is told so.
            thread.start()
            self._thread = thread
        self._changed.notify()

    def _run(self) -> None:
        try:
            while self._look():
                with self._changed:
                    self._changed.wait(self._pause)
        except BaseException:
            # Who waits is not to wait for a thread that is gone: each looks again, and by that begins another.
            with self._changed:
                self._thread = None
            self._wake(list(self._watched))
            raise

    def _look(self) -> bool:
        """Look once; tell whether anybody waits still."""
        with self._changed:
            places, pause = list(self._watched), self._pause
            self._pause = min(2 * pause, POLL_LAST)
        settled = self._settled(places)
        if settled:
            self._pause = POLL_FIRST
            self._wake(settled)
        with self._changed:
            if not self._watched:
                self._thread = None
            return bool(self._watched)

    def _settled(self, places: list[Place]) -> list[Place]:
        try:
            return [place for place, settled in zip(places, self._poll(places), strict=True) if settled]
        except StoreError:
            # The store does not answer: the look that follows says so to each who waits.
            return places

    def _wake(self, places: list[Place]) -> None:
        with self._changed:
            waiting = [(place, wake) for place in places for wake in self._watched.pop(place, ())]
        for place, wake in waiting:
            wake(place)
