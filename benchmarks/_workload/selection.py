"""What selects: a model whose slow answers are right more often, and everything that users do with time-outs."""

from __future__ import annotations

import asyncio
import math
import random
from contextlib import aclosing, suppress
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from benchmarks._workload.clock import run_simulated
from memollm import Cache, Gather, settle

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence

FAST, SLOW, PATIENCE = 1.0, 10.0, 3.0
"""Seconds that answers take, and after which users give up."""
RIGHT: Final = {FAST: 0.14, SLOW: 0.56}
TRUTH: Final = sum(RIGHT.values()) / 2
"""How often an answer is right; slow ones are half of all and four times as often right as fast ones."""
QUESTIONS: Final = [f"question {number}" for number in range(20)]
TRIES: Final = 6
CONFIDENCE: Final = 0.999
"""How often an interval holds its figure."""
LEFT_AFTER: Final = 3
"""How many results somebody looks at who leaves a map."""


class SlowThinker:
    """The model: every answer is drawn anew, with the time that it takes."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def drawn(self) -> tuple[float, bool]:
        """Return how long an answer takes, and whether it is right."""
        seconds = self._random.choice([FAST, SLOW])
        return seconds, self._random.random() < RIGHT[seconds]

    def happens(self, chance: float) -> bool:
        return self._random.random() < chance

    async def answer(self) -> bool:
        seconds, is_right = self.drawn()
        await asyncio.sleep(seconds)
        return is_right


class Bench(NamedTuple):
    """One trial: ways to ask in a namespace, and to read in another one, with a cache of its own."""

    ask: Callable[[str], Awaitable[bool]]
    read: Callable[[str], Awaitable[bool]]
    one: Callable[[str], Awaitable[bool]] | None
    """As an item that is gathered with those of other tasks,"""
    read_one: Callable[[str], Awaitable[bool]] | None
    """and as one that is read."""
    map: Callable[[Sequence[str]], Awaitable[Iterable[bool]]]
    completed: Callable[[Sequence[str]], AsyncGenerator[bool]]
    """Asks for all, and gives them as they come."""


def bench(cache: Cache, model: SlowThinker, on_cancel: str) -> Bench:
    @cache.cached_llm(name="ask", version="1", namespace="a", on_cancel=on_cancel)
    async def ask(question: str) -> bool:
        return await model.answer()

    gather = Gather(max_size=2, max_wait=0.1)

    @cache.cached_llm(
        name="generate", version="1", namespace="a", on_cancel=on_cancel, batch="questions", gather=gather
    )
    async def generate(questions: list[str]) -> list[bool]:
        # A batch takes as long as its slowest answer.
        return await asyncio.gather(*(model.answer() for _ in questions))

    async def completed(questions: Sequence[str]) -> AsyncGenerator[bool]:
        async with aclosing(ask.map(questions, as_completed=True)) as given:
            async for _, right in given:
                yield right

    reading = ask.with_options(namespace="b"), generate.with_options(namespace="b").one
    return Bench(ask, reading[0], generate.one, reading[1], ask.map, completed)


# What users do, and who reads afterwards.


async def patiently(draw: Callable[[], Awaitable[bool]]) -> list[bool]:
    """Draw with a time-out, and again after each, some times."""
    for _ in range(TRIES):
        with suppress(TimeoutError):
            return [await asyncio.wait_for(draw(), PATIENCE)]
    return []


async def each(draw: Callable[[str], Awaitable[Any]]) -> list[bool]:
    return [right for got in await asyncio.gather(*map(draw, QUESTIONS)) for right in got]


async def read(draw: Callable[[str], Awaitable[bool]]) -> list[bool]:
    """Read the first sample of each question, as another namespace, when all is over."""
    await asyncio.sleep(2 * SLOW)
    await settle()
    return list(await asyncio.gather(*map(draw, QUESTIONS)))


async def retries(the: Bench) -> list[bool]:
    return await each(lambda question: patiently(lambda: the.ask(question)))


async def retries_read(the: Bench) -> list[bool]:
    await retries(the)
    return await read(the.read)


async def hedged_read(the: Bench) -> list[bool]:
    async def hedged(question: str) -> list[bool]:
        both = [asyncio.ensure_future(the.ask(question)) for _ in range(2)]
        done, late = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in late:
            task.cancel()
        await asyncio.wait(both)
        return [task.result() for task in done]

    await each(hedged)
    return await read(the.read)


async def rerun(the: Bench) -> list[bool]:
    with suppress(TimeoutError):
        await asyncio.wait_for(the.map(QUESTIONS), PATIENCE)
    return list(await the.map(QUESTIONS))


async def map_left(the: Bench) -> list[bool]:
    left = 0
    async with aclosing(the.completed(QUESTIONS)) as given:
        async for _ in given:
            left += 1
            if left == LEFT_AFTER:
                break
    return await read(the.read)


async def gathered(the: Bench) -> list[bool]:
    one, read_one = the.one, the.read_one
    if one is None or read_one is None:
        return []

    async def once(question: str) -> list[bool]:
        with suppress(TimeoutError):
            return [await asyncio.wait_for(one(question), PATIENCE)]
        return []

    await each(once)
    return await read(read_one)


SCENARIOS: Final[dict[str, Callable[[Bench], Awaitable[list[bool]]]]] = {
    "time-outs and retries": retries,
    "another namespace reads after them": retries_read,
    "two hedged draws, read after": hedged_read,
    "a run cancelled once, then rerun": rerun,
    "a map left early, read after": map_left,
    "gathered draws with time-outs, read after": gathered,
}


class Found(NamedTuple):
    """A mean over all trials, as one sample each of so many answers, beside the truth."""

    bias: float
    error: float
    """Its standard error."""

    def half_width(self, figures: int = 1, confidence: float = CONFIDENCE) -> float:
        """Return half the interval that holds it, for as many figures at once, so often."""
        return self.error * NormalDist().inv_cdf(1 - (1 - confidence) / (2 * figures))

    @property
    def is_unbiased(self) -> bool:
        return abs(self.bias) <= self.half_width()

    def text(self) -> str:
        return f"{self.bias:+.3f} ± {self.half_width():.3f}"


def found(rights: Iterable[float]) -> Found:
    answers = [float(right) for right in rights]
    mean = sum(answers) / len(answers)
    return Found(mean - TRUTH, math.sqrt(TRUTH * (1 - TRUTH) / len(answers)))


def trials(scenario: str, number: int, *, on_cancel: str = "finish", seed: int = 0) -> Found:
    """Do a scenario so many times, in simulated time."""
    rights: list[bool] = []
    for trial in range(number):
        with Cache("memory:") as cache:
            the = bench(cache, SlowThinker(seed + trial), on_cancel)
            rights += run_simulated(_warm(the, scenario), cache._engine.desk.settle)[0]
    return found(rights)


async def _warm(the: Bench, scenario: str) -> list[bool]:
    """Introduce the functions first, which takes its time in a thread."""
    await asyncio.gather(the.ask("nothing"), *([] if the.one is None else [the.one("nothing")]))
    return await SCENARIOS[scenario](the)
