"""Listening to a server: the thread of a process that is told what others fill and replace, and keeps its own alive."""

from __future__ import annotations

import os
import selectors
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, ClassVar, Final

from memollm.errors import StoreRefused

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from memollm._types.calls import Place

    Wake = Callable[[Place], None]

UNKNOWN: Final = -1
"""The epoch of who is not told of it."""
LOOK_EVERY: Final = 0.1
"""Seconds between looks at whether those who fill awaited slots are alive; that they have filled, we are told."""
RECONNECT_EVERY: Final = 0.25


class ListeningThread:
    """A thread that reads what a server tells on a connection of its own."""

    failures: ClassVar[tuple[type[Exception], ...]]
    """What a connection raises that fails."""
    thread_name: ClassVar[str]

    def __init__(self) -> None:
        self._may_fail_by: tuple[type[Exception], ...] = (*self.failures, OSError, ValueError, KeyError)
        self._may_refuse_by: tuple[type[Exception], ...] = (*self.failures, OSError, StoreRefused)
        self._changed = threading.RLock()
        self._watched: dict[Place, list[Wake]] = {}
        self.epoch = UNKNOWN
        self._closing = False
        self.is_up = threading.Event()
        self._connect()
        self._heard, self._told = os.pipe()
        os.set_blocking(self._told, False)
        self._thread = threading.Thread(target=self._run, name=self.thread_name, daemon=True)
        self._thread.start()

    # What servers differ in.

    def _connect(self) -> None:
        raise NotImplementedError

    def begin(self) -> None:
        """Begin to listen."""
        raise NotImplementedError

    def _disconnect(self) -> None:
        raise NotImplementedError

    def _descriptor(self) -> int:
        """Return what can be read when the server tells something."""
        raise NotImplementedError

    def _pause(self) -> float | None:
        """Return after how many seconds to do what is due though nothing is told."""
        return LOOK_EVERY if self._watched else None

    def _attend(self) -> None:
        """Read what is told, and do what is due."""
        raise NotImplementedError

    # The thread.

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._heard, selectors.EVENT_READ)
            while not self._closing:
                try:
                    if self.is_up.is_set():
                        self._listen(selector)
                    else:
                        self.is_up.wait(RECONNECT_EVERY)
                except self._may_fail_by:
                    if not self._closing:
                        self._lose()
                        self._come_back()
        os.close(self._heard)
        os.close(self._told)

    def _listen(self, selector: selectors.BaseSelector) -> None:
        """Wait for notices for a while, then see who is alive."""
        descriptor = self._descriptor()
        selector.register(descriptor, selectors.EVENT_READ)
        try:
            ready = selector.select(self._pause())
        finally:
            selector.unregister(descriptor)
        for key, _ in ready:
            if key.fd == self._heard:
                os.read(self._heard, 4096)
        if not self._closing:
            self._attend()

    def _lose(self) -> None:
        """Know nothing of the epoch, and let all who wait look for themselves."""
        self.is_up.clear()
        self.epoch = UNKNOWN
        with suppress(Exception):
            self._disconnect()
        self._wake(list(self._watched))

    def _come_back(self) -> None:
        while not self._closing:
            try:
                self._connect()
                self.begin()
            except self._may_refuse_by:
                with suppress(Exception):
                    self._disconnect()
                # Who waits looks now and then by itself.
                self._wake(list(self._watched))
                self.is_up.wait(RECONNECT_EVERY)
            else:
                return

    # Watching.

    def watch(self, places: Sequence[Place], wake: Wake) -> Callable[[], None]:
        """Wake once for each place when nobody alive is filling it any more; return what stops that."""

        def stop() -> None:
            with self._changed:
                for place in places:
                    waiting = self._watched.get(place, [])
                    if wake in waiting:
                        waiting.remove(wake)
                    if not waiting:
                        self._watched.pop(place, None)

        if places:
            with self._changed:
                for place in places:
                    self._watched.setdefault(place, []).append(wake)
            self._poke()
        return stop

    def _wake(self, places: Sequence[Place]) -> None:
        with self._changed:
            waiting = [(place, wake) for place in places for wake in self._watched.pop(place, ())]
        for place, wake in waiting:
            wake(place)

    def _poke(self) -> None:
        with suppress(OSError, AttributeError):
            os.write(self._told, b"x")

    # Leaving.

    def _end_thread(self) -> None:
        self._closing = True
        self.is_up.set()
        self._poke()
        if self._thread is not threading.current_thread():
            self._thread.join(5)

    def _close_pipe(self) -> None:
        """Let go of it in a forked child."""
        for descriptor in (self._heard, self._told):
            with suppress(OSError):
                os.close(descriptor)
