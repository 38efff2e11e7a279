"""Two experiments, repeated: estimates from samples asked for one by one, and a reader of what a crowd has left."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

from benchmarks._caches import folder
from benchmarks._workload import quiz
from benchmarks._workload.audit import Audit
from benchmarks._workload.clock import run_simulated
from benchmarks._workload.estimators import Estimate, pass_at, share, vote
from benchmarks._workload.model import SimulatedModel
from benchmarks._workload.systems import CacheSaverClient, Memollm, NoCache, PlainCache

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks._workload.model import Chat
    from benchmarks._workload.systems import System

Answers = list[list[str]]
"""Of each task, in the order in which they were given."""

SEED = 6
TASKS = range(40)
REPETITIONS = 20
SAMPLES = 20
PASSES = (1, 5, 10)
VOTES = (5, 11)
CROWD = 3
"""Namespaces that ask at about the same time."""
EACH = 5
"""Samples that each of them wants."""
FIRST = (1, 2, 5)
"""How many samples the reader takes that comes after them."""


class FirstAnswered:
    """A strawman: it keeps every sample, in the order in which answers arrive."""

    name, needs, keeps = "first answered, first kept", (), True

    def __init__(self, at: Path, model: SimulatedModel) -> None:
        self._model = model
        self._kept: dict[Chat, list[str]] = {}
        self._read: dict[tuple[Chat, str], int] = {}

    async def ask(self, chat: Chat, n: int, namespace: str) -> list[str]:
        kept = self._kept.setdefault(chat, [])
        begin = self._read.get((chat, namespace), 0)
        self._read[chat, namespace] = begin + n
        while len(kept) < begin + n:
            kept += await self._model.ask(chat, 1)
        return kept[begin : begin + n]

    def settle(self) -> None: ...

    async def close(self) -> None: ...


SYSTEMS: tuple[type[System], ...] = (NoCache, PlainCache, FirstAnswered, CacheSaverClient, Memollm)


class Trial(NamedTuple):
    """What one system's estimates were worth."""

    system: str
    estimates: list[Estimate]
    paid: int
    duplicates: int
    foreign: int


class Reader:
    """One namespace, as the experiments ask in it."""

    def __init__(self, audit: Audit, system: System, namespace: str) -> None:
        self._ask = audit.watched(system.ask, namespace)

    async def answers(self, task: int, about: str, n: int = 1) -> list[str]:
        return [quiz.verdict(answer) for answer in await self._ask((f"quiz {task} {about}",), n)]


def trial(system: type[System]) -> Trial:
    """Do both experiments; each repetition has chats of its own."""
    model, audit = SimulatedModel(SEED), Audit()

    async def program() -> list[Estimate]:
        def reader(namespace: str) -> Reader:
            return Reader(audit, opened, namespace)

        try:
            one_by_one = [await sampled(reader("sampler"), f"sampled {turn}") for turn in range(REPETITIONS)]
            crowded = [await crowd(reader, f"crowded {turn}") for turn in range(REPETITIONS)]
        finally:
            await opened.close()
        return estimates(one_by_one, crowded)

    with folder() as at:
        opened = system(at, model)
        found, _ = run_simulated(program(), opened.settle)
    return Trial(system.name, found, model.bill.samples, audit.duplicates, audit.foreign)


async def sampled(reader: Reader, about: str) -> Answers:
    """Ask for samples of all tasks, round by round, as an evaluation with epochs does."""
    rounds = [await asyncio.gather(*(reader.answers(task, about) for task in TASKS)) for _ in range(SAMPLES)]
    return [[answers[task][0] for answers in rounds] for task in TASKS]


async def crowd(reader: Callable[[str], Reader], about: str) -> Answers:
    """Let several namespaces ask at about the same time, and return what a reader gets that comes afterwards."""
    await asyncio.gather(*(_asker(reader(f"asker {number}"), about, random.Random(number)) for number in range(CROWD)))
    late = reader("reader")
    return await asyncio.gather(*(late.answers(task, about, max(FIRST)) for task in TASKS))


async def _asker(reader: Reader, about: str, choose: random.Random) -> None:
    async def one(task: int, begin: float) -> None:
        await asyncio.sleep(begin)
        await reader.answers(task, about)

    await asyncio.gather(*(one(task, choose.uniform(0, 2)) for task in TASKS for _ in range(EACH)))


def estimates(one_by_one: list[Answers], crowded: list[Answers]) -> list[Estimate]:
    """Estimate, in each repetition over all tasks, what is known of them."""

    def each(repetitions: list[Answers], of: Callable[[list[str]], float]) -> list[float]:
        return [quiz.mean(map(of, tasks)) for tasks in repetitions]

    return [
        *(
            Estimate(f"pass@{k}", quiz.true_pass(TASKS, k), each(one_by_one, lambda of, k=k: pass_at(of, k)))
            for k in PASSES
        ),
        *(
            Estimate(f"vote of {v}", quiz.true_vote(TASKS, v), each(one_by_one, lambda of, v=v: vote(of[:v])))
            for v in VOTES
        ),
        *(
            Estimate(f"right in the first {k}", quiz.true_pass(TASKS, 1), each(crowded, lambda of, k=k: share(of[:k])))
            for k in FIRST
        ),
    ]
