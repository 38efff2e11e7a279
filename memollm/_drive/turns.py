"""Turns: how much is done in line in one pass of an event loop, and who waits for a later one.

A burst of thousands of draws would hold the loop for as long as all of them take. So after the first few milliseconds
of a pass the others queue, and each later pass goes on with as many as fit into it, in their order (P6, P12).
"""

from __future__ import annotations

import asyncio
import sys
import threading
from _thread import start_new_thread
from collections import deque
from contextlib import suppress
from time import perf_counter
from typing import TYPE_CHECKING, Final

from memollm._types.hiding import hides
from memollm.errors import NoEventLoop
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__tracebackhide__ = hides

A_PASS: Final = 0.003
"""Seconds of a pass after which draws wait for a later one."""
FIRST_SOME: Final = 8
MOST: Final = 512
"""How many go on in a pass: at first, and at most. In between it follows from how long the last pass took."""
UNASKED: Final = 128
"""See `Unasked`."""


class Turns:
    """The turns of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._begun = 0.0
        """When the first draw of this pass began; 0 if there was none."""
        self._queue: deque[asyncio.Future[None]] = deque()
        self._some = FIRST_SOME
        self._is_releasing = False
        self.asking = 0
        """How many draws wait for the store to answer."""
        self.coming = 0
        """How many go on in the next pass: whose turn it is, or whose calls are about to begin."""

    @property
    def is_bursting(self) -> bool:
        """Whether draws that were asked for already have still to begin."""
        return bool(self._queue or self.asking)

    # Whose turn it is.

    def is_full(self) -> bool:
        """Tell whether this pass has had its share, so that whoever comes now is to wait for a later one."""
        if self._queue:
            return True
        if not self._begun:
            self._begun = perf_counter()
            self._loop.call_soon(self._pass)
            return False
        return perf_counter() - self._begun > A_PASS

    def _pass(self) -> None:
        self._begun = 0.0

    def mine(self) -> asyncio.Future[None]:
        """Return what is done when it is the caller's turn."""
        future = self._loop.create_future()
        self._queue.append(future)
        self._release_soon()
        return future

    def until(self, signal: Signal) -> asyncio.Future[None]:
        """Return what is done when something has happened, in whichever thread, and it is the caller's turn."""
        future = self._loop.create_future()

        def wake() -> None:
            self._queue.append(future)
            if not self._is_releasing:
                self._is_releasing = True
                # Where the loop is closed, whoever waited in it is gone, and the others are not to notice.
                with suppress(RuntimeError):
                    self._loop.call_soon_threadsafe(self._release)

        signal.then(wake)
        if not signal.is_set():
            future.add_done_callback(lambda _: signal.unless(wake))
        return future

    # Going on.

    def _release_soon(self) -> None:
        if not self._is_releasing:
            self._is_releasing = True
            self._loop.call_soon(self._release)

    def _release(self) -> None:
        """Let some of those who wait go on in the pass that comes, and look afterwards how long that took."""
        released = 0
        while self._queue and released < self._some:
            future = self._queue.popleft()
            if not future.done():
                future.set_result(None)
                released += 1
        self.coming += released
        self._loop.call_soon(self._released, perf_counter(), released)

    def _released(self, begun: float, released: int) -> None:
        self.coming -= released
        took = perf_counter() - begun
        if took > A_PASS:
            self._some = max(1, self._some // 2)
        elif released == self._some and took < A_PASS / 2:
            self._some = min(MOST, 2 * self._some)
        self._is_releasing = False
        if self._queue:
            self._release_soon()


def in_thread(work: Callable[[], object]) -> Signal:
    """Have work done that may block, by a thread of its own; return what says that it is over.

    Nothing of ours is put into a loop's default executor: it may be full of threads that wait for this very task.
    """
    over = Signal()

    def run() -> None:
        try:
            work()
        finally:
            over.set()

    try:
        start_new_thread(run, ())
    except RuntimeError:
        # The interpreter is being closed, and no thread begins any more.
        run()
    return over


class Unasked:
    """How many calls may go without asking whether the pass is full, since what this process knows was just given.

    Nothing takes less time than giving a text that is known already, so one in many asks. Of all loops: one that takes
    from another's share does so once.
    """

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = 0


unasked: Final = Unasked()


class _Here(threading.local):
    """The turns of the loop that runs in this thread, or ran there last."""

    loop: asyncio.AbstractEventLoop | None = None
    turns: Turns


_here = _Here()


def turns() -> Turns:
    """Return the turns of the running loop."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError as error:
        raise _no_loop() from error
    if _here.loop is not loop:
        _here.loop, _here.turns = loop, Turns(loop)
    return _here.turns


def _no_loop() -> NoEventLoop:
    """Say what works where no loop of asyncio runs."""
    return NoEventLoop(
        f"A coroutine function is drawn where {_driver()}; memollm waits by asyncio. Decorate a plain function and "
        "give it to a thread (under trio: await trio.to_thread.run_sync(f, ...), which carries namespaces and runs "
        'along), or run the program by asyncio (anyio.run(main, backend="asyncio") does).'
    )


def _driver() -> str:
    trio = sys.modules.get("trio")
    if trio is not None:
        with suppress(RuntimeError, AttributeError):
            trio.lowlevel.current_trio_token()
            return "trio runs"
    return "no event loop of asyncio runs"


async def outlast(signal: Signal) -> None:
    """Wait for what cannot be called back, unless it has happened."""
    if not signal.is_set():
        await undisturbed(lambda: turns().until(signal))


async def undisturbed(wait: Callable[[], Awaitable[object]]) -> None:
    """Wait for what cannot be called back, again after each cancellation, which is raised when it is done."""
    cancelled: asyncio.CancelledError | None = None
    while True:
        try:
            await wait()
            break
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
