"""A simulated model: what it answers depends on its seed, the chat and how often it was asked that, on nothing else.

It counts what it is paid for, and each answer carries a hidden mark that says which sample it is.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from functools import cache
from typing import NamedTuple

from benchmarks._workload import players

Chat = tuple[str, ...]
"""Turns of the user and of the assistant, in turn; most chats have one."""

CHARACTERS_A_TOKEN = 4
DOLLARS_IN, DOLLARS_OUT = 0.10e-6, 0.40e-6
"""For a token: what the small model of the published experiments costs."""
FIRST_TOKEN, TOKENS_A_SECOND = 0.4, 80.0
MARK = "\n\0"


class Bill(NamedTuple):
    """What was paid for."""

    requests: int = 0
    samples: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    def __add__(self, other: Bill) -> Bill:  # type: ignore[override]
        return Bill(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))

    def __sub__(self, other: Bill) -> Bill:
        return Bill(*(mine - theirs for mine, theirs in zip(self, other, strict=True)))

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    @property
    def dollars(self) -> float:
        return self.tokens_in * DOLLARS_IN + self.tokens_out * DOLLARS_OUT


@cache
def name_of(chat: Chat) -> str:
    """Return a short name of a chat, which marks its answers."""
    return hashlib.sha256(repr(chat).encode()).hexdigest()[:16]


class Mark(NamedTuple):
    """For which chat a sample was made, by the model of which seed, and the how manieth it was there."""

    chat: str
    seed: int
    index: int


def mark_of(answer: str) -> Mark:
    """Return what is hidden in an answer."""
    chat, seed, index = answer.rpartition(MARK)[2].split(".")
    return Mark(chat, int(seed), int(index))


def text_of(answer: str) -> str:
    """Return what a program reads of an answer."""
    return answer.rpartition(MARK)[0]


@cache
def sample(seed: int, chat: Chat, index: int) -> str:
    """Return the answer that this model gives to a chat when asked for the how manieth time."""
    text = players.play(chat, random.Random(f"{seed}/{index}/{name_of(chat)}"))
    return f"{text}{MARK}{name_of(chat)}.{seed}.{index}"


def tokens(characters: int) -> int:
    return -(-characters // CHARACTERS_A_TOKEN)


class SimulatedModel:
    """The model of one experiment."""

    def __init__(self, seed: int) -> None:
        self.bill = Bill()
        self._seed = seed
        self._asked: Counter[Chat] = Counter()

    async def ask(self, chat: Chat, n: int) -> list[str]:
        """Answer n times, as one request: its input is paid for once, and it takes as long as its longest answer."""
        first = self._asked[chat]
        self._asked[chat] += n
        answers = [sample(self._seed, chat, index) for index in range(first, first + n)]
        sizes = [tokens(len(text_of(answer))) for answer in answers]
        given = tokens(players.instructions(chat) + sum(map(len, chat)))
        self.bill += Bill(1, n, given, sum(sizes))
        await asyncio.sleep(FIRST_TOKEN + max(sizes) / TOKENS_A_SECOND)
        return answers
