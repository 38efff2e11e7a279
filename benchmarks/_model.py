"""The function that everything here memoizes: a model whose calls are counted, and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWER = "The quick brown fox jumps over the lazy dog, and a model says so in a sentence of this length."
PROMPT = "Name the capital of France."


class Paid(NamedTuple):
    """A function and the prompts that it was called with."""

    function: Callable[..., object]
    calls: list[str]


def plain(give: Callable[[str], object] = lambda prompt: ANSWER) -> Paid:
    """Make a counted function."""
    calls: list[str] = []

    def answer(prompt: str, *, model: str = "m") -> object:
        calls.append(prompt)
        return give(prompt)

    return Paid(answer, calls)


def coroutine() -> Paid:
    """Make a counted coroutine function."""
    calls: list[str] = []

    async def answer(prompt: str, *, model: str = "m") -> object:
        calls.append(prompt)
        return ANSWER

    return Paid(answer, calls)
