"""What is done once before a function's first draw, for threads and for tasks."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Protocol

from memollm._drive.turns import in_thread, turns
from memollm._types.locks import interrupted
from memollm.stores.flights import Signal

if TYPE_CHECKING:
    from collections.abc import Callable


class Introduction:
    """One caller has it done, and the others wait in their order."""

    def __init__(self, introduce: Callable[[], None], conclude: Callable[[bool], None]) -> None:
        self._introduce = introduce
        self._conclude = conclude
        self._begun: dict[str, tuple[int | None]] = {}
        """By whom, once it has begun: the thread that does it, if that is the one that asked for it."""
        self._error: BaseException | None = None
        self.over = Signal()

    def is_mine(self, thread: int | None) -> bool:
        """Tell the first who asks that it is to have it done, in its own thread or in another one."""
        asked = (thread,)
        first = self._begun.setdefault("first", asked)
        if first is not asked and first[0] is not None and first[0] == thread and not self.over.is_set():
            raise interrupted()
        return first is asked

    def run(self) -> None:
        """Do it."""
        try:
            self._introduce()
        except BaseException as error:  # noqa: BLE001 - raised to whose it is
            self._error = error
        finally:
            self.over.set()

    def conclude(self, *, mine: bool) -> None:
        """Say, by whoever waited for it, that it is over: who comes only now need not queue behind those who waited."""
        self._conclude(self._error is None)
        if mine and self._error is not None:
            raise self._error


class Introduced(Protocol):
    """A call whose function is to be introduced to the store."""

    def introduction(self) -> Introduction | None:
        """Return what must be done, and may block, before the first draw of a function; usually nothing."""
        ...


def introduce(request: Introduced) -> None:
    """Do, or wait for, what comes before a function's first draw."""
    while (introduction := request.introduction()) is not None:
        mine = introduction.is_mine(get_ident())
        if mine:
            introduction.run()
        introduction.over.wait()
        introduction.conclude(mine=mine)


async def introduce_async(request: Introduced) -> None:
    """Have done, or wait for, what comes before a function's first draw."""
    while (introduction := request.introduction()) is not None:
        mine = introduction.is_mine(None)
        if mine:
            in_thread(introduction.run)
        await turns().until(introduction.over)
        introduction.conclude(mine=mine)
