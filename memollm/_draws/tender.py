"""The tender: one thread that hands over counts, and writes what is owed, now and then; no draw waits for it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

RETRY_FIRST: Final = 0.002
RETRY: Final = 1.0
"""Seconds between attempts to write what is owed; the pause doubles up to this."""


class Tender:
    """A thread that is there as long as something is due or owed."""

    def __init__(self, tend: Callable[[], bool], due_in: Callable[[], float | None]) -> None:
        self._tend = tend
        """Does what is due, and tells whether anything is still owed."""
        self._due_in = due_in
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Have the thread come round."""
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="memollm-tender", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        try:
            self._come_round()
        except BaseException:
            # Whoever has something for it next begins another.
            with self._changed:
                self._thread = None
            raise

    def _come_round(self) -> None:
        pause = RETRY_FIRST
        while True:
            owing = self._tend()
            with self._changed:
                due_in = self._due_in()
                if not owing and due_in is None:
                    self._thread = None
                    return
                pause = min(2 * pause, RETRY) if owing else RETRY_FIRST
                self._changed.wait(pause if owing or due_in is None else max(0.0, due_in))
