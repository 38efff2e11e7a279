"""What a program was given: the same sample twice in one namespace, or an answer that was made for another chat."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from benchmarks._workload.model import Mark, mark_of, name_of, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from benchmarks._workload.model import Chat

    Asker = Callable[[Chat, int, str], Awaitable[list[str]]]


class Audit:
    """Counts over all that is given out."""

    def __init__(self) -> None:
        self.asks = 0
        self.delivered = 0
        self.duplicates = 0
        self.foreign = 0
        self.given: defaultdict[str, set[tuple[str, Mark]]] = defaultdict(set)
        """By namespace: for which chat, and which sample."""

    def watched(self, ask: Asker, namespace: str) -> Callable[[Chat, int], Awaitable[list[str]]]:
        """Return what a program asks with: what it gets are texts without their marks."""

        async def watched(chat: Chat, n: int = 1) -> list[str]:
            answers = await ask(chat, n, namespace)
            self.asks += 1
            for answer in answers:
                self._count(name_of(chat), mark_of(answer), self.given[namespace])
            return [text_of(answer) for answer in answers]

        return watched

    def _count(self, asked: str, mark: Mark, given: set[tuple[str, Mark]]) -> None:
        self.delivered += 1
        self.foreign += mark.chat != asked
        # A sample that is given to two different chats of a namespace is foreign to one of them, not given twice.
        self.duplicates += (asked, mark) in given
        given.add((asked, mark))
