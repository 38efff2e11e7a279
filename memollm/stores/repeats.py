"""What was asked and answered, for those who ask again because the answer was lost."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

T = TypeVar("T")
REMEMBERED: Final = 10_000
"""How many answers may come after one that is then asked for again."""


class Repeats(Generic[T]):
    """The latest answers, by the ids of what was asked; the caller holds a lock."""

    def __init__(self) -> None:
        self._answers: OrderedDict[int, T] = OrderedDict()

    def __contains__(self, id: int) -> bool:  # noqa: A002 - as in `Write`
        return id in self._answers

    def get(self, id: int) -> T | None:  # noqa: A002 - the same
        """Return what was answered, if it is remembered."""
        return self._answers.get(id)

    def remember(self, id: int, answer: T) -> T:  # noqa: A002 - the same
        """Keep an answer, and return it."""
        self._answers[id] = answer
        if len(self._answers) > REMEMBERED:
            self._answers.popitem(last=False)
        return answer

    def forget(self, id: int) -> None:  # noqa: A002 - the same
        """Know that it was not so: what was done was undone."""
        self._answers.pop(id, None)
