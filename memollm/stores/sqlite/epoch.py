"""The epoch of a SQLite store: a number that every process looks at to learn that something stored was replaced."""

from __future__ import annotations

import os
import random
import time
from contextlib import suppress
from functools import partial
from time import perf_counter
from typing import Final

LEAST: Final = 8
"""The smallest epoch of a file that nobody has cut short."""
MOST: Final = 1 << 40
"""Far beyond what replacing makes; a file that somebody has made so large begins anew."""
GOOD_FOR: Final = 200e-6
"""Seconds for which a process goes by an epoch that it has read.

A system call hands the interpreter to other threads, which costs a hit more than all the rest of it. Nobody is told of
a replacement before every process goes by the new epoch, because whoever begins one lets this time pass (`outlast`).
"""


class Epoch:
    """How often something stored was replaced or removed: the size of a file, which one system call tells.

    Nothing of it is mapped into memory: touching a map of a file that was cut short kills the process. Of an epoch
    nothing is asked but whether it is still the same.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.now = partial(os.lseek, descriptor, 0, os.SEEK_END)
        """Return it as it is at this moment."""
        self._seen = 0, 0.0
        self._begun = 0.0

    def recent(self) -> int:
        """Return one that was current after all replacements that anybody has been told of."""
        at, seen = perf_counter(), self._seen
        if at < seen[1]:
            return seen[0]
        now = self.now()
        self._seen = now, at + GOOD_FOR
        return now

    def begin(self) -> None:
        """Begin the next one; under the write lock."""
        now = self.now()
        # A file that is new, or was cut short, does not come to be what somebody has seen before.
        os.ftruncate(self._descriptor, now + 1 if LEAST <= now < MOST else random.randint(LEAST, 4096))  # noqa: S311 - no secret
        self._begun = perf_counter()

    def outlast(self) -> None:
        """Wait until nobody goes by the epoch before; not under the write lock."""
        if (left := self._begun + GOOD_FOR - perf_counter()) > 0:
            time.sleep(left)

    def close(self) -> None:
        """Let go of the file."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        # Not before: another thread that still looks would look at whatever file has the number by then.
        with suppress(OSError):
            self.close()
